"""Targets: messages and their parts, runs of items, resuming links, failures."""

from __future__ import annotations

import math
from collections.abc import Iterator

from roam_trio import CallCancelled, DecodeError, Overloaded, Refused
from roam_trio.links.resuming.exchange import Exchange
from roam_trio.links.resuming.hello import ClientHello, ServerHello
from roam_trio.links.resuming.sequence import read_header, write_header
from roam_trio.metadata import Metadata, MetadataEntry
from roam_trio.rpc.failure_metadata import failure_from, failure_metadata
from roam_trio.session.deadlines import deadline_of
from roam_trio.session.refusal import message_of_refusal, refusal_in
from roam_trio.wire.backing import Backing
from roam_trio.wire.entries import decode_metadata, encode_metadata
from roam_trio.wire.envelope import decode_message, encode_message, gather_items
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
    Hello,
    HelloYourself,
    Message,
    Ping,
    Pong,
    ProtocolError,
    RequestCall,
    RequestCancel,
    RequestResponse,
)
from roam_trio.wire.runs import ItemRun

from .checks import check_error, require
from .parts import joined_parts, parts_of
from .target import Target

__all__ = ["ENTRIES", "MESSAGES", "WIRE", "encoded"]

ENTRIES = Metadata(
    [
        MetadataEntry("request-deadline", 5_000_000, 2),
        MetadataEntry("trace-id", "8b" * 16, 0),
        MetadataEntry("raw", b"\xff\x00", 1),
        MetadataEntry("é", 2**64 - 1, 200),
    ]
)
_SETTINGS = ConnectionSettings(Parity.EVEN, 64)
_LONG = b"x" * 2100

MESSAGES: tuple[Message, ...] = (
    Hello(0, 7, _SETTINGS, Metadata([MetadataEntry("roam-trio", 1, 2)])),
    HelloYourself(0, _SETTINGS, ENTRIES),
    ProtocolError(0, "the ids have the wrong parity"),
    ProtocolError(0, "refused: overloaded: too many"),
    Ping(0, 2**40),
    Pong(0, 2**64 - 1),
    ConnectionOpen(300, _SETTINGS, Metadata([MetadataEntry("service", "adder")])),
    ConnectionAccept(300, _SETTINGS, ENTRIES),
    ConnectionReject(300, ENTRIES),
    ConnectionClose(300),
    RequestCall(0, 1, 2**63 + 5, (), ENTRIES, b"\x03\x05"),
    RequestCall(300, 129, 77, (1, 3, 2**32), Metadata(), _LONG),
    RequestResponse(0, 1, (), Metadata(), b"\x00\x08"),
    RequestResponse(0, 2**33, (5,), ENTRIES, b"\x01\x03"),
    RequestCancel(0, 1, ENTRIES),
    ChannelItem(0, 1, b"\x05"),
    ChannelItem(300, 2**20, _LONG),
    ChannelClose(0, 1),
    ChannelReset(0, 1, ENTRIES),
    ChannelGrantCredit(0, 1, 2**32 - 1),
)


def encoded(message: Message) -> bytes:
    """Return the bytes of a message."""
    return b"".join(encode_message(message))


def _each_message() -> Iterator[bytes]:
    return map(encoded, MESSAGES)


def messages(data: bytes) -> None:
    """Decode a message; it is the same after it was encoded and decoded again."""
    try:
        message = decode_message(data)
    except DecodeError as error:
        check_error(error)
        try:
            decode_message(memoryview(data))
        except DecodeError:
            return
        raise AssertionError("a view is decoded, and bytes are not") from None
    repr(message)
    again = encoded(message)
    require(len(again) <= len(data), "the shortest encoding is longer", again)
    require(decode_message(again) == message, "it changes on its way", message)
    require(decode_message(memoryview(data)) == message, "a view differs", message)


def metadata(data: bytes) -> None:
    """Decode metadata, as `messages` does, and look into it."""
    try:
        entries, end = decode_metadata(data, 0)
    except (DecodeError, IndexError) as error:
        if isinstance(error, DecodeError):
            check_error(error)
        return
    require(0 < end <= len(data), "it ends elsewhere", end)
    again = encode_metadata(entries)
    require(decode_metadata(again, 0) == (entries, len(again)), "it changes", entries)
    repr(entries)
    for entry in entries:
        entries.get(entry.key)
    entries.propagated()
    for longest in (1.0, math.inf):
        deadline = deadline_of(entries, 10.0, longest)
        require(10.0 <= deadline <= 10.0 + longest, "the deadline is off", deadline)


def runs(data: bytes) -> None:
    """Gather payloads to runs; there are the same messages, in the same order."""
    payloads = parts_of(data)
    if not payloads:
        return
    gathered: list[object] = []
    for each in gather_items(payloads):
        gathered += each if isinstance(each, ItemRun) else [_decoded(each)]
    require(gathered == list(map(_decoded, payloads)), "runs differ", gathered)


def _decoded(payload: bytes | memoryview) -> Message | str:
    try:
        return decode_message(payload)
    except DecodeError as error:
        return str(error)


