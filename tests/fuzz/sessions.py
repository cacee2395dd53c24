"""Targets: live sessions with a peer that does what an input says (see `attack`)."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Awaitable, Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from functools import cache, partial
from typing import Any

import attrs
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from roam_trio import (
    ChannelError,
    Limits,
    ProxyAcceptor,
    RoamTrioError,
    Server,
    Session,
    SessionError,
    channel,
    client,
    connect,
    serve,
)
from roam_trio.transports import LinkListener, LinkOptions, dialer, transport_for
from roam_trio.wire.ids import Parity
from roam_trio.wire.messages import (
    ConnectionSettings,
    Hello,
    HelloYourself,
)
from tests.schemes import client_context, server_context

from .attack import Attack, Flag
from .checks import require
from .probe import HANDLER, Declared, Planned, Probe
from .scripts import answers, attacks, behind, greetings, resumed
from .target import Target
from .wires import (
    GONE,
    GONE_OR_REFUSED,
    LinkWire,
    Resuming,
    StreamWire,
    WebSocketWire,
    Wire,
)

__all__ = ["SESSIONS"]


_Seeds = Callable[[], Iterator[bytes]]

_WIDE = Limits(close_seconds=0.1, handshake_seconds=2.0, resume_seconds=1.0)
_TIGHT = Limits(
    close_seconds=0.1,
    handshake_seconds=2.0,
    resume_seconds=1.0,
    max_payload=2000,
    max_unsent_bytes=500,
    unsent_replies=8,
    unsent_reply_bytes=200,
    request_bytes=3000,
    channels=3,
    early_items=3,
    early_bytes=100,
    unread_bytes=100,
    proxied_items=3,
    proxied_bytes=100,
    connections=2,
    pending_opens=1,
    connection_bytes=200,
    unacknowledged_frames=4,
    unacknowledged_bytes=300,
    lost_clients=1,
    session_bytes=30_000,
    session_tasks=2,
    futile_messages=3,
    log_records=2,
)
_SHORT = attrs.evolve(_WIDE, handshake_seconds=0.3, resume_seconds=0.05)
_PATIENCE = 30.0
"""Number of seconds that everything about one input may take."""


# ------------------------------------------------------------ what may be logged


class _Watching(logging.Handler):
    """Keeps the failures that are logged and are no declared errors."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.found: list[BaseException] = []

    def emit(self, record: logging.LogRecord) -> None:
        record.getMessage()
        error = record.exc_info[1] if record.exc_info else None
        if error is not None and not _is_declared(error):
            self.found.append(error)


