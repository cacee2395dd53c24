"""The encoding of messages, which a conduit puts on a link.

    message = connection id, tag, fields …, encoded value (if any)

Each kind has one writer, found by the class of the message, and one reader, found by
its tags. Every call and every item passes through this module twice. The common kinds
(call, response, item) are therefore read inline, and a number below 128, which is one
byte, needs no function call. If the extension in Rust is used, it encodes and decodes
the common kinds, finds runs of items, and leaves everything else, errors included, to
this module.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn, TypeAlias

from ..errors import DecodeError
from ..metadata import NO_METADATA
from ..native import NATIVE
from .entries import EntryParts, decode_metadata, encode_metadata
from .family import MsgFamily
from .fields import Payload, bad, number, read_text, read_u64
from .frames import PASSED_BY_REFERENCE, SHORT_HEADERS, PayloadRun, frame
from .ids import ChannelId, ConnectionId, MethodId, Parity
from .messages import (
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
from .runs import BORROW_FROM, MOST_IN_RUN, ItemRun, gather_in_python
from .varint import U32_MAX, U64_MAX, read_varint

__all__ = [
    "Functions",
    "MessageFamily",
    "decode_message",
    "encode_message",
    "functions",
    "gather_items",
    "item_head",
]

_Pieces: TypeAlias = list[bytes | memoryview]

_MOST_CHANNELS = 65_536
"""Bound on the channel ids of a message, since each costs far more than its bytes. The
number of channels on a connection is bounded by `Limits.channels`."""


def encode_in_python(message: Message) -> _Pieces:
    """Return the bytes of `message` in pieces, without copying its encoded value.

    Raises:
        EncodeError: a number does not fit its field.
    """
    return _WRITERS[type(message)](message)


def encode_frame_in_python(message: Message) -> bytes | _Pieces:
    """Return the frame of `message`; or its pieces, if they are not to be copied.

    Raises:
        EncodeError: a number does not fit its field.
    """
    pieces = _WRITERS[type(message)](message)
    length = sum(map(len, pieces))
    if length < len(SHORT_HEADERS):  # as `frame` does, and a call less
        return SHORT_HEADERS[length] + b"".join(pieces)
    return frame(pieces, length) if length < PASSED_BY_REFERENCE else pieces


def decode_in_python(payload: Payload) -> Message:
    """Return the message that `payload` encodes.

    Raises:
        DecodeError: `payload` is not the encoding of a message.
    """
    try:
        connection_id, pos = payload[0], 1
        if connection_id > 127:
            connection_id, pos = read_u64(payload, 0, "$.connection_id")
        tag = payload[pos]
        if tag == 7:
            return _read_request(payload, pos + 1, connection_id)
        if tag == 8:
            return _read_channel(payload, pos + 1, connection_id)
        read = _READERS.get(tag)
        if read is None:
            bad("$.payload", f"one of the message tags 0 to 10, got {tag}")
        message, pos = read(payload, pos + 1, connection_id)
    except IndexError:
        raise DecodeError(
            f"expected a whole message, but it ends after {len(payload)} bytes"
        ) from None
    if pos != len(payload):
        _trailing(payload, pos, message)
    return message


# ------------------------------------------------------------ numbers


def _trailing(payload: Payload, pos: int, message: Message) -> NoReturn:
    raise DecodeError(
        f"expected the end of {type(message).__name__} after {pos} bytes, "
        f"but {len(payload) - pos} more follow"
    )


# The constructors of messages for numbers that were read. To type checkers they are ids
# from here on; a conversion would cost more than the reading.
_cancel: Callable[..., RequestCancel] = RequestCancel
_response: Callable[..., RequestResponse] = RequestResponse
_call: Callable[..., RequestCall] = RequestCall
_item: Callable[..., ChannelItem] = ChannelItem
_credit: Callable[..., ChannelGrantCredit] = ChannelGrantCredit
_close: Callable[..., ChannelClose] = ChannelClose
_reset: Callable[..., ChannelReset] = ChannelReset
_hello: Callable[..., Hello] = Hello
_protocol_error: Callable[..., ProtocolError] = ProtocolError


# ------------------------------------------------------------ parts of messages


def _write_settings(out: _Pieces, settings: ConnectionSettings) -> None:
    out.append(b"\1" if settings.parity else b"\0")
    out.append(number(operator.index(settings.max_concurrent_requests), U32_MAX))


_PARITIES: Final = tuple(Parity)  # by number


def _read_settings(payload: Payload, pos: int) -> tuple[ConnectionSettings, int]:
    parity = payload[pos]
    if parity > 1:
        bad("$.settings.parity", f"0 (odd) or 1 (even), got {parity}")
    most, pos = read_varint(
        payload, pos + 1, U32_MAX, "$.settings.max_concurrent_requests"
    )
    return ConnectionSettings(_PARITIES[parity], most), pos


def _channels(channels: tuple[ChannelId, ...]) -> bytes:
    return number(len(channels)) + b"".join(map(number, channels))


def _read_channels(payload: Payload, pos: int) -> tuple[tuple[int, ...], int]:
    count, pos = read_u64(payload, pos, "$.channels")
    if count > len(payload) - pos:
        bad("$.channels", f"{count} ids, but {len(payload) - pos} bytes remain")
    if count > _MOST_CHANNELS:
        bad("$.channels", f"at most {_MOST_CHANNELS} ids, got {count}")
    ids: list[int] = []
    for index in range(count):
        channel_id, pos = read_u64(payload, pos, f"$.channels[{index}]")
        ids.append(channel_id)
    return tuple(ids), pos


# ------------------------------------------------------------ requests


def _write_call(message: RequestCall) -> _Pieces:
    head = (
        _request_head(message.connection_id)
        + number(message.request_id)
        + _call_head(message.method_id)
    )
    if message.channels or message.metadata:
        head += _channels_and_metadata(message)
    else:
        head += b"\0\0"
    args = message.args
    return [head, *args] if isinstance(args, list) else [head, args]


def _write_response(message: RequestResponse) -> _Pieces:
    head = _request_head(message.connection_id) + number(message.request_id)
    if message.channels or message.metadata:
        head += b"\1" + _channels_and_metadata(message)
    else:
        head += b"\1\0\0"
    ret = message.ret
    return [head, *ret] if isinstance(ret, list) else [head, ret]


def _channels_and_metadata(message: RequestCall | RequestResponse) -> bytes:
    channels = _channels(message.channels) if message.channels else b"\0"
    return channels + encode_metadata(message.metadata)


def _write_cancel(message: RequestCancel) -> _Pieces:
    head = _request_head(message.connection_id) + number(message.request_id) + b"\2"
    out: _Pieces = [head]
    out.append(encode_metadata(message.metadata))
    return out


@lru_cache(maxsize=1024)
def _request_head(connection_id: ConnectionId) -> bytes:
    return number(connection_id) + b"\7"


@lru_cache(maxsize=4096)
def _call_head(method_id: MethodId) -> bytes:
    """Return the start of a call; cached, as a method id takes ten bytes and a program
    uses few.
    """
    return b"\0" + number(method_id)


def _read_request(payload: Payload, pos: int, connection_id: int) -> Message:
    request_id = payload[pos]
    pos += 1
    if request_id > 127:
        request_id, pos = read_u64(payload, pos - 1, "$.request.id")
    tag = payload[pos]
    pos += 1
    method_id = 0
    if tag == 0:
        method_id, pos = _read_method_id(payload, pos)
    elif tag == 2:
        metadata, pos = decode_metadata(payload, pos)
        message = _cancel(connection_id, request_id, metadata)
        if pos != len(payload):
            _trailing(payload, pos, message)
        return message
    elif tag != 1:
        bad("$.request.body", f"one of the request tags 0 to 2, got {tag}")
    channels: tuple[int, ...] = ()
    metadata = NO_METADATA
    if payload[pos]:
        channels, pos = _read_channels(payload, pos)
    else:
        pos += 1
    if payload[pos]:
        metadata, pos = decode_metadata(payload, pos)
    else:
        pos += 1
    value = (payload if len(payload) < BORROW_FROM else memoryview(payload))[pos:]
    if tag:
        return _response(connection_id, request_id, channels, metadata, value)
    return _call(connection_id, request_id, method_id, channels, metadata, value)


def _read_method_id(payload: Payload, pos: int) -> tuple[int, int]:
    """Read a method id: a hash, nearly always of nine or ten bytes. A peer uses few of
    them.
    """
    if len(payload) > pos + 9:
        end = pos + (10 if payload[pos + 8] > 127 else 9)
        method_id = _known_method_id(bytes(payload[pos:end]))
        if method_id is not None:
            return method_id, end
    return read_u64(payload, pos, "$.request.method_id")


@lru_cache(maxsize=4096)
def _known_method_id(varint: bytes) -> int | None:
    """Return the number that `varint` encodes, or None if it is not a whole one."""
    try:
        number, end = read_u64(varint, 0, "$.request.method_id")
    except (DecodeError, IndexError):
        return None
    return number if end == len(varint) else None


# ------------------------------------------------------------ channels


@lru_cache(maxsize=1024)
def _channel_head(
    connection_id: ConnectionId, channel_id: ChannelId, tag: bytes
) -> bytes:
    """Return the start of a message; cached, as a channel carries many messages."""
    return number(connection_id) + b"\x08" + number(channel_id) + tag


def item_head(connection_id: ConnectionId, channel_id: ChannelId) -> bytes:
    """Return the start of the payload of an item, before its encoded value."""
    return _channel_head(connection_id, channel_id, b"\0")


def _write_item(message: ChannelItem) -> _Pieces:
    head = _channel_head(message.connection_id, message.channel_id, b"\0")
    item = message.item
    return [head, *item] if isinstance(item, list) else [head, item]


def _write_close(message: ChannelClose) -> _Pieces:
    head = _channel_head(message.connection_id, message.channel_id, b"\1")
    out: _Pieces = [head]
    out.append(encode_metadata(message.metadata))
    return out


def _write_reset(message: ChannelReset) -> _Pieces:
    head = _channel_head(message.connection_id, message.channel_id, b"\2")
    out: _Pieces = [head]
    out.append(encode_metadata(message.metadata))
    return out


def _write_credit(message: ChannelGrantCredit) -> _Pieces:
    head = _channel_head(message.connection_id, message.channel_id, b"\3")
    return [head + number(message.additional, U32_MAX)]


def _read_channel(payload: Payload, pos: int, connection_id: int) -> Message:
    channel_id = payload[pos]
    pos += 1
    if channel_id > 127:
        channel_id, pos = read_u64(payload, pos - 1, "$.channel.id")
    tag = payload[pos]
    pos += 1
    if tag == 0:
        item = (payload if len(payload) < BORROW_FROM else memoryview(payload))[pos:]
        return _item(connection_id, channel_id, item)
    message: Message
    if tag == 3:
        additional, pos = read_varint(payload, pos, U32_MAX, "$.channel.additional")
        message = _credit(connection_id, channel_id, additional)
    elif tag == 1:
        metadata, pos = decode_metadata(payload, pos)
        message = _close(connection_id, channel_id, metadata)
    elif tag == 2:
        metadata, pos = decode_metadata(payload, pos)
        message = _reset(connection_id, channel_id, metadata)
    else:
        bad("$.channel.body", f"one of the channel tags 0 to 3, got {tag}")
    if pos != len(payload):
        _trailing(payload, pos, message)
    return message


# ------------------------------------------------------------ everything else


def _write_hello(message: Hello) -> _Pieces:
    out: _Pieces = [number(message.connection_id), b"\0"]
    out.append(number(message.version, U32_MAX))
    _write_settings(out, message.settings)
    out.append(encode_metadata(message.metadata))
    return out


def _read_hello(payload: Payload, pos: int, connection_id: int) -> tuple[Hello, int]:
    version, pos = read_varint(payload, pos, U32_MAX, "$.version")
    settings, pos = _read_settings(payload, pos)
    metadata, pos = decode_metadata(payload, pos)
    return _hello(connection_id, version, settings, metadata), pos


def _write_protocol_error(message: ProtocolError) -> _Pieces:
    out: _Pieces = [number(message.connection_id), b"\2"]
    description = message.description.encode("utf-8", "replace")
    out += (number(len(description)), description)
    return out


def _read_protocol_error(
    payload: Payload, pos: int, connection_id: int
) -> tuple[ProtocolError, int]:
    description, pos = read_text(payload, pos, "$.description")
    return _protocol_error(connection_id, description), pos


_Settled: TypeAlias = HelloYourself | ConnectionOpen | ConnectionAccept
_Ended: TypeAlias = ConnectionReject | ConnectionClose
_Reader: TypeAlias = Callable[[Payload, int, int], tuple[Message, int]]


def _settings_writer(tag: bytes) -> Callable[[_Settled], _Pieces]:
    def write(message: _Settled) -> _Pieces:
        out: _Pieces = [number(message.connection_id), tag]
        _write_settings(out, message.settings)
        out.append(encode_metadata(message.metadata))
        return out

    return write


def _settings_reader(kind: Callable[..., _Settled]) -> _Reader:
    def read(payload: Payload, pos: int, connection_id: int) -> tuple[_Settled, int]:
        settings, pos = _read_settings(payload, pos)
        metadata, pos = decode_metadata(payload, pos)
        return kind(connection_id, settings, metadata), pos

    return read


def _metadata_writer(tag: bytes) -> Callable[[_Ended], _Pieces]:
    def write(message: _Ended) -> _Pieces:
        out: _Pieces = [number(message.connection_id), tag]
        out.append(encode_metadata(message.metadata))
        return out

    return write


def _metadata_reader(kind: Callable[..., _Ended]) -> _Reader:
    def read(payload: Payload, pos: int, connection_id: int) -> tuple[_Ended, int]:
        metadata, pos = decode_metadata(payload, pos)
        return kind(connection_id, metadata), pos

    return read


def _nonce_writer(tag: bytes) -> Callable[[Ping | Pong], _Pieces]:
    def write(message: Ping | Pong) -> _Pieces:
        return [number(message.connection_id), tag, number(message.nonce)]

    return write


def _nonce_reader(kind: Callable[..., Ping | Pong]) -> _Reader:
    def read(payload: Payload, pos: int, connection_id: int) -> tuple[Ping | Pong, int]:
        nonce, pos = read_u64(payload, pos, "$.nonce")
        return kind(connection_id, nonce), pos

    return read


_WRITERS: dict[type[Message], Callable[[Any], _Pieces]] = {
    Hello: _write_hello,
    HelloYourself: _settings_writer(b"\1"),
    ProtocolError: _write_protocol_error,
    ConnectionOpen: _settings_writer(b"\3"),
    ConnectionAccept: _settings_writer(b"\4"),
    ConnectionReject: _metadata_writer(b"\5"),
    ConnectionClose: _metadata_writer(b"\6"),
    RequestCall: _write_call,
    RequestResponse: _write_response,
    RequestCancel: _write_cancel,
    ChannelItem: _write_item,
    ChannelClose: _write_close,
    ChannelReset: _write_reset,
    ChannelGrantCredit: _write_credit,
    Ping: _nonce_writer(b"\x09"),
    Pong: _nonce_writer(b"\x0a"),
}

_READERS: dict[int, _Reader] = {
    0: _read_hello,
    1: _settings_reader(HelloYourself),
    2: _read_protocol_error,
    3: _settings_reader(ConnectionOpen),
    4: _settings_reader(ConnectionAccept),
    5: _metadata_reader(ConnectionReject),
    6: _metadata_reader(ConnectionClose),
    9: _nonce_reader(Ping),
    10: _nonce_reader(Pong),
}


# ------------------------------------------------------------ in Python or in Rust


class Functions(NamedTuple):
    """Functions that encode and decode messages, and find runs of items."""

    encode: Callable[[Message], _Pieces]
    encode_frame: Callable[[Message], bytes | _Pieces]
    decode: Callable[[Payload], Message]
    gather: Callable[[Sequence[Payload]], Sequence[Payload | ItemRun]]


def functions(extension: Any) -> Functions:
    """Return the functions for messages.

    Args:
        extension: the module in Rust, which does it for the common kinds; or None.
    """
    if extension is None:
        return Functions(
            encode_in_python,
            encode_frame_in_python,
            decode_in_python,
            gather_in_python,
        )
    messages = extension.Messages(
        (RequestCall, RequestResponse, ChannelItem, ChannelGrantCredit, ItemRun),
        EntryParts,
        (BORROW_FROM, MOST_IN_RUN),
        (encode_in_python, encode_frame_in_python, decode_in_python),
    )
    return Functions(
        messages.encode, messages.encode_frame, messages.decode, messages.gather
    )


encode_message, encode_frame, decode_message, gather_items = functions(NATIVE)


class MessageFamily(MsgFamily[Message]):
    """The messages of protocol version 7, for a conduit to carry."""

    if TYPE_CHECKING:

        def encode(self, message: Message) -> _Pieces: ...
        def encode_frame(self, message: Message) -> bytes | _Pieces: ...
        def decode(self, payload: Payload) -> Message: ...
        def gather(
            self, payloads: Sequence[Payload]
        ) -> Sequence[Payload | ItemRun]: ...

    else:
        # Without a method that calls them, which would take as long again.
        encode = staticmethod(encode_message)
        encode_frame = staticmethod(encode_frame)
        decode = staticmethod(decode_message)
        gather = staticmethod(gather_items)

    def encode_all(self, messages: Sequence[Message]) -> Sequence[_Pieces]:
        """See `encode_message`; the items of an `ItemRun` take less time."""
        if type(messages) is not ItemRun:
            return list(map(encode_message, messages))
        head = item_head(messages.connection_id, messages.channel_id)
        return PayloadRun(head, messages.items)

    def filler(self) -> Message:
        """Return a Pong that answers no Ping: peers ignore it."""
        return Pong(ConnectionId.ROOT, U64_MAX)
