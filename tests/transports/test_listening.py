"""Accepting and listening where the system does not play along."""

from __future__ import annotations

import errno
import os
import socket
import struct
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import pytest
import trio
from trio.testing import MockClock

from roam_trio import Server, connect, dispatcher, serve, service, u32
from roam_trio.links.tcp import tcp_link
from roam_trio.transports import (
    LinkListener,
    LinkOptions,
    Transport,
    listening,
    registry,
)
from roam_trio.transports.hosts import HostAndPort
from roam_trio.transports.listening import accept_when_possible, listen_on_tcp
from roam_trio.transports.memory import MemoryTransport
from tests.schemes import SCHEMES, Scheme


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


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EBADF, "broken"),
        OSError(errno.ENOTSOCK, "broken"),
        OSError(errno.EINVAL, "broken"),
        OSError("broken"),
        trio.ClosedResourceError("broken"),
    ],
    ids=repr,
)
async def test_broken_listener_is_an_error_that_says_where(error: Exception) -> None:
    async def accept() -> None:
        raise error

    with pytest.raises(OSError, match="cannot accept connections any more") as caught:
        await accept_when_possible(accept, "tcp://here:1")
    assert caught.value.filename == "tcp://here:1"
    assert caught.value.__cause__ is error


NAMES = """
ECONNABORTED EPROTO EPERM ENETDOWN EHOSTUNREACH ENOPROTOOPT EHOSTDOWN ENONET EOPNOTSUPP
ENETUNREACH ETIMEDOUT ECONNRESET ENOSR ESOCKTNOSUPPORT EPROTONOSUPPORT
EMFILE ENFILE ENOBUFS ENOMEM
"""
OF_ONE_CONNECTION = [
    getattr(errno, name) for name in NAMES.split() if hasattr(errno, name)
]


@service
class Adder(Protocol):
    async def add(self, left: u32, right: u32) -> u32: ...


class AdderImpl:
    async def add(self, left: int, right: int) -> int:
        return left + right


class FailingPigeons(Transport):
    """A transport of somebody else's, whose listener fails now and then."""

    example = "failing://loft"

    def __init__(self) -> None:
        self.failures: list[OSError] = []

    def to_connect(self, url: str, options: LinkOptions) -> Any:
        return MemoryTransport().to_connect("memory://pigeons", options)

    def to_listen(self, url: str, options: LinkOptions) -> Any:
        begin = MemoryTransport().to_listen("memory://pigeons", options)

        async def listen() -> list[LinkListener]:
            (listener,) = await begin()
            accept = listener.accept

            async def accept_or_fail() -> Any:
                if self.failures:
                    raise self.failures.pop()
                return await accept()

            listener.accept = accept_or_fail  # type: ignore[method-assign]
            return [listener]

        return listen


PIGEONS = FailingPigeons()

ON_SOCKETS = [each for each in SCHEMES if each.name != "memory"]
FAILING = [*ON_SOCKETS, Scheme("failing", lambda *_: "failing://loft")]


@pytest.fixture(params=FAILING, ids=str)
def scheme(request: pytest.FixtureRequest) -> Scheme:
    found: Scheme = request.param
    return found


