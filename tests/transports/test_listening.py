"""Accepting and listening where the system does not play along."""

from __future__ import annotations

import errno
import socket
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from roam_trio.transports.hosts import HostAndPort
from roam_trio.transports.listening import accept_when_possible, listen_on_tcp


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS])
async def test_accepting_goes_on_when_there_are_means_for_it_again(
    number: int, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    failures = [OSError(number, "none left")] * 3

    async def accept() -> str:
        if failures:
            raise failures.pop()
        return "a connection"

    assert await accept_when_possible(accept, "tcp://here:1") == "a connection"
    assert caplog.text.count("tcp://here:1: cannot accept a connection now") == 3


async def test_broken_listener_is_an_error() -> None:
    async def accept() -> None:
        raise OSError(errno.EBADF, "broken")

    with pytest.raises(OSError, match="broken"):
        await accept_when_possible(accept, "tcp://here:1")


async def listener_at(port: int) -> trio.SocketListener:
    sock = trio.socket.socket()
    await sock.bind(("127.0.0.1", port))
    sock.listen()
    return trio.SocketListener(sock)


class Machine:
    """Gives several addresses, each with another port unless one is asked for."""

    def __init__(self, taken: int) -> None:
        self.taken = taken
        self.asked: list[int] = []
        self.made: list[trio.SocketListener] = []

    async def open_tcp_listeners(self, port: int, **options: Any) -> Any:
        self.asked.append(port)
        if port and self.taken:
            self.taken -= 1
            raise OSError(errno.EADDRINUSE, "taken on another address")
        listeners = [await listener_at(port)]
        if not port:
            listeners.append(await listener_at(0))
        self.made += listeners
        return listeners


async def test_one_port_is_found_for_all_addresses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine = Machine(taken=2)
    monkeypatch.setattr(trio, "open_tcp_listeners", machine.open_tcp_listeners)
    bound, listeners = await listen_on_tcp(HostAndPort("", 0))
    assert [port == 0 for port in machine.asked] == [True, False] * 3
    assert bound.port == listeners[0].socket.getsockname()[1] == machine.asked[-1]
    await listeners[0].aclose()
    assert {each.socket.fileno() for each in machine.made} == {-1}


async def test_search_for_a_port_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(taken=1000)
    monkeypatch.setattr(trio, "open_tcp_listeners", machine.open_tcp_listeners)
    with pytest.raises(OSError, match="no port that is free on all addresses"):
        await listen_on_tcp(HostAndPort("", 0))
    assert {each.socket.fileno() for each in machine.made} == {-1}


async def test_port_that_is_taken_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match="in use"):
            await listen_on_tcp(HostAndPort("127.0.0.1", port))
