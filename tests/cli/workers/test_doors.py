"""Where a parent accepts connections."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
import trio

from roam_trio.cli.exits import UsageError
from roam_trio.cli.workers.doors import accept, open_doors


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("tcp://127.0.0.1:0", "tcp://127.0.0.1:{}"),
        ("tls://127.0.0.1:0?reuse_port=1", "tls://127.0.0.1:{}"),
        ("ws://127.0.0.1:0/rpc?a=1&reuse_port=1", "ws://127.0.0.1:{}/rpc?a=1"),
        ("wss://127.0.0.1:0/rpc", "wss://127.0.0.1:{}/rpc"),
    ],
)
async def test_a_url_is_shown_with_its_port(url: str, shown: str) -> None:
    (door,) = await open_doors([url])
    (number,) = door.descriptors()
    with socket.socket(fileno=os.dup(number)) as sock:
        port = sock.getsockname()[1]
    assert (door.given, door.url) == (url, shown.format(port))
    async with await trio.open_tcp_stream("127.0.0.1", port) as client:
        with await accept(door.listeners[0], door.url) as accepted:
            accepted.send(b"x")
            assert await client.receive_some() == b"x"
    door.close()


@pytest.mark.parametrize(
    ("scheme", "path", "shown"),
    [
        ("fd", "", "tcp:"),
        ("fd+tls", "", "tls:"),
        ("fd+ws", "/rpc", "ws:"),
        ("fd+wss", "/rpc?a", "wss:"),
    ],
)
async def test_sockets_that_are_inherited_are_shared(
    scheme: str, path: str, shown: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        (door,) = await open_doors([f"{scheme}://{sock.fileno()}{path}"])
        assert door.url == f"{shown}//127.0.0.1:{sock.getsockname()[1]}{path}"
        door.close()


async def test_a_new_parent_listens_on_the_sockets_of_the_old_one(
    tmp_path: Path,
) -> None:
    urls = ["wss://127.0.0.1:0/rpc", f"unix://{tmp_path}/s?mode=600"]
    old = await open_doors(urls)
    inherited = [[os.dup(each) for each in door.descriptors()] for door in old]
    new = await open_doors(urls, inherited)
    assert [door.url for door in new] == [door.url for door in old]
    async with await trio.open_unix_socket(tmp_path / "s"):
        (await accept(new[1].listeners[0], new[1].url)).close()
    for door in new:
        door.close()
    assert not (tmp_path / "s").exists()
    for door in old:
        door.close()


@pytest.mark.parametrize(
    ("urls", "problem"),
    [
        (["tcp://127.0.0.1"], "there is no port"),
        (["stdio:"], "stdio:: expected a URL of sockets"),
        (["tcp://127.0.0.1:0", "memory://m"], "memory://m: expected a URL of sockets"),
    ],
)
async def test_what_cannot_be_shared_is_refused(urls: list[str], problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        await open_doors(urls)