class FailingListeners:
    """Listeners of trio, and pigeons, whose next accepts fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.failures: list[OSError] = []
        monkeypatch.setattr(listening, "_SECONDS_OF_PAUSE", 0.001)
        accept = trio.SocketListener.accept

        async def accept_or_fail(listener: trio.SocketListener) -> trio.SocketStream:
            if self.failures:
                raise self.failures.pop()
            return await accept(listener)

        monkeypatch.setattr(trio.SocketListener, "accept", accept_or_fail)
        monkeypatch.setattr(PIGEONS, "failures", self.failures)
        monkeypatch.setitem(registry._transports, "failing", PIGEONS)


@pytest.fixture
def listeners(monkeypatch: pytest.MonkeyPatch) -> FailingListeners:
    return FailingListeners(monkeypatch)


async def test_an_accept_that_fails_harms_nobody_on_any_transport(
    scheme: Scheme,
    listeners: FailingListeners,
    tmp_path: Path,
    nursery: trio.Nursery,
    caplog: pytest.LogCaptureFixture,
) -> None:
    server: Server = await nursery.start(
        partial(
            serve,
            scheme.url(tmp_path),
            dispatcher(Adder, AdderImpl()),
            **scheme.to_serve(),
        )
    )
    async with connect(server.url, Adder, **scheme.to_connect()) as before:
        listeners.failures += [
            OSError(number, os.strerror(number)) for number in OF_ONE_CONNECTION
        ]
        for _ in range(2):  # the first is accepted by what waits in the system already
            async with connect(server.url, Adder, **scheme.to_connect()) as after:
                assert await after.add(3, 5) == 8
        assert not listeners.failures
        assert await before.add(3, 5) == 8
    assert f"{server.url}: a connection was not accepted" in caplog.text
    assert len(caplog.records) <= len(OF_ONE_CONNECTION)
    nursery.cancel_scope.cancel()


async def test_a_listener_that_is_broken_ends_the_server_with_its_url(
    scheme: Scheme, listeners: FailingListeners, tmp_path: Path
) -> None:
    listeners.failures.append(OSError(errno.EINVAL, "no socket listens"))
    with pytest.raises(BaseExceptionGroup) as caught:
        await serve(
            scheme.url(tmp_path), dispatcher(Adder, AdderImpl()), **scheme.to_serve()
        )
    error: Any = caught.value
    while isinstance(error, BaseExceptionGroup):
        (error,) = error.exceptions
    assert isinstance(error, OSError)
    assert "cannot accept connections any more" in str(error)
    assert error.filename


async def test_accepts_that_always_fail_do_not_spin(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    tries = 0

    async def accept() -> None:
        nonlocal tries
        tries += 1
        raise OSError(errno.ECONNABORTED, "gone")

    with trio.move_on_after(10):
        await accept_when_possible(accept, "tcp://here:1")
    assert tries < 120


async def test_a_connection_that_ended_at_once_is_a_link_that_has_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(self: socket.socket, *args: Any) -> None:
        raise OSError(errno.EINVAL, "the peer is gone")

    near, far = trio.socket.socketpair()
    far.close()
    with monkeypatch.context() as patch:
        patch.setattr(socket.socket, "setsockopt", refuse)
        link = tcp_link(trio.SocketStream(near))
    tx, rx = link.split()
    assert await rx.recv() is None
    await tx.abort()
    await rx.close()


@pytest.mark.parametrize("scheme", ["tls", "ws", "wss"])
async def test_a_handshake_that_is_broken_off_harms_nobody(
    scheme: str,
    tmp_path: Path,
    nursery: trio.Nursery,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (found,) = (each for each in SCHEMES if each.name == scheme)
    server: Server = await nursery.start(
        partial(
            serve,
            found.url(tmp_path),
            dispatcher(Adder, AdderImpl()),
            **found.to_serve(),
        )
    )
    port = int(server.url.split(":")[2].partition("/")[0])
    async with connect(server.url, Adder, **found.to_connect()) as before:
        for said in (b"", b"\x16\x03\x01", b"GET / HTTP/1.1\r\n", b"\r\n\r\n"):
            for reset in (False, True):
                stream = await trio.open_tcp_stream("127.0.0.1", port)
                if said:
                    await stream.send_all(said)
                if reset:
                    stream.socket.setsockopt(
                        socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                    )
                await stream.aclose()
        async with connect(server.url, Adder, **found.to_connect()) as after:
            assert await after.add(3, 5) == 8
        assert await before.add(3, 5) == 8
    assert "Traceback" not in caplog.text
    nursery.cancel_scope.cancel()


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


async def test_address_that_the_system_cannot_say_why_it_refuses_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def refuse(*_: object, **__: object) -> Any:
        raise OSError("no such thing here")

    monkeypatch.setattr(trio, "open_tcp_listeners", refuse)
    with pytest.raises(OSError, match="no such thing here: 'tcp://here:7'"):
        await listen_on_tcp(HostAndPort("here", 7), url="tcp://here:7")
