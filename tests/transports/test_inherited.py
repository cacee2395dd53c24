"""Sockets that this process has inherited, which listen already."""

from __future__ import annotations

import errno
import os
import socket
import ssl
from pathlib import Path
from typing import Any, Protocol

import pytest
import trustme

from roam_trio import connect, current_call, dispatcher, service, serving
from roam_trio.transports import dialer


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
        url = f"fd+tls://{local.fileno()}"
        with pytest.raises(OSError, match="a Unix socket, which has no TLS"):
            await enter(url, ssl_context=theirs)
    (tmp_path / "x").unlink()


async def enter(url: str, **options: Any) -> None:
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
