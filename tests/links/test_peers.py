"""What a link tells of its peer, over every scheme of URLs."""

from __future__ import annotations

import os
import socket
import ssl
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from roam_trio.links.base import Link
from roam_trio.links.child import spawn_link
from roam_trio.links.memory import memory_link_pair
from roam_trio.links.sockets import address_text
from roam_trio.links.stream import StreamLink
from roam_trio.peers import Certificate, Peer
from roam_trio.transports import LinkOptions, transport_for

from ..schemes import SCHEMES, Scheme, authority, client_context, server_context

on_sockets = pytest.mark.parametrize(
    "scheme",
    [each for each in SCHEMES if each.name not in ("stdio", "memory")],
    ids=str,
)


@asynccontextmanager
async def links_over(
    url: str, client: ssl.SSLContext | None, server: ssl.SSLContext | None
) -> AsyncGenerator[tuple[Link, Link]]:
    """Two ends of one connection, the client's first."""
    transport = transport_for(url)
    (listener,) = await transport.to_listen(url, LinkOptions(ssl_context=server))()
    ends: list[Link] = []

    async def accept() -> None:
        ends.append(await (await listener.accept())())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(accept)
        connect = transport.to_connect(listener.url, LinkOptions(ssl_context=client))
        ends.insert(0, await connect())
    try:
        yield ends[0], ends[1]
    finally:
        for end in ends:
            tx, rx = end.split()
            await tx.abort()
            await rx.close()
        listener.close()


def contexts(scheme: str) -> tuple[ssl.SSLContext | None, ssl.SSLContext | None]:
    if scheme in ("tls", "wss"):
        return client_context(), server_context()
    return None, None


@on_sockets
async def test_each_side_knows_the_transport_and_the_address_of_the_other(
    scheme: Scheme, tmp_path: Path
) -> None:
    url = scheme.url(tmp_path)
    async with links_over(url, *contexts(scheme.name)) as ends:
        client, server = (end.peer() for end in ends)

    assert client.transport == server.transport == scheme.name
    if scheme.name == "unix":
        assert client.address in url
        assert server.address == f"process {os.getpid()} of user {os.getuid()}"
    else:
        assert client.address.startswith("127.0.0.1:")
        assert server.address.startswith("127.0.0.1:")
        assert client.address != server.address
    assert client.identity is server.identity is None


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the process")
async def test_a_unix_socket_tells_the_process_at_the_other_end(tmp_path: Path) -> None:
    async with links_over(f"unix://{tmp_path}/s", None, None) as (client, server):
        for peer in (client.peer(), server.peer()):
            assert peer.credentials is not None
            assert peer.credentials.pid == os.getpid()
            assert peer.credentials.uid == os.getuid()
            assert peer.credentials.gid == os.getgid()


@pytest.mark.parametrize("scheme", ["tls", "wss"])
async def test_certificates_that_were_verified_are_told_on_both_sides(
    scheme: str,
) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority().issue_cert("127.0.0.1").configure_cert(context)
    authority().configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    ours = ssl.create_default_context()
    authority().configure_trust(ours)
    authority().issue_cert(
        "ada@example.org", "ada.example.org", common_name="ada, CN=root"
    ).configure_cert(ours)

    url = f"{scheme}://127.0.0.1:0" + ("/path" if scheme == "wss" else "")
    async with links_over(url, ours, context) as (client, server):
        of_server, of_client = client.peer().certificate, server.peer().certificate

    assert of_server is not None
    assert of_server.names == ("127.0.0.1",)
    assert of_client is not None
    assert of_client.names == ("ada@example.org", "ada.example.org")
    assert of_client.common_name == "ada, CN=root"
    assert of_client.subject.startswith(r"CN=ada\, CN\=root,OU=")
    assert of_client.der
    assert repr(of_client).startswith("Certificate('CN=ada")


async def test_a_certificate_that_nobody_has_asked_for_is_not_told() -> None:
    contexts = client_context(), server_context()
    async with links_over("tls://127.0.0.1:0", *contexts) as (client, server):
        assert client.peer().certificate is not None
        assert server.peer().certificate is None


async def test_a_certificate_that_was_not_verified_is_not_told() -> None:
    careless = ssl.create_default_context()
    careless.check_hostname = False
    careless.verify_mode = ssl.CERT_NONE
    async with links_over("tls://127.0.0.1:0", careless, server_context()) as (end, _):
        assert end.peer().certificate is None


def test_a_subject_with_several_common_names_has_none_that_is_meant() -> None:
    names = ((("commonName", "ada"),), (("commonName", "root"),))
    certificate = Certificate({"subject": names}, b"")

    assert certificate.common_name is None
    assert certificate.subject == "CN=root,CN=ada"
    assert certificate.names == ()


async def test_a_program_that_was_started_is_told_by_its_number() -> None:
    spawned = spawn_link([sys.executable, "-c", "input()"])
    async with spawned as link:
        peer = link.peer()

    assert peer.transport == "stdio"
    assert peer.address.startswith("process ")
    assert peer.address.endswith(sys.executable)


def test_memory_links_name_this_process() -> None:
    for link in memory_link_pair(1):
        assert (link.peer().transport, link.peer().address) == (
            "memory",
            "this process",
        )


async def test_a_stream_of_trio_on_a_socket_tells_its_address() -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        stream = await trio.open_tcp_stream(*listener.socket.getsockname()[:2])
        async with stream:
            expected = address_text(listener.socket.getsockname())
            assert StreamLink(stream).peer().address == expected


def test_a_link_of_somebody_elses_is_named_by_its_class() -> None:
    class PigeonLink(Link):
        def split(self) -> tuple[object, object]:  # type: ignore[override]
            raise NotImplementedError

    peer = PigeonLink().peer()

    assert (peer.transport, peer.address) == ("other", "PigeonLink")


async def test_who_is_gone_already_still_has_an_address() -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        stream = await trio.open_tcp_stream(*listener.socket.getsockname()[:2])
        await stream.aclose()
        assert StreamLink(stream).peer().address == "unknown address"


def test_an_address_of_ipv6_is_written_as_in_a_url() -> None:
    assert address_text(("::1", 7000, 0, 0)) == "[::1]:7000"
    assert address_text(("127.0.0.1", 7000)) == "127.0.0.1:7000"


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="there are none here")
def test_a_pair_of_sockets_without_names_is_named_by_its_process() -> None:
    left, right = trio.socket.socketpair()
    with left, right:
        link = StreamLink(trio.SocketStream(left))
        assert link.peer().transport == "unix"
        assert str(os.getpid()) in link.peer().address


def test_peers_are_told_apart_by_identity_of_the_object() -> None:
    assert Peer("tcp", "here") != Peer("tcp", "here")


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="there are none here")
@pytest.mark.parametrize("refused", [False, True], ids=["another system", "refused"])
def test_a_unix_socket_without_credentials_is_unnamed(
    refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if refused:
        monkeypatch.setattr(socket, "SO_PEERCRED", -1, raising=False)
    else:
        monkeypatch.delattr(socket, "SO_PEERCRED", raising=False)
    left, right = trio.socket.socketpair()
    with left, right:
        peer = StreamLink(trio.SocketStream(left)).peer()
    assert (peer.address, peer.credentials) == ("an unnamed socket", None)
