"""The entries of the extension for many messages, beside those in Python.

Streams of frames are cut, gathered to runs and decoded by both, and what comes out is
framed by both. `natives` has the values of many types that are encoded together.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from roam_trio.errors import CodecError
from roam_trio.metadata import Metadata, MetadataEntry
from roam_trio.native import NATIVE
from roam_trio.wire.envelope import functions
from roam_trio.wire.frames import cut_in_python
from roam_trio.wire.messages import (
    ChannelClose,
    ChannelGrantCredit,
    ChannelItem,
    Ping,
    RequestCall,
    RequestCancel,
    RequestResponse,
)
from roam_trio.wire.runs import ItemRun

from .checks import require
from .target import Target

__all__ = ["NATIVE_STREAMS", "stream_by_chance"]

_PYTHON = functions(None)
_RUST = functions(NATIVE)
_CUT = cut_in_python if NATIVE is None else NATIVE.cut_frames


def native_stream(data: bytes) -> None:
    """Cut a stream at a place, and compare all that becomes of it.

    The first byte is the length of the longest payload, 255 for any; the next two are
    the place.
    """
    if len(data) < 3:
        return
    most = data[0] if data[0] < 255 else 1 << 31
    at = int.from_bytes(data[1:3], "little")
    stream = data[3:]
    payloads: list[bytes] = []
    for chunk in (stream[:at], stream[at:], stream):
        of_python: list[bytes] = []
        of_rust: list[bytes] = []
        end = cut_in_python(chunk, 0, most, of_python)
        require(_CUT(chunk, 0, most, of_rust) == end, "it ends elsewhere", end)
        require(of_rust == of_python, "other payloads", (of_rust, of_python))
        payloads = of_python
    if payloads:
        gathered = [_told(each) for each in _PYTHON.gather(payloads)]
        others = [_told(each) for each in _RUST.gather(payloads)]
        require(gathered == others, "other runs", (gathered, others))
    for payload in payloads:
        _check_message(payload)


def _told(gathered: Any) -> Any:
    if isinstance(gathered, ItemRun):
        return gathered.connection_id, gathered.channel_id, list(gathered.items)
    return gathered


def _check_message(payload: bytes) -> None:
    message, error = _outcome(_PYTHON.decode, payload)
    other, other_error = _outcome(_RUST.decode, payload)
    require(error == other_error, "other errors", (error, other_error))
    require(_shown(message) == _shown(other), "other messages", (message, other))
    if error is None:
        frame, again = _PYTHON.encode_frame(message), _RUST.encode_frame(message)
        require(frame == again, "other frames", (frame, again))


def _outcome(decode: Any, payload: bytes) -> tuple[Any, Any]:
    try:
        return decode(payload), None
    except CodecError as error:
        return None, (type(error), str(error))


def _shown(message: Any) -> Any:
    """Return all of a message; its value may be a view, which has a repr by address."""
    if message is None:
        return None
    fields = [getattr(message, name) for name in message.__struct_fields__]
    return type(message), [
        bytes(each) if isinstance(each, memoryview) else each for each in fields
    ]


def _metadata(chance: random.Random) -> Metadata:
    """Return metadata as messages have it: mostly none, or a few entries."""
    keys = ("request-deadline", "tenant", "", "\N{SNOWMAN}", "k" * 130)
    values: tuple[Any, ...] = (
        *("", "blue", "\N{SNOWMAN}\0", "t" * 130),
        *(b"", b"\xff\0", bytes(130)),
        *(0, 127, 128, 5_000_000, 2**64 - 1),
    )
    return Metadata(
        MetadataEntry(
            chance.choice(keys), chance.choice(values), chance.choice((0, 1, 2, 300))
        )
        for _ in range(chance.choice((0, 0, 1, 1, 2, 3, 9)))
    )


def _message(chance: random.Random) -> Any:
    ids = (0, 1, 1, 1, 127, 128, 300, 2**40)
    one, two = chance.choice(ids), chance.choice(ids)
    value = chance.randbytes(chance.choice((0, 1, 1, 9, 9, 130, 2048)))
    metadata = _metadata(chance)
    kinds: tuple[Any, ...] = (
        ChannelItem(0, 1, value),
        ChannelItem(0, 1, value[:9]),
        ChannelItem(one, two, value[:9]),
        RequestCall(one, two, 2**64 - 1 - two, (), metadata, value),
        RequestResponse(one, two, (), metadata, value),
        RequestCancel(one, two, metadata),
        ChannelGrantCredit(one, two, 7),
        ChannelClose(one, two),
        Ping(one, two),
    )
    return chance.choice(kinds)


def _stream(chance: random.Random) -> bytes:
    """Return the frames of messages, of which some follow each other several times."""
    frames: list[bytes] = []
    while len(frames) < 8 or chance.random() < 0.8:
        pieces = _PYTHON.encode(_message(chance))
        payload = b"".join(pieces)
        frame = len(payload).to_bytes(4, "little") + payload
        frames += [frame] * chance.choice((1, 1, 1, 2, 5, 17))
    return b"".join(frames)


def stream_by_chance(chance: random.Random, changed: Any) -> None:
    """Check a stream.

    Args:
        chance: chooses it.
        changed: returns bytes with a few changes.
    """
    stream = _stream(chance)
    if chance.random() < 0.7:
        stream = changed(chance, stream)
    most = chance.choice((255, 255, 255, 5, 20))
    at = chance.randrange(min(len(stream), 65_535) + 1)
    native_stream(bytes((most,)) + at.to_bytes(2, "little") + stream)


def _seeds() -> Iterator[bytes]:
    chance = random.Random(2)
    for most in (255, 255, 20):
        yield bytes((most, 30, 0)) + _stream(chance)[:1000]


NATIVE_STREAMS = (Target("native_stream", native_stream, _seeds, 2048),)