def _runs() -> Iterator[bytes]:
    items = [encoded(ChannelItem(0, 1, bytes(count))) for count in range(5)]
    others = [encoded(ChannelItem(7, 2**40, b"x")), encoded(Ping(0, 1))]
    yield joined_parts(items)
    yield joined_parts(items + others + items)
    yield joined_parts([*items, encoded(ChannelItem(0, 1, _LONG)), *items])


def hellos(data: bytes) -> None:
    """Decode the hellos of a resuming link, and the header of its frames."""
    for kind in (ClientHello, ServerHello):
        try:
            hello = kind.decode(data)
        except DecodeError as error:
            check_error(error)
        else:
            require(hello.encode() == data, "the hello changes", hello)
    try:
        seq, ack, pos = read_header(data)
    except DecodeError as error:
        check_error(error)
        return
    again = write_header(seq, ack)
    require(len(again) <= pos <= len(data), "the header ends elsewhere", pos)
    require(read_header(again) == (seq, ack, len(again)), "the header changes", seq)


def _hellos() -> Iterator[bytes]:
    key = bytes(range(1, 17))
    yield ClientHello().encode()
    yield ClientHello(key, 2**32 - 1).encode()
    yield ServerHello(key, 7).encode()
    yield ServerHello(rejected=True).encode()
    yield write_header(3, None) + b"message"
    yield write_header(2**32 - 1, 2**31) + b"message"


def exchange(data: bytes) -> None:
    """Receive the frames of a peer on several links, and send in between."""
    state = Exchange()
    for part in parts_of(data):
        if not part:
            state.replay.add(b"sent")
            continue
        if part[0] == 0xFE:
            _resume(state, part[1:])
            continue
        while state.replay.backlog and part[0] & 1:
            header, body = state.next_frame()
            require(read_header(header + body), "a header of ours is wrong", header)
        _receive(state, part)
        require(state.replay.size == sum(map(len, state.replay.bodies)), "sizes differ")


def _receive(state: Exchange, frame: bytes) -> None:
    before, owed = state.last_received, state.owed
    messages: list[Backing] = []
    try:
        state.receive([frame], messages)
    except DecodeError as error:
        check_error(error)
        return
    if not messages:
        require(state.last_received == before, "a duplicate counts", frame)
    else:
        [message] = messages
        require(len(message) <= len(frame) - 2, "the message starts elsewhere", frame)
        require(frame.endswith(message), "the message is another", frame)
        require(state.owed == owed + 1, "a frame is not owed", frame)


def _resume(state: Exchange, claim: bytes) -> None:
    last = int.from_bytes(claim[:4], "little") if claim else None
    if state.can_resume(last):
        kept = len(state.replay.bodies)
        state.resume(last)
        require(state.replay.backlog == len(state.replay.bodies), "not all is sent")
        require(len(state.replay.bodies) <= kept, "more is kept", kept)


def _exchanges() -> Iterator[bytes]:
    frames = [write_header(seq, None) + b"m" for seq in range(4)]
    acks = [write_header(seq + 4, seq) + b"m" for seq in range(3)]
    yield joined_parts([b"", b"", b"", *frames, *acks])
    yield joined_parts([b"", *frames, b"\xfe", *frames, b"\xfe\0\0\0\0", *acks])


def failures(data: bytes) -> None:
    """Read the failure of a call from metadata, and of a session from a text."""
    try:
        entries, _ = decode_metadata(data, 0)
    except (DecodeError, IndexError):
        pass
    else:
        error = failure_from(entries, "Adder.add")
        check_error(error)
        require(error.by_peer, "it is not said to be the peer's", error)
        again = failure_from(failure_metadata(error, "traceback"), "Adder.add")
        require(
            (type(again), again.code, again.text, again.id, again.was_begun)
            == (type(error), error.code, error.text, error.id, error.was_begun),
            "the failure changes on its way",
            error,
            again,
        )
    refusal = refusal_in(ProtocolError(0, data.decode("utf-8", "replace")))
    if refusal is not None:
        check_error(refusal)
        again = refusal_in(message_of_refusal(refusal))
        require(again is not None, "the refusal is lost", refusal)


def _failures() -> Iterator[bytes]:
    errors: tuple[CallCancelled, ...] = (
        Refused("not-yours", "ask somebody else", retry_after=1.5),
        Overloaded(text="later", retry_after=0.25, was_begun=False),
        Refused("x", id="0123abcd", trace="Traceback\n  line", metadata=ENTRIES),
    )
    for error in errors:
        yield encode_metadata(failure_metadata(error, "traceback"))
    yield b"refused: overloaded: too many"


WIRE = (
    Target("messages", messages, _each_message, 4096),
    Target("metadata", metadata, lambda: [encode_metadata(ENTRIES), b"\0"]),
    Target("runs", runs, _runs, 8192, parts_from=0),
    Target("hellos", hellos, _hellos, 64),
    Target("exchange", exchange, _exchanges, parts_from=0),
    Target("failures", failures, _failures, 2048),
)