def _is_declared(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(map(_is_declared, error.exceptions))
    return isinstance(error, RoamTrioError | Planned | Declared)


@contextmanager
def _nothing_undeclared_is_logged() -> Generator[None]:
    logger = logging.getLogger("roam_trio")
    before = logger.handlers, logger.propagate, logger.level
    watching = _Watching()
    logger.handlers, logger.propagate = [watching], False
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.handlers, logger.propagate = before[:2]
        logger.setLevel(before[2])
    for error in watching.found:
        raise AssertionError("this was logged") from error


# ------------------------------------------------------------ a server under attack


@attrs.frozen
class _Way:
    """How to reach a server.

    Attributes:
        url: where it listens; it may have the name of a directory in it.
        wire: makes a link to it, by its URL.
        bare: makes a connection without the handshakes below sessions.
        options: of `serve`.
        trusting: of `connect`.
        is_real: whether there are sockets, so that time is real.
    """

    url: str
    wire: Callable[[str], Awaitable[Wire]]
    bare: Callable[[str], Awaitable[Wire]]
    options: Callable[[], dict[str, Any]] = dict
    trusting: Callable[[], dict[str, Any]] = dict
    is_real: bool = True


async def _in_memory(url: str) -> Wire:
    return LinkWire(await dialer(url)())


def _port_of(url: str) -> int:
    return int(url.rpartition(":")[2].partition("/")[0])


async def _on_tcp(url: str) -> Wire:
    return StreamWire(await trio.open_tcp_stream("127.0.0.1", _port_of(url)))


async def _on_unix(url: str) -> Wire:
    return StreamWire(await trio.open_unix_socket(url.removeprefix("unix://")))


async def _on_tls(url: str) -> Wire:
    stream = await trio.open_tcp_stream("127.0.0.1", _port_of(url))
    secure = trio.SSLStream(stream, client_context(), server_hostname="127.0.0.1")
    await secure.do_handshake()
    return StreamWire(secure)


async def _on_websocket(url: str) -> Wire:
    stream = await trio.open_tcp_stream("127.0.0.1", _port_of(url))
    wire = WebSocketWire(stream)
    await wire.shake_hands("/roam")
    return wire


_MEMORY = _Way("memory://fuzz", _in_memory, _in_memory, is_real=False)
_WAYS = {
    "memory": _MEMORY,
    "tcp": _Way("tcp://127.0.0.1:0", _on_tcp, _on_tcp),
    "unix": _Way("unix://{}/fuzz", _on_unix, _on_unix),
    "websocket": _Way("ws://127.0.0.1:0/roam", _on_websocket, _on_tcp),
    "tls": _Way(
        "tls://127.0.0.1:0",
        _on_tls,
        _on_tcp,
        lambda: {"ssl_context": server_context()},
        lambda: {"ssl_context": client_context()},
    ),
}


@cache
def _directory() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory()


def _run(main: Callable[[], Awaitable[None]], *, is_real: bool) -> None:
    async def in_time() -> None:
        with trio.fail_after(_PATIENCE):
            await main()

    clock = None if is_real else MockClock(autojump_threshold=0)
    with _nothing_undeclared_is_logged():
        trio.run(in_time, clock=clock)


def _served(way: _Way, data: bytes, *, resume: bool = False) -> None:
    """Serve a peer that sends what the input says, and possibly an honest one."""
    if data:
        main = partial(_serve_and_attack, way, Flag(data[0] & 127), data[1:], resume)
        _run(main, is_real=way.is_real)


async def _serve_and_attack(way: _Way, flags: Flag, parts: bytes, resume: bool) -> None:
    run = partial(
        serve,
        way.url.format(_directory().name if "{}" in way.url else ""),
        {"probe": HANDLER} if flags & Flag.NAMED else HANDLER,
        strict=bool(flags & Flag.STRICT),
        limits=_TIGHT if flags & Flag.TIGHT else _WIDE,
        max_concurrent_requests=4,
        resume=resume,
        memory=60_000 if flags & Flag.TIGHT else 2**30,
        tasks=3 if flags & Flag.TIGHT else 1000,
        max_sessions=1 if flags & Flag.TIGHT else 1000,
        max_sessions_per_peer=2,
        **way.options(),
    )
    async with trio.open_nursery() as nursery:
        server: Server = await nursery.start(run)
        connect_wire = way.bare if flags & Flag.BARE else way.wire
        wire = await connect_wire(server.url)
        another: Callable[[], Awaitable[Wire]] | None = None
        if resume:
            another = partial(way.wire, server.url)
            wire = Resuming(wire)
        attack = Attack(wire, another, flags)
        with suppress(*GONE), trio.move_on_after(5):
            await attack.run(Hello(0, 7, ConnectionSettings(Parity.ODD, 4)), parts)
        if flags & Flag.HONEST:
            # A tight server may refuse anybody.
            with suppress(*(GONE_OR_REFUSED if flags & Flag.TIGHT else ())):
                await _be_honest(server.url, way, flags, resume)
        if not flags & Flag.STAYS:
            with suppress(*GONE):
                await wire.close()
            if not way.is_real:
                await trio.sleep(10)
                require(not server.sessions, "sessions are left", server.sessions)
        await server.shutdown()
        with suppress(*GONE):
            await wire.close()


async def _be_honest(url: str, way: _Way, flags: Flag, resume: bool) -> None:
    """Make a call beside the attack."""
    async with connect(url, resume=resume, limits=_WIDE, **way.trusting()) as session:
        if flags & Flag.NAMED:
            async with session.open(Probe, name="probe") as probe:
                answer = await probe.add(1, 2)
        else:
            answer = await client(Probe, session.root.caller).add(1, 2)
        require(answer == 3, "a wrong answer to an honest client", answer)


# ------------------------------------------------------------ a client under attack


def _calling(data: bytes) -> None:
    """Call a peer that answers what the input says."""
    if data:
        flags = Flag(data[0] & 127)
        _run(partial(_call_and_attack, flags, data[1:]), is_real=False)


async def _call_and_attack(flags: Flag, parts: bytes) -> None:
    options = LinkOptions()
    (listener,) = await transport_for(_MEMORY.url).to_listen(_MEMORY.url, options)()
    connecting = connect(
        _MEMORY.url,
        strict=bool(flags & Flag.STRICT),
        limits=_TIGHT if flags & Flag.TIGHT else _WIDE,
        resume=bool(flags & Flag.NAMED),
        cancel_grace=0.5,
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_answer, listener, flags, parts)
        with suppress(SessionError, RoamTrioError, OSError):
            async with connecting as session:
                await _use(session)
        nursery.cancel_scope.cancel()
    listener.close()


async def _answer(listener: LinkListener, flags: Flag, parts: bytes) -> None:
    hello = HelloYourself(0, ConnectionSettings(Parity.EVEN, 4))
    while True:
        wire = LinkWire(await (await listener.accept())())
        if flags & Flag.NAMED:
            await wire.read()
        with suppress(*GONE):
            await Attack(wire, None, flags).run(hello, parts)
            await wire.close()


async def _use(session: Session) -> None:
    """Do everything that a client can, and accept every declared error."""
    probe = client(Probe, session.root.caller)

    async def take() -> None:
        tx, rx = channel[int]()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_tolerant, probe.take, rx)
            with suppress(ChannelError):
                async with tx:
                    for number in range(30):
                        await tx.send(number)

    async def give() -> None:
        tx, rx = channel[int]()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_tolerant, probe.give, 5, tx)
            with suppress(ChannelError):
                async for _ in rx:
                    pass

    async def cancelled() -> None:
        with trio.move_on_after(0.1):
            await probe.hang()

    async def elsewhere() -> None:
        async with session.open(Probe) as other:
            await other.add(3, 4)

    async with trio.open_nursery() as nursery:
        for work in (take, give, cancelled, elsewhere):
            nursery.start_soon(_tolerant, work)
        nursery.start_soon(_tolerant, probe.add, 1, 2)
        nursery.start_soon(_tolerant, probe.echo, "text")
        nursery.start_soon(_tolerant, probe.rows, [])


