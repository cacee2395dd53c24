"""Descriptions of the peer, in handlers and outside of them."""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import Any, Protocol

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from roam_trio import (
    Backoff,
    BareConduit,
    Conduit,
    MessageFamily,
    Peer,
    Server,
    Session,
    client,
    connect,
    current_call,
    dispatcher,
    initiator,
    serve,
    service,
)
from roam_trio.links.memory import memory_link_pair

from .schemes import SCHEMES, Scheme, authority
from .test_resume import cut_link


@service
class Asking(Protocol):
    async def who(self) -> str: ...
    async def identity(self) -> str: ...


class AskingImpl:
    """Tells its callers what is known of them, and keeps it."""

    def __init__(self) -> None:
        self.peers: list[Peer] = []

    async def who(self) -> str:
        peer = current_call().peer
        self.peers.append(peer)
        return f"{peer.transport} {peer.address}"

    async def identity(self) -> str:
        await trio.lowlevel.checkpoint()
        return repr(current_call().identity)


async def start(
    nursery: trio.Nursery, url: str, impl: AskingImpl | None = None, **options: Any
) -> Server:
    handler = dispatcher(Asking, impl or AskingImpl())

    async def run(task_status: trio.TaskStatus[Server]) -> None:
        await serve(url, handler, task_status=task_status, **options)

    server: Server = await nursery.start(run)
    return server


@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
async def test_a_handler_and_both_sessions_know_the_peer(
    scheme: Scheme, tmp_path: Path
) -> None:
    impl = AskingImpl()
    async with trio.open_nursery() as nursery:
        server = await start(nursery, scheme.url(tmp_path), impl, **scheme.to_serve())
        connecting = connect(
            server.url, metadata={"tenant": "blue"}, **scheme.to_connect()
        )
        async with connecting as session:
            asking = client(Asking, session.caller)
            (of_server,) = server.sessions
            answer = await asking.who()

            assert answer == f"{scheme.name} {of_server.peer.address}"
            assert impl.peers == [of_server.peer]
            assert of_server.peer.metadata.get("tenant") == "blue"
            assert session.peer.transport == scheme.name
            assert session.peer.address
            assert session.caller.peer is session.peer
        nursery.cancel_scope.cancel()


async def test_each_side_has_the_metadata_of_the_other_from_the_handshake() -> None:
    async with trio.open_nursery() as nursery:
        server = await start(nursery, "memory://both", metadata={"region": "north"})
        async with connect(server.url) as session:
            assert session.peer.metadata.get("region") == "north"
            assert not server.sessions[0].peer.metadata
        nursery.cancel_scope.cancel()


async def test_identity_is_none_until_somebody_sets_it() -> None:
    async with trio.open_nursery() as nursery:
        server = await start(nursery, "memory://identity")
        async with connect(server.url, Asking) as asking:
            assert await asking.identity() == "None"
            server.sessions[0].peer.identity = "ada"
            assert await asking.identity() == "'ada'"
        nursery.cancel_scope.cancel()


async def test_a_handler_reads_the_certificate_that_tls_has_verified() -> None:
    theirs = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority().issue_cert("127.0.0.1").configure_cert(theirs)
    authority().configure_trust(theirs)
    theirs.verify_mode = ssl.CERT_REQUIRED
    ours = ssl.create_default_context()
    authority().configure_trust(ours)
    authority().issue_cert("ada.example.org", common_name="ada").configure_cert(ours)
    impl = AskingImpl()
    async with trio.open_nursery() as nursery:
        server = await start(nursery, "tls://127.0.0.1:0", impl, ssl_context=theirs)
        async with connect(server.url, Asking, ssl_context=ours) as asking:
            await asking.who()
        nursery.cancel_scope.cancel()

    (peer,) = impl.peers
    assert peer.certificate is not None
    assert peer.certificate.common_name == "ada"
    assert peer.certificate.names == ("ada.example.org",)


async def test_a_handler_reads_the_credentials_of_a_unix_socket(tmp_path: Path) -> None:
    impl = AskingImpl()
    async with trio.open_nursery() as nursery:
        server = await start(nursery, f"unix://{tmp_path}/s", impl)
        async with connect(server.url, Asking) as asking:
            await asking.who()
        nursery.cancel_scope.cancel()

    (peer,) = impl.peers
    assert peer.credentials is not None
    assert (peer.credentials.pid, peer.credentials.uid) == (os.getpid(), os.getuid())


async def test_on_a_resumed_link_the_address_is_new_and_the_identity_stays() -> None:
    async with trio.open_nursery() as nursery:
        server = await start(nursery, "tcp://127.0.0.1:0", resume=True)
        soon = Backoff(initial=0.001, longest=0.01)
        connecting = connect(server.url, metadata={"tenant": "blue"}, resume=soon)
        async with connecting as session:
            asking = client(Asking, session.caller)
            peer = server.sessions[0].peer
            before = await asking.who()
            peer.identity = "ada"
            cut_link(session)
            after = await asking.who()

            assert before.startswith("tcp 127.0.0.1:")
            assert after.startswith("tcp 127.0.0.1:")
            assert before != after  # the client has another port
            assert peer is server.sessions[0].peer
            assert f"tcp {peer.address}" == after
            assert await asking.identity() == "'ada'"
            assert peer.metadata.get("tenant") == "blue"
            assert session.peer.address == server.url.removeprefix("tcp://")
        nursery.cancel_scope.cancel()


async def test_a_conduit_of_somebody_elses_is_named_by_its_class() -> None:
    class Pigeons(Conduit[Any]):
        def split(self) -> Any:
            return BareConduit(memory_link_pair(1)[0], MessageFamily()).split()

    session: Session = initiator(Pigeons()).session()
    await wait_all_tasks_blocked()
    assert (session.peer.transport, session.peer.address) == ("other", "Pigeons")
