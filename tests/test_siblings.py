"""Servers of one machine among which returning clients find their sessions."""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

import attrs
import pytest
import trio
import trustme
from trio.testing import MockClock

from roam_trio import (
    Backoff,
    Disconnected,
    Server,
    connect,
    current_call,
    dispatcher,
    service,
    serving,
)
from roam_trio.errors import LinkError
from roam_trio.links.local import LocalLink
from roam_trio.links.resuming.hello import ClientHello, ServerHello
from roam_trio.links.resuming.siblings import Siblings, told_by_sibling
from roam_trio.links.resuming.siblings import _described as described
from roam_trio.links.resuming.siblings import _peer_of as peer_of
from roam_trio.links.resuming.source import Attachment
from roam_trio.lowlevel import memory_link_pair
from roam_trio.peer_identity import proof_of
from roam_trio.peers import Certificate, Peer
from roam_trio.transports import LinkOptions, transport_for
from roam_trio.transports.handing import Hand
from roam_trio.transports.inherited import url_handed
from roam_trio.transports.listening import SocketClient

SOON = Backoff(initial=0.001, longest=0.01, give_up_after=5)


@service
class Home(Protocol):
    async def name(self) -> str: ...
    async def peer(self) -> str: ...
    async def echo(self, data: bytes) -> bytes: ...
    async def until_told(self) -> str: ...


class HomeImpl:
    def __init__(self, name: str) -> None:
        self._name = name
        self.go_on = trio.Event()

    async def name(self) -> str:
        return self._name

    async def peer(self) -> str:
        peer = current_call().peer
        verified = peer.certificate or peer.credentials
        return f"{peer.transport} {type(verified).__name__}"

    async def echo(self, data: bytes) -> bytes:
        return data

    async def until_told(self) -> str:
        await self.go_on.wait()
        return self._name


@attrs.define
class Street:
    """Servers behind one door, which a test opens to one of them."""

    url: str
    servers: list[Server] = attrs.field(factory=list)
    impls: list[HomeImpl] = attrs.field(factory=list)
    to: int = 0
    connections: list[socket.socket] = attrs.field(factory=list)

    def cut(self, to: int) -> None:
        """Cut the links of all clients, which return to another server."""
        self.to = to
        while self.connections:
            with self.connections.pop() as connection, suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


@asynccontextmanager
async def street(
    directory: Path, scheme: str = "tcp", context: ssl.SSLContext | None = None
) -> AsyncIterator[Street]:
    """Serve in two homes for the length of a block."""
    bound = f"unix://{directory}/door" if scheme == "unix" else "tcp://127.0.0.1:0"
    (door,) = await transport_for(bound).to_listen(bound, LinkOptions())()
    made = Street(door.url.replace("tcp:", f"{scheme}:"))
    hands: list[Hand] = []

    async def pass_on() -> None:
        while True:
            client = await door.accept()
            assert isinstance(client, SocketClient)
            made.connections.append(client.take_socket())
            hands[made.to].give(made.connections[-1])

    async with AsyncExitStack() as stack:
        for number in (0, 1):
            near, far = socket.socketpair()
            hands.append(Hand(near, made.url))
            stack.callback(hands[-1].close)
            made.impls.append(HomeImpl("ab"[number]))
            with far:
                serve = serving(
                    url_handed(made.url, far),
                    dispatcher(Home, made.impls[-1]),
                    resume=Siblings(str(directory), number),
                    ssl_context=context,
                )
                made.servers.append(await stack.enter_async_context(serve))
        nursery = await stack.enter_async_context(trio.open_nursery())
        nursery.start_soon(pass_on)
        yield made
        nursery.cancel_scope.cancel()
        made.cut(0)
        door.close()


def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """TLS for a server, and for a client with a certificate."""
    authority = trustme.CA()
    theirs = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ours = ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(theirs)
    authority.configure_trust(theirs)
    authority.configure_trust(ours)
    theirs.verify_mode = ssl.CERT_REQUIRED
    authority.issue_cert("ada@example.org").configure_cert(ours)
    return theirs, ours


