"""Inputs of live sessions to begin with."""

from __future__ import annotations

from collections.abc import Iterator

from roam_trio.links.resuming.sequence import write_header
from roam_trio.metadata import Metadata, MetadataEntry
from roam_trio.wire.ids import Parity
from roam_trio.wire.messages import (
    ChannelClose,
    ChannelGrantCredit,
    ChannelItem,
    ChannelReset,
    ConnectionAccept,
    ConnectionClose,
    ConnectionOpen,
    ConnectionReject,
    ConnectionSettings,
    HelloYourself,
    Ping,
    Pong,
    ProtocolError,
    RequestCall,
    RequestCancel,
    RequestResponse,
)

from .parts import joined_parts
from .probe import IDS
from .wire import MESSAGES, encoded

__all__ = ["answers", "attacks", "behind", "greetings", "resumed"]

_ODD = ConnectionSettings(Parity.ODD, 4)
_SERVICE = Metadata([MetadataEntry("service", "probe")])
_UNKNOWN = Metadata([MetadataEntry("for-this-hop-only", 3, 2)])
_DEADLINE = Metadata([MetadataEntry("request-deadline", 50_000, 2)])
_NONE = Metadata()


def _calls(on: int) -> list[bytes]:
    """Return what calls every method on a connection, and uses its channels."""
    return [
        encoded(message)
        for message in (
            RequestCall(on, 1, IDS["add"], (), _NONE, b"\x03\x05"),
            RequestCall(on, 3, IDS["echo"], (), _DEADLINE, b"\x02hi"),
            RequestCall(on, 5, IDS["fail"], (), _NONE, b""),
            RequestCall(on, 7, IDS["hang"], (), _DEADLINE, b""),
            RequestCall(on, 9, IDS["rows"], (), _UNKNOWN, b"\1\1\1a"),
            RequestCall(on, 11, IDS["take"], (1,), _NONE, b""),
            ChannelItem(on, 1, b"\x02"),
            ChannelItem(on, 1, b"\x04"),
            ChannelClose(on, 1),
            RequestCall(on, 13, IDS["give"], (3,), _NONE, b"\x14"),
            ChannelGrantCredit(on, 3, 5),
            ChannelReset(on, 3),
            RequestCall(on, 15, IDS["both"], (5, 7), _NONE, b""),
            ChannelItem(on, 5, b"\x01x"),
            ChannelItem(on, 9, b"early"),
            RequestCancel(on, 7),
            RequestCancel(on, 15),
            RequestCall(on, 17, 5, (), _NONE, b"no such method"),
        )
    ]


def attacks() -> Iterator[bytes]:
    """Yield inputs for a server."""
    opened = encoded(ConnectionOpen(1, _ODD, _SERVICE))
    closed = encoded(ConnectionClose(1))
    several = [
        _calls(0),
        [b"", *_calls(0), b"", encoded(Ping(0, 5)), b""],
        [opened, b"", *_calls(1), b"", closed, *_calls(1)],
        [*map(encoded, MESSAGES)],
        [encoded(ProtocolError(0, "wrong"))],
        [encoded(Pong(0, 1)), encoded(ConnectionReject(0)), encoded(Ping(0, 1))],
        [b"\xff\x00\xff\xff\xff\xff", b"\xff\x01"],
        [_calls(0)[0], b"\xff\x01", b""],
        [b"\xff\x03", b"\xff\x00\x05\x00\x00\x00\x00"],
    ]
    for parts in several:
        whole = joined_parts(parts)
        for flags in (0, 1, 2, 4, 8, 10, 16, 32, 40):
            yield bytes((flags,)) + whole
    for raw in (b"GET /roam HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x00\x05\x01\0\0\1\3"):
        yield b"\x40" + joined_parts([b"\xff\x00" + raw, b"", b"\xff\x01"])
        yield b"\x48" + joined_parts([b"\xff\x00" + raw])


def resumed() -> Iterator[bytes]:
    """Yield inputs for a server of which links are lost."""
    calls = _calls(0)
    acknowledging = b"\xfe" + write_header(9, 0) + calls[0]
    for parts in (
        calls,
        [*calls[:3], b"", b"\xff\x02", *calls[3:], b""],
        [*calls[:3], b"", b"\xff\x02\x00\x00\x00\x00", acknowledging, b""],
        [b"\xff\x02\xff\xff\xff\xff", *calls[:2]],
        [b"\xfe\x00", b"\xfe" + b"RO", b"\xff\x02"],
    ):
        for flags in (0, 3, 8, 16):
            yield bytes((flags,)) + joined_parts(parts)


def answers() -> Iterator[bytes]:
    """Yield inputs for a client."""
    parts = [
        encoded(message)
        for message in (
            RequestResponse(0, 1, (), _NONE, b"\x00\x06"),
            RequestResponse(0, 3, (), _NONE, b"\x01\x00\x01x"),
            RequestResponse(0, 5, (), _UNKNOWN, b"\x00\x00"),
            ChannelGrantCredit(0, 1, 10),
            ChannelItem(0, 3, b"\x02"),
            ChannelClose(0, 3),
            ChannelReset(0, 1),
            ConnectionAccept(1, _ODD),
            RequestResponse(1, 1, (), _NONE, b"\x00\x0e"),
            RequestResponse(0, 7, (), _NONE, b"\x01\x03"),
            RequestResponse(0, 9, (), _NONE, b"\x01\x02"),
            RequestResponse(0, 11, (), _NONE, b"\x00"),
        )
    ]
    hello = b"ROSH\x00" + bytes(20)
    framed = [write_header(seq, None) + part for seq, part in enumerate(parts)]
    own = encoded(HelloYourself(0, _ODD))
    yield b"\x00" + joined_parts(parts)
    yield b"\x00" + joined_parts([b"", *parts, b""])
    yield b"\x03" + joined_parts([b"", *parts[:6], b"\xff\x01"])
    yield b"\x04" + joined_parts([own, b"", *parts])
    yield b"\x04" + joined_parts([encoded(ProtocolError(0, "refused: no: not you"))])
    yield b"\x24" + joined_parts([hello, write_header(0, None) + own, b"", *framed])
    yield b"\x24" + joined_parts([b"ROSH\x01" + bytes(20)])


def greetings() -> Iterator[bytes]:
    """Yield what a server sends to a client that has just connected."""
    own = encoded(HelloYourself(0, _ODD))
    answer = encoded(RequestResponse(0, 1, (), _NONE, b"\x00\x06"))
    framed = b"".join(len(one).to_bytes(4, "little") + one for one in (own, answer))
    http = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"
    alert = b"\x15\x03\x03\x00\x02\x02\x28"
    for scheme in range(4):
        yield bytes((scheme,)) + framed
        yield bytes((scheme,)) + http
        yield bytes((scheme,)) + alert
        yield bytes((scheme | 4,)) + b"\x19\x00\x00\x00ROSH\x00" + bytes(20)


def behind() -> Iterator[bytes]:
    """Yield inputs for a proxy."""
    opened = encoded(ConnectionOpen(1, _ODD, _SERVICE))
    another = encoded(ConnectionOpen(3, _ODD, _SERVICE))
    closed = encoded(ConnectionClose(1))
    for parts in (
        [opened, b"", *_calls(1), b""],
        [opened, *_calls(1), closed, another, b"", *_calls(3), b""],
        [opened, another, b"", *_calls(1), *_calls(3), b"", closed, b"\xff\x01"],
    ):
        for flags in (0, 1, 2, 8, 16):
            yield bytes((flags,)) + joined_parts(parts)
