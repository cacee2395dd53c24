"""Sockets that this process has inherited, which listen already."""

from __future__ import annotations

import errno
import os
import socket
import ssl
from pathlib import Path
from typing import Any, Protocol

import pytest
import trio
import trustme

from roam_trio import (
    BareConduitAcceptor,
    MessageFamily,
    connect,
    current_call,
    dispatcher,
    service,
    serving,
)
from roam_trio.transports import dialer
from tests.schemes import client_context, server_context


@service
class Who(Protocol):
    async def transport(self) -> str: ...


class WhoImpl:
    async def transport(self) -> str:
        return current_call().peer.transport


HANDLER = dispatcher(Who, WhoImpl())


async def test_clients_are_served_over_tcp() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
        async with serving(f"fd://{sock.fileno()}", HANDLER) as server:
            assert server.url == f"tcp://127.0.0.1:{port}"
            async with connect(server.url, Who) as client:
                assert await client.transport() == "tcp"
        # The descriptor itself is still the parent's.
        async with (
            serving(f"fd://{sock.fileno()}", HANDLER) as server,
            connect(server.url, Who) as client,
        ):
            assert await client.transport() == "tcp"


async def test_two_servers_can_share_one_socket() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        url = f"fd://{sock.fileno()}"
        async with (
            serving(url, HANDLER) as one,
            serving(url, HANDLER) as other,
            connect(one.url, Who) as first,
            connect(one.url, Who) as second,
        ):
            assert await first.transport() == await second.transport() == "tcp"
            assert len(one.sessions) + len(other.sessions) == 2


async def test_clients_are_served_on_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "a b.sock"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
        sock.listen()
        async with serving(f"fd://{sock.fileno()}", HANDLER) as server:
            assert server.url == f"unix://{tmp_path}/a%20b.sock"
            async with connect(server.url, Who) as client:
                assert await client.transport() == "unix"
    path.unlink()  # the file belongs to the parent


async def test_clients_are_served_over_tls(tmp_path: Path) -> None:
    authority = trustme.CA()
    theirs = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(theirs)
    ours = ssl.create_default_context()
    authority.configure_trust(ours)
    with socket.create_server(("127.0.0.1", 0)) as sock:
        url = f"fd+tls://{sock.fileno()}"
        async with serving(url, HANDLER, ssl_context=theirs) as server:
            assert server.url.startswith("tls://127.0.0.1:")
            async with connect(server.url, Who, ssl_context=ours) as client:
                assert await client.transport() == "tls"
    with socket.socket(socket.AF_UNIX) as local:
        local.bind(str(tmp_path / "x"))
        local.listen()
        for scheme in ("fd+tls", "fd+wss"):
            url = f"{scheme}://{local.fileno()}"
            with pytest.raises(OSError, match="a Unix socket, which has no TLS"):
                await enter(url, ssl_context=theirs)
    (tmp_path / "x").unlink()


async def enter(url: Any, **options: Any) -> None:
    async with serving(url, HANDLER, **options):
        pass  # pragma: no cover - it is not entered


async def test_a_descriptor_that_does_not_listen_is_an_error(tmp_path: Path) -> None:
    with (
        socket.socket() as sock,
        pytest.raises(OSError, match="a socket that listens: it does not listen"),
    ):
        await enter(f"fd://{sock.fileno()}")
    file = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(OSError, match="expected a socket that listens") as caught:
            await enter(f"fd://{file}")
    finally:
        os.close(file)
    assert caught.value.errno == errno.ENOTSOCK
    with pytest.raises(OSError, match="expected a socket that listens") as caught:
        await enter("fd://999999")
    assert caught.value.errno == errno.EBADF


@pytest.mark.parametrize("url", ["fd://", "fd://x", "fd://-1", "fd://3/path"])
async def test_a_url_has_the_number_of_a_descriptor(url: str) -> None:
    with pytest.raises(ValueError, match=r"like fd://3, got .*no number"):
        await enter(url)


def test_a_client_cannot_connect_to_a_descriptor() -> None:
    with pytest.raises(ValueError, match="it is for servers"):
        dialer("fd://3")


# ------------------------------------------------------------ serve(sockets=…)


@pytest.mark.parametrize("scheme", ["tcp", "tls", "ws", "wss"])
async def test_sockets_stand_in_place_of_the_address_of_a_url(scheme: str) -> None:
    url, options = f"{scheme}://192.0.2.1:1", dict[str, Any]()
    if scheme in ("tls", "wss"):
        options["ssl_context"] = server_context()
    if scheme in ("ws", "wss"):
        url += "/rpc?a=1&reuse_port=1"
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
        async with serving(url, HANDLER, sockets=[sock], **options) as server:
            path = "/rpc?a=1" if scheme in ("ws", "wss") else ""
            assert server.url == f"{scheme}://127.0.0.1:{port}{path}"
            ours = {"ssl_context": client_context()} if options else {}
            async with connect(server.url, Who, **ours) as client:
                assert await client.transport() == scheme


async def test_sockets_of_trio_and_of_the_standard_library_are_served(
    tmp_path: Path,
) -> None:
    (tcp,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    with socket.socket(socket.AF_UNIX) as local:
        local.bind(str(tmp_path / "s"))
        local.listen()
        sockets = [tcp.socket, local]
        async with serving(None, HANDLER, sockets=sockets) as server:
            await tcp.aclose()  # the server has a copy
            for url, transport in zip(server.urls, ["tcp", "unix"], strict=True):
                async with connect(url, Who) as client:
                    assert await client.transport() == transport
    (tmp_path / "s").unlink()


async def test_sockets_without_use_are_refused() -> None:
    acceptor = BareConduitAcceptor(MessageFamily())
    with socket.create_server(("127.0.0.1", 0)) as sock:
        for url, problem in {
            None: "expected a URL to listen at, or sockets=, got neither",
            "memory://x": "with a URL of tcp:, unix:, .*, got 'memory://x'",
            ("tcp://:0",): r"with one URL, .*, got \('tcp://:0',\)",
            acceptor: "sockets: expected it only with URLs",
        }.items():
            sockets = [] if url is None else [sock]
            with pytest.raises(ValueError, match=problem):
                await enter(url, sockets=sockets)
    wrong: Any = "3"
    with pytest.raises(TypeError, match="expected sockets that listen, got '3'"):
        await enter(None, sockets=wrong)
    bare: Any = sock
    with pytest.raises(TypeError, match=r"such as \[sock\], got only <socket"):
        await enter(None, sockets=bare)
    with pytest.raises(ValueError, match=r"sockets that listen, got <socket.*: closed"):
        await enter(None, sockets=[sock])