@pytest.mark.parametrize(
    ("scheme", "peer"),
    [
        ("tcp", "tcp NoneType"),
        ("ws", "ws NoneType"),
        ("tls", "tls Certificate"),
        ("wss", "wss Certificate"),
        ("unix", "unix Credentials"),
    ],
)
async def test_a_client_that_returns_to_another_server_continues(
    scheme: str, peer: str, tmp_path: Path
) -> None:
    theirs, ours = contexts() if scheme in ("tls", "wss") else (None, None)
    async with street(tmp_path, scheme, theirs) as homes:
        assert [server.urls for server in homes.servers] == [(homes.url,)] * 2
        async with connect(homes.url, Home, resume=SOON, ssl_context=ours) as home:
            assert await home.name() == "a"
            results: list[str] = []

            async def wait() -> None:
                results.append(await home.until_told())

            async with trio.open_nursery() as calling:
                calling.start_soon(wait)
                for to in (1, 0, 1):
                    assert await home.peer() == peer
                    homes.cut(to)
                    assert await home.name() == "a"
                    data = bytes(300_000)
                    assert await home.echo(data) == data
                homes.impls[0].go_on.set()
            assert results == ["a"]
            assert [len(server.sessions) for server in homes.servers] == [1, 0]
        async with connect(homes.url, Home, resume=SOON, ssl_context=ours) as home:
            assert await home.name() == "b"


async def test_the_session_ends_with_the_server_that_has_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with street(tmp_path) as homes:
        async with connect(homes.url, Home, resume=SOON) as home:
            assert await home.name() == "a"
            homes.cut(1)
            assert await home.name() == "a"
            await homes.servers[0].shutdown()
            with pytest.raises(Disconnected):
                await home.name()
        async with connect(homes.url, Home, resume=SOON) as home:
            assert await home.name() == "b"
            homes.to = 0


async def test_a_server_that_passes_links_on_can_end(tmp_path: Path) -> None:
    async with (
        street(tmp_path) as homes,
        connect(homes.url, Home, resume=SOON) as home,
    ):
        assert await home.name() == "a"
        homes.cut(1)
        assert await home.name() == "a"
        homes.to = 0
        await homes.servers[1].shutdown()
        assert await home.name() == "a"


@pytest.mark.parametrize("number", [0, 1, 7])
async def test_unknown_keys_are_refused_wherever_they_come_from(
    number: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    key = Siblings(str(tmp_path), number).new_key()
    async with street(tmp_path) as homes:
        link = await transport_for("tcp:").to_connect(homes.url, LinkOptions())()
        tx, rx = link.split()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(tx.pump)
            (await tx.reserve()).send((ClientHello(key, 3).encode(),))
            answer = await rx.recv()
            assert answer is not None
            assert ServerHello.decode(answer).rejected
            assert await rx.recv() is None
            await tx.close()
            await rx.close()
    assert caplog.text.count("a client was refused: its key is of no session") == 1


async def test_a_server_that_takes_no_connection_in_time_is_not_waited_for(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(*args: Any, **options: Any) -> Any:
        await trio.sleep_forever()

    monkeypatch.setattr(LocalLink, "connect", never)
    ours, theirs = memory_link_pair(4)
    key = Siblings("", 5).new_key()
    tx, rx = theirs.split()
    attachment = Attachment(tx, rx, ClientHello(key), Peer("tcp", "here"))
    siblings = Siblings(str(tmp_path), 1)
    passed = await siblings.pass_on(attachment, max_payload=1000, seconds=10)
    assert (passed, trio.current_time()) == (False, 10)
    await attachment.close()
    for half in ours.split():
        await half.close()


async def test_a_link_that_ends_before_its_client_is_told_is_closed() -> None:
    ours, theirs = memory_link_pair(4)
    tx, rx = ours.split()
    await tx.close()
    with pytest.raises(LinkError, match="has closed the link of a client"):
        await told_by_sibling(theirs)
    assert await rx.recv() is None
    await rx.close()


def test_keys_name_their_server_and_are_otherwise_random() -> None:
    keys = {Siblings("", 0x0102).new_key() for _ in range(100)}
    assert {key[:2] for key in keys} == {b"\x01\x02"}
    assert len({key[2:] for key in keys}) == 100
    assert {len(key) for key in keys} == {16}


@pytest.mark.parametrize("number", [-1, 65_536])
def test_a_number_has_two_bytes(number: int) -> None:
    with pytest.raises(ValueError, match="number: expected a number below 65,536"):
        Siblings("", number)


def test_a_certificate_is_the_same_proof_after_it_was_told() -> None:
    fields = {
        "subject": ((("commonName", "ada"),), (("countryName", "XX"),)),
        "subjectAltName": (("DNS", "a.example"), ("URI", "x:y")),
        "version": 3,
    }
    peer = Peer("tls", "[::1]:7", Certificate(fields, b"\0der"))
    again = peer_of(described(peer))
    assert proof_of(again) == proof_of(peer)
    assert (again.transport, again.address) == ("tls", "[::1]:7")
    assert again.certificate == peer.certificate
