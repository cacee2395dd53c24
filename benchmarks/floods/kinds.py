"""The floods, each as fast as one process can make it.

A flood is done on links of its own, until the server ends them or time is over. Those
that make calls keep within the number of calls that the server allows: a session that
exceeds it ends at once.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from itertools import count
from typing import Final

import trio

from roam_trio import Metadata
from roam_trio.links.resuming.hello import ClientHello
from roam_trio.links.resuming.sequence import write_header
from roam_trio.wire.envelope import encode_message
from roam_trio.wire.ids import ChannelId, ConnectionId, RequestId
from roam_trio.wire.messages import (
    ChannelClose,
    ChannelGrantCredit,
    ChannelItem,
    ChannelReset,
    ConnectionClose,
    ConnectionOpen,
    Message,
    Ping,
    Pong,
    RequestCancel,
    RequestResponse,
)

from .hostile_link import (
    IN_FLIGHT,
    SETTINGS,
    HostileLink,
    call,
    connected,
    frame,
    hello,
)
from .service import NAMED

__all__ = ["FLOODS", "NEEDS_RESUME", "Flood"]

Flood = Callable[[str], Awaitable[None]]
"""Floods the server at a URL; returns when the server has ended its links."""

_ROOT: Final = ConnectionId(0)
_ONE: Final = ConnectionId(1)
_UNKNOWN: Final = Metadata.of({"service": "no such service"})
_LARGE: Final = Metadata.of({"nothing": "x" * 60_000})
_MANY_ENTRIES: Final = Metadata.of({f"k{number}": number for number in range(1000)})
_CHUNK: Final = 200
"""Number of parts of a flood that are sent at once."""

_LINKS: Final = 64
"""Number of links of floods that need many."""

_SILENT: Final = 900
"""Number of sessions that are opened and do nothing."""

_HALF: Final = 16 * 1024 * 1024
"""Length of payloads of which only half is sent."""

_SOON: Final = 0.001
"""Number of seconds from calls to their cancellation: the calls have begun."""

_STRAY_ITEM: Final = 1000
"""Length of items that come for nobody, in bytes."""


def _odd() -> Iterator[int]:
    return count(1, 2)


async def _on_connection(
    flood: Callable[[HostileLink], Awaitable[None]], url: str
) -> None:
    """Do a flood on connection 1 of one session."""
    async with connected(url) as link:
        await link.open()
        await flood(link)


async def _for_ever(
    link: HostileLink, part: Callable[[int], tuple[Message, ...]]
) -> None:
    """Send the messages of each number, without a wait for anything."""
    numbers = _odd()
    while True:
        await link.send(
            b"".join(frame(*part(next(numbers))) for _ in range(_CHUNK)),
        )


async def _answered(
    link: HostileLink, part: Callable[[int], tuple[Message, ...]]
) -> None:
    """Send the messages of each number, one call, as soon as there may be another."""
    asked = 0
    while True:
        while asked - link.answered >= IN_FLIGHT:
            await link.until_answered(link.answered + 1)
        free = IN_FLIGHT - (asked - link.answered)
        parts = [part(2 * (asked + number) + 1) for number in range(free)]
        asked += free
        await link.send(b"".join(frame(*each) for each in parts))


def _flowing(part: Callable[[int], tuple[Message, ...]]) -> Flood:
    """Return a flood that waits for nothing."""
    return partial(_on_connection, partial(_for_ever, part=part))


def _calling(part: Callable[[int], tuple[Message, ...]]) -> Flood:
    """Return a flood of calls, each of which has an answer."""
    return partial(_on_connection, partial(_answered, part=part))


async def _on_many(flood: Flood, number: int, url: str) -> None:
    """Do a flood on many links at once."""
    async with trio.open_nursery() as nursery:
        for _ in range(number):
            nursery.start_soon(flood, url)


# ---------------------------------------------------------------- one session


def _ping(number: int) -> tuple[Message, ...]:
    return (Ping(_ROOT, number),)


def _pong(number: int) -> tuple[Message, ...]:
    return (Pong(_ROOT, number),)


def _call_and_cancel(number: int) -> tuple[Message, ...]:
    return call(number, "sleep", b"\0"), RequestCancel(_ONE, RequestId(number))


def _failing(number: int) -> tuple[Message, ...]:
    return (call(number, "fail"),)


def _of_an_unknown_method(number: int) -> tuple[Message, ...]:
    return (call(number, "no such method"),)


def _undecodable(number: int) -> tuple[Message, ...]:
    return (call(number, "add", b"\xff\xff\xff\xff\xff\xff"),)


def _open_rejected(number: int) -> tuple[Message, ...]:
    return (ConnectionOpen(ConnectionId(number + 2), SETTINGS, _UNKNOWN),)


def _open_and_close(number: int) -> tuple[Message, ...]:
    id = ConnectionId(number + 2)
    return ConnectionOpen(id, SETTINGS, NAMED), ConnectionClose(id)


def _reset(number: int) -> tuple[Message, ...]:
    channel = ChannelId(number)
    return call(number, "give", channels=(channel,)), ChannelReset(_ONE, channel)


def _close_of_nothing(number: int) -> tuple[Message, ...]:
    return (ChannelClose(_ONE, ChannelId(number), _LARGE),)


def _early_item(number: int) -> tuple[Message, ...]:
    return (ChannelItem(_ONE, ChannelId(number), bytes(_STRAY_ITEM)),)


def _close_of_no_connection(number: int) -> tuple[Message, ...]:
    return (ConnectionClose(ConnectionId(number + 2), _LARGE),)


def _open_with_metadata(number: int) -> tuple[Message, ...]:
    metadata = Metadata((*NAMED, *_MANY_ENTRIES))
    return (ConnectionOpen(ConnectionId(number + 2), SETTINGS, metadata),)


async def _cancel_soon(link: HostileLink) -> None:
    """Make calls, and cancel them when they have just begun."""
    asked = 0
    while True:
        numbers = [2 * (asked + place) + 1 for place in range(IN_FLIGHT)]
        asked += IN_FLIGHT
        await link.say(*(call(number, "sleep", b"\0") for number in numbers))
        await trio.sleep(_SOON)
        await link.say(*(RequestCancel(_ONE, RequestId(number)) for number in numbers))
        await link.until_answered(asked)


async def _credit(additional: int, link: HostileLink) -> None:
    """Credit for a sender that nobody reads: it gets none of the room in the link."""
    await link.say(call(1, "give", channels=(1,)))
    grant = ChannelGrantCredit(_ONE, ChannelId(1), additional)
    await _for_ever(link, lambda number: (grant,))


async def _endless_credit(link: HostileLink) -> None:
    """Credit once, for as many items as the handler can send."""
    await link.say(call(1, "give", channels=(1,)))
    await link.say(ChannelGrantCredit(_ONE, ChannelId(1), 2**32 - 1))
    await _stay(link)


async def _late_items(link: HostileLink) -> None:
    await link.say(
        call(1, "take_one", channels=(1,)), ChannelItem(_ONE, ChannelId(1), b"\1")
    )
    await link.hear(RequestResponse)
    await _for_ever(link, lambda number: (ChannelItem(_ONE, ChannelId(1), b"\1"),))


async def _beyond_credit(link: HostileLink) -> None:
    await link.say(call(1, "take_none", channels=(1,)))
    await _for_ever(link, lambda number: (ChannelItem(_ONE, ChannelId(1), b"\1"),))


async def _stay(link: HostileLink) -> None:
    """Do nothing more; the block is cancelled when the server ends the link."""
    await trio.sleep_forever()


async def _on_all_connections(
    part: Callable[[int, int], Message], each: int, link: HostileLink
) -> None:
    """Open one connection after another, and make calls on each without an end."""
    for number in range(1, 2 * 4096, 2):
        id = ConnectionId(number)
        if number > 1:
            await link.say(ConnectionOpen(id, SETTINGS, NAMED))
            await link.until_decided((number + 1) // 2)
        if link.rejected:
            break
        await link.send(
            b"".join(frame(part(number, 2 * place + 1)) for place in range(each))
        )
    for number in count(2 * each + 1, 2):  # those that are refused
        answered = link.answered
        await link.say(part(1, number))
        await link.until_answered(answered + 1)


def _sleeping(connection: int, number: int) -> Message:
    return call(number, "sleep", b"\0", connection=connection)


def _sleeping_with_metadata(connection: int, number: int) -> Message:
    return call(number, "sleep", b"\0", connection=connection, metadata=_MANY_ENTRIES)


def _close_with_metadata(connection: int, number: int) -> Message:
    return ChannelClose(ConnectionId(connection), ChannelId(number), _MANY_ENTRIES)


async def _shielded(url: str) -> None:
    """Make calls whose handlers go on, and leave."""
    async with connected(url) as link:
        await link.open()
        await link.send(
            b"".join(frame(call(2 * n + 1, "sleep_shielded")) for n in range(IN_FLIGHT))
        )
        await link.say(call(2 * IN_FLIGHT + 1, "add", b"\1\1"))
        await link.hear(RequestResponse)


# ---------------------------------------------------------------- many links


async def _half_payload(url: str) -> None:
    async with connected(url) as link:
        await link.shake_hands()
        await link.send((_HALF - 1).to_bytes(4, "little") + bytes(_HALF // 2))
        await _stay(link)


async def _byte_by_byte(url: str) -> None:
    """Send pings, one byte at a time."""
    async with connected(url) as link:
        await link.shake_hands()
        data = frame(Ping(_ROOT, 1))
        while True:
            for place in range(len(data)):
                await link.send(data[place : place + 1])


async def _silent(url: str) -> None:
    async with connected(url) as link:
        await link.shake_hands()
        await _stay(link)


async def _guess(url: str) -> None:
    """Come with a key that is none, and go."""
    async with connected(url) as link:
        await _say_hello(link, os.urandom(16))
        await trio.sleep(0.01)


async def _stranger(url: str) -> None:
    """Begin a session that resumes, and be lost."""
    async with connected(url) as link:
        await _say_hello(link, None)
        payload = write_header(0, None) + b"".join(encode_message(hello()))
        await link.send(len(payload).to_bytes(4, "little") + payload)
        await trio.sleep(0.02)


async def _say_hello(link: HostileLink, key: bytes | None) -> None:
    payload = ClientHello(key).encode()
    await link.send(len(payload).to_bytes(4, "little") + payload)


async def _again_and_again(flood: Flood, number: int, url: str) -> None:
    """Do a flood that is short again and again, so many at a time."""

    async def go_on(url: str) -> None:
        while True:
            await flood(url)

    await _on_many(go_on, number, url)


FLOODS: Final[dict[str, Flood]] = {
    "pings": _flowing(_ping),
    "pongs": _flowing(_pong),
    "call and cancel": _calling(_call_and_cancel),
    "call, and cancel soon": partial(_on_connection, _cancel_soon),
    "calls that fail": _calling(_failing),
    "calls of unknown methods": _calling(_of_an_unknown_method),
    "undecodable arguments": _calling(_undecodable),
    "opens rejected": _flowing(_open_rejected),
    "open and close": _flowing(_open_and_close),
    "resets": _calling(_reset),
    "closes of unknown channels, large metadata": _flowing(_close_of_nothing),
    "closes of unknown channels on every connection": partial(
        _on_connection, partial(_on_all_connections, _close_with_metadata, 1)
    ),
    "closes of unknown connections, large metadata": _flowing(_close_of_no_connection),
    "credit grants": partial(_on_connection, partial(_credit, 1)),
    "credit grants of nothing": partial(_on_connection, partial(_credit, 0)),
    "credit without end": partial(_on_connection, _endless_credit),
    "items early": _flowing(_early_item),
    "items late": partial(_on_connection, _late_items),
    "items beyond credit": partial(_on_connection, _beyond_credit),
    "large metadata of calls in flight": partial(
        _on_connection, partial(_on_all_connections, _sleeping_with_metadata, IN_FLIGHT)
    ),
    "large metadata of connections": _flowing(_open_with_metadata),
    "sleeping calls on every connection": partial(
        _on_connection, partial(_on_all_connections, _sleeping, IN_FLIGHT)
    ),
    "handlers that shield": partial(_again_and_again, _shielded, 8),
    "half payloads": partial(_on_many, _half_payload, _LINKS),
    "byte by byte": partial(_on_many, _byte_by_byte, _LINKS),
    "sessions opened and silent": partial(_on_many, _silent, _SILENT),
    "resume keys guessed": partial(_again_and_again, _guess, 16),
    "strangers under resume": partial(_again_and_again, _stranger, 16),
}
"""The floods by name."""

NEEDS_RESUME: Final = frozenset({"resume keys guessed", "strangers under resume"})
"""The floods of a server that waits for lost clients."""
