"""The third process of a soak, which harms the server; `run` starts it.

    python -m benchmarks.soak.flooder PLAIN RESUMING

Each flood has a connection of its own, and says what no peer should, or too much of it.
The server may end that connection; whether others notice is the client's to say.
"""

from __future__ import annotations

import random
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final

import trio

from roam_trio import Metadata, describe
from roam_trio.errors import RoamTrioError
from roam_trio.limits import DEFAULT_LIMITS
from roam_trio.links.base import LinkRx, LinkTx
from roam_trio.links.resuming.hello import ClientHello
from roam_trio.links.resuming.sequence import write_header
from roam_trio.transports import dialer
from roam_trio.wire.envelope import encode_message
from roam_trio.wire.ids import ChannelId, ConnectionId, MethodId, Parity, RequestId
from roam_trio.wire.messages import (
    PROTOCOL_VERSION,
    ChannelGrantCredit,
    ChannelItem,
    ChannelReset,
    ConnectionClose,
    ConnectionOpen,
    ConnectionSettings,
    Hello,
    Message,
    Ping,
    RequestCall,
    RequestCancel,
)

from .gauges import gauge
from .orders import Said, obey
from .service import Soaked
from .shift import Shift

__all__: list[str] = []

_MANY: Final = 500
"""Number of messages of a flood."""

_PAUSE: Final = 0.4
"""Seconds between two floods, so that the machine can do other things."""

_SETTINGS: Final = ConnectionSettings(Parity.ODD, 64)
_NAMED: Final = Metadata.of({"service": "soaked"})
_UNKNOWN: Final = Metadata.of({"service": "no such service"})
_LARGE: Final = Metadata.of({"nothing": "x" * 10_000})
_METHODS: Final = {method.name: method.id for method in describe(Soaked).methods}


class _Hostile:
    """A connection on which anything can be said."""

    def __init__(self, tx: LinkTx, shift: Shift) -> None:
        self._tx = tx
        self._shift = shift

    async def say(self, *messages: Message) -> None:
        for message in messages:
            (await self._tx.reserve()).send(list(encode_message(message)))
            self._shift.done["hostile messages"] += 1

    async def say_bytes(self, payload: bytes) -> None:
        (await self._tx.reserve()).send([payload])


@asynccontextmanager
async def _connected(url: str, shift: Shift) -> AsyncIterator[_Hostile]:
    """A hostile peer that reads what comes, and drops its connection in the end."""
    link = await dialer(url)()
    tx, rx = link.split()
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_ignore, rx)
            nursery.start_soon(_pump, tx)
            yield _Hostile(tx, shift)
            nursery.cancel_scope.cancel()
    finally:
        await tx.abort()
        await rx.close()


async def _ignore(rx: LinkRx) -> None:
    with suppress(RoamTrioError):
        while await rx.recv() is not None:
            pass


async def _pump(tx: LinkTx) -> None:
    with suppress(RoamTrioError):
        await tx.pump()


# ---------------------------------------------------------------- floods


def _hello() -> Hello:
    return Hello(ConnectionId(0), PROTOCOL_VERSION, _SETTINGS)


def _call(connection: int, request: int, method: str, args: bytes) -> RequestCall:
    id = _METHODS.get(method, 7)
    return RequestCall(
        ConnectionId(connection),
        RequestId(request),
        MethodId(id),
        (),
        Metadata(),
        [args],
    )


async def _pings(peer: _Hostile) -> None:
    for number in range(_MANY):
        await peer.say(Ping(ConnectionId(0), number))


async def _pings_beyond_the_limit(peer: _Hostile) -> None:
    for number in range(DEFAULT_LIMITS.futile_messages + 1000):
        await peer.say(Ping(ConnectionId(0), number))


async def _calls_that_wait(peer: _Hostile) -> None:
    """Make calls that wait for an answer of this side, and go without one."""
    await peer.say(ConnectionOpen(ConnectionId(1), _SETTINGS, _NAMED))
    for number in range(1, 120, 2):
        await peer.say(_call(1, number, "call_back", b"\1"))
    await trio.sleep(0.2)


async def _calls_beyond_the_limit(peer: _Hostile) -> None:
    await _calls_that_wait(peer)
    for number in range(121, 140, 2):
        await peer.say(_call(1, number, "call_back", b"\1"))
    await trio.sleep(0.2)


async def _calls_that_fail(peer: _Hostile) -> None:
    await peer.say(ConnectionOpen(ConnectionId(1), _SETTINGS, _NAMED))
    for number in range(1, 60, 2):
        await peer.say(_call(1, number, "fail", b""))


async def _undecodable(peer: _Hostile) -> None:
    await peer.say(ConnectionOpen(ConnectionId(1), _SETTINGS, _NAMED))
    for number in range(1, 60, 2):
        await peer.say(_call(1, number, "echo", b"\xff\xff"))


async def _unknown_methods(peer: _Hostile) -> None:
    await peer.say(ConnectionOpen(ConnectionId(1), _SETTINGS, _NAMED))
    for number in range(1, 60, 2):
        await peer.say(_call(1, number, "", b""))