async def _tolerant(work: Callable[..., Awaitable[object]], *args: object) -> None:
    with trio.move_on_after(3):
        try:
            await work(*args)
        except* (RoamTrioError, Declared):
            pass


def _dialled(data: bytes) -> None:
    """Connect to a server that sends the bytes of the input, by one of the schemes."""
    if data:
        schemes = ("tcp://{}", "ws://{}/roam", "tls://{}", "wss://{}/roam")
        main = partial(_dial, schemes[data[0] % 4], bool(data[0] & 4), data[1:])
        _run(main, is_real=True)


async def _dial(url: str, resume: bool, data: bytes) -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    url = url.format(f"127.0.0.1:{port}")
    options = {"ssl_context": client_context()} if url[:3] in ("tls", "wss") else {}
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_send_and_close, listener, data)
        with suppress(RoamTrioError, OSError):
            async with connect(
                url, resume=resume, limits=_SHORT, connect_timeout=1, **options
            ) as session:
                with trio.move_on_after(1):
                    await client(Probe, session.root.caller).add(1, 2)
        nursery.cancel_scope.cancel()
    await listener.aclose()


async def _send_and_close(listener: trio.SocketListener, data: bytes) -> None:
    """Send the data to each client, and close when the client has read it."""
    while True:
        async with await listener.accept() as stream:
            with suppress(*GONE):
                await stream.receive_some()
                await stream.send_all(data)
                await stream.send_eof()
                await wait_all_tasks_blocked(0.001)


# ------------------------------------------------------------ a proxy under attack


def _proxied(data: bytes) -> None:
    """Attack a server through a proxy, and the proxy itself."""
    if data:
        main = partial(_join_and_attack, Flag(data[0] & 127), data[1:])
        _run(main, is_real=False)


async def _join_and_attack(flags: Flag, parts: bytes) -> None:
    limits = _TIGHT if flags & Flag.TIGHT else _WIDE
    behind = partial(serve, "memory://behind", {"probe": HANDLER}, limits=_WIDE)
    front = partial(
        serve,
        "memory://front",
        {},
        on_connection=ProxyAcceptor("memory://behind"),
        limits=limits,
        strict=bool(flags & Flag.STRICT),
    )
    async with trio.open_nursery() as nursery:
        inner: Server = await nursery.start(behind)
        outer: Server = await nursery.start(front)
        wire = await _in_memory(outer.url)
        with suppress(*GONE), trio.move_on_after(5):
            hello = Hello(0, 7, ConnectionSettings(Parity.ODD, 4))
            await Attack(wire, None, flags).run(hello, parts)
        if flags & Flag.HONEST:
            # A tight proxy may refuse anybody.
            with suppress(*(GONE_OR_REFUSED if flags & Flag.TIGHT else ())):
                await _be_honest_behind(outer.url)
        if not flags & Flag.STAYS:
            await wire.close()
        await outer.shutdown()
        await inner.shutdown()
        await wire.close()


async def _be_honest_behind(url: str) -> None:
    async with connect(url, limits=_WIDE) as session, session.open(Probe) as probe:
        require(await probe.add(1, 2) == 3, "a wrong answer behind a proxy")


def _session(name: str, check: Callable[[bytes], None], seeds: _Seeds) -> Target:
    return Target(
        f"session_{name}",
        check,
        seeds,
        longest=2048,
        kept=20,
        parts_from=1,
        seconds=10.0,
    )


SESSIONS = (
    *(
        attrs.evolve(
            _session(name, partial(_served, way), attacks),
            kept=5 if way.is_real else 20,
        )
        for name, way in _WAYS.items()
    ),
    _session("resumed", partial(_served, _MEMORY, resume=True), resumed),
    _session("calling", _calling, answers),
    attrs.evolve(_session("dialled", _dialled, greetings), kept=5, parts_from=None),
    _session("proxied", _proxied, behind),
)