async def _calls_and_cancels(peer: _Hostile) -> None:
    await peer.say(ConnectionOpen(ConnectionId(1), _SETTINGS, _NAMED))
    for number in range(1, 2 * _MANY, 2):
        await peer.say(
            _call(1, number, "add", b"\1\1"),
            RequestCancel(ConnectionId(1), RequestId(number)),
        )


async def _rejected_opens(peer: _Hostile) -> None:
    for number in range(1, 2 * _MANY, 2):
        await peer.say(ConnectionOpen(ConnectionId(number), _SETTINGS, _UNKNOWN))


async def _opens_and_closes(peer: _Hostile) -> None:
    for number in range(1, 2 * _MANY, 2):
        await peer.say(
            ConnectionOpen(ConnectionId(number), _SETTINGS, _NAMED),
            ConnectionClose(ConnectionId(number)),
        )


async def _opens_that_stay(peer: _Hostile) -> None:
    for number in range(1, 2 * _MANY, 2):
        await peer.say(ConnectionOpen(ConnectionId(number), _SETTINGS, _NAMED))


async def _closes_of_nothing(peer: _Hostile) -> None:
    for number in range(1, 200, 2):
        await peer.say(ConnectionClose(ConnectionId(number), _LARGE))


async def _items_of_nothing(peer: _Hostile) -> None:
    await peer.say(ConnectionOpen(ConnectionId(1), _SETTINGS, _NAMED))
    for number in range(1, 2 * _MANY, 2):
        channel = ConnectionId(1), ChannelId(number)
        await peer.say(
            ChannelItem(*channel, [b"\1"]),
            ChannelGrantCredit(*channel, 7),
            ChannelReset(*channel),
        )


async def _garbage(peer: _Hostile) -> None:
    await peer.say_bytes(random.randbytes(1000))


async def _silence(peer: _Hostile) -> None:
    await trio.sleep(0.2)


_FLOODS: Final[list[Callable[[_Hostile], Awaitable[None]]]] = [
    _pings,
    _pings_beyond_the_limit,
    _calls_that_wait,
    _calls_beyond_the_limit,
    _calls_that_fail,
    _undecodable,
    _unknown_methods,
    _calls_and_cancels,
    _rejected_opens,
    _opens_and_closes,
    _opens_that_stay,
    _closes_of_nothing,
    _items_of_nothing,
    _garbage,
    _silence,
]


async def _half_payload(url: str) -> None:
    """Begin a payload of 8 MiB, and never end it."""
    stream = await _stream_to(url)
    async with stream:
        with suppress(trio.BrokenResourceError):
            await stream.send_all((8 << 20).to_bytes(4, "little") + bytes(100_000))
            await trio.sleep(0.2)


async def _no_payload(url: str) -> None:
    """Connect, and say nothing; in the end reset the connection."""
    stream = await _stream_to(url)
    linger = b"\1\0\0\0\0\0\0\0"
    stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    await trio.sleep(0.2)
    await stream.aclose()


async def _stream_to(url: str) -> trio.SocketStream:
    host, _, port = url.removeprefix("tcp://").rpartition(":")
    return await trio.open_tcp_stream(host, int(port))


# ---------------------------------------------------------------- the process


async def _flood(url: str, resuming: str, shift: Shift) -> None:
    while True:
        async with shift.turn():
            await _be_lost(resuming, shift)
        await trio.sleep(_PAUSE)
        for flood in random.sample(_FLOODS, len(_FLOODS)):
            async with shift.turn():
                with suppress(RoamTrioError, OSError):
                    async with _connected(url, shift) as peer:
                        await peer.say(_hello())
                        await flood(peer)
                shift.done["floods"] += 1
            await trio.sleep(_PAUSE)
        for attack in (_half_payload, _no_payload):
            async with shift.turn():
                with suppress(OSError):
                    await attack(url)
                shift.done["floods"] += 1
            await trio.sleep(_PAUSE)


async def _be_lost(url: str, shift: Shift) -> None:
    """Come as clients that can be lost, and be lost; some with a key that is none."""
    for number in range(4):
        with suppress(RoamTrioError, OSError):
            async with _connected(url, shift) as peer:
                key = random.randbytes(16) if number % 2 else None
                await peer.say_bytes(ClientHello(key).encode())
                header = write_header(0, None)
                await peer.say_bytes(header + b"".join(encode_message(_hello())))
                await trio.sleep(0.1)
        shift.done["strangers"] += 1


async def _run(plain: str, resuming: str) -> None:
    shift = Shift()

    async def answer(order: str) -> Said:
        match order:
            case "rest":
                await shift.rest()
            case "go on":
                shift.go_on()
            case "look":
                return Said(gauges=gauge(), done=dict(shift.done))
            case _:
                raise ValueError(f"no such order: {order!r}")
        return Said()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(_flood, plain, resuming, shift)
        await obey(answer)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    plain, resuming = sys.argv[1:]
    trio.run(_run, plain, resuming)
