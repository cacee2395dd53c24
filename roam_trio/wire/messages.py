"""The messages of the protocol, version 7: plain data, one Struct per kind.

A session acts only by sending and receiving these (`session.message`). Every kind
starts with the connection it belongs to; the handshake, `ProtocolError`, `Ping` and
`Pong` belong to connection 0 (`session.message.connection-id`). `envelope` turns them
into bytes and back. New kinds are only ever appended.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from ..legible import legible
from ..metadata import NO_METADATA, Metadata
from .ids import Parity

__all__ = [
    "PROTOCOL_VERSION",
    "ChannelClose",
    "ChannelGrantCredit",
    "ChannelItem",
    "ChannelMessage",
    "ChannelReset",
    "ConnectionAccept",
    "ConnectionClose",
    "ConnectionMessage",
    "ConnectionOpen",
    "ConnectionReject",
    "ConnectionSettings",
    "Encoded",
    "Hello",
    "HelloYourself",
    "Message",
    "Ping",
    "Pong",
    "ProtocolError",
    "RequestCall",
    "RequestCancel",
    "RequestMessage",
    "RequestResponse",
    "joined",
]

PROTOCOL_VERSION = 7
"""The version of the roam protocol that this package speaks."""

Encoded: TypeAlias = bytes | memoryview | list[bytes | memoryview]
"""An encoded value, opaque to messages: whole as it is received, or in pieces as it
is sent. It stands last in its message, with no length in front."""


class ConnectionSettings(msgspec.Struct, frozen=True, gc=False):
    """Settings of a peer for its side of a connection.

    Attributes:
        parity: the half of the request and channel numbers it allocates from.
        max_concurrent_requests: how many requests in flight it accepts, 32 bits.
    """

    parity: Parity
    max_concurrent_requests: int = 64


def joined(value: Encoded) -> bytes | memoryview:
    """Return an encoded value in one piece."""
    return b"".join(value) if isinstance(value, list) else value


def _repr(message: msgspec.Struct, **shown: str) -> str:
    """As the repr of a Struct, except for fields of which something else is shown."""
    fields = ", ".join(
        f"{name}={shown.get(name) or repr(getattr(message, name))}"
        for name in message.__struct_fields__
    )
    return f"{type(message).__name__}({fields})"


def _start_of(value: Encoded) -> str:
    # All of it could be large, and there may be a secret in it.
    size = sum(map(len, value if isinstance(value, list) else [value]))
    return repr(value) if size <= _MOST_SHOWN else f"<{size} bytes>"


_MOST_SHOWN = 100
"""Length, in bytes, up to which an encoded value is shown in the repr of a message."""


# ------------------------------------------------------------ the session itself


class Hello(msgspec.Struct, gc=False):
    """The initiator's first message (`session.handshake`)."""

    connection_id: int
    version: int
    settings: ConnectionSettings
    metadata: Metadata = NO_METADATA


class HelloYourself(msgspec.Struct, gc=False):
    """The acceptor's answer to `Hello`."""

    connection_id: int
    settings: ConnectionSettings
    metadata: Metadata = NO_METADATA


class ProtocolError(msgspec.Struct, gc=False):
    """The receiver broke the protocol, and so the session ends."""

    connection_id: int
    description: str

    def __repr__(self) -> str:
        return _repr(self, description=legible(repr(self.description)))


class Ping(msgspec.Struct, gc=False):
    """To be answered by a `Pong` of the same nonce (`session.keepalive`)."""

    connection_id: int
    nonce: int


class Pong(msgspec.Struct, gc=False):
    """The answer to a `Ping`."""

    connection_id: int
    nonce: int


# ------------------------------------------------------------ connections


class ConnectionOpen(msgspec.Struct, gc=False):
    """A request to open the virtual connection of this id (`connection.open`)."""

    connection_id: int
    settings: ConnectionSettings
    metadata: Metadata = NO_METADATA


class ConnectionAccept(msgspec.Struct, gc=False):
    """The connection is open."""

    connection_id: int
    settings: ConnectionSettings
    metadata: Metadata = NO_METADATA


class ConnectionReject(msgspec.Struct, gc=False):
    """The connection is not opened; metadata may say why."""

    connection_id: int
    metadata: Metadata = NO_METADATA


class ConnectionClose(msgspec.Struct, gc=False):
    """The connection is closed, at once (`connection.close`)."""

    connection_id: int
    metadata: Metadata = NO_METADATA


# ------------------------------------------------------------ requests


class RequestCall(msgspec.Struct, gc=False):
    """A request (`rpc.request`)."""

    connection_id: int
    request_id: int
    method_id: int
    channels: tuple[int, ...]
    metadata: Metadata
    args: Encoded

    def __repr__(self) -> str:
        return _repr(self, args=_start_of(self.args))


class RequestResponse(msgspec.Struct, gc=False):
    """The one answer to a request (`rpc.response`)."""

    connection_id: int
    request_id: int
    channels: tuple[int, ...]
    metadata: Metadata
    ret: Encoded

    def __repr__(self) -> str:
        return _repr(self, ret=_start_of(self.ret))


class RequestCancel(msgspec.Struct, gc=False):
    """The caller no longer wants the answer (`rpc.cancel`)."""

    connection_id: int
    request_id: int
    metadata: Metadata = NO_METADATA


# ------------------------------------------------------------ channels


class ChannelItem(msgspec.Struct, gc=False):
    """One value on a channel (`rpc.channel.item`)."""

    connection_id: int
    channel_id: int
    item: Encoded

    def __repr__(self) -> str:
        return _repr(self, item=_start_of(self.item))


class ChannelClose(msgspec.Struct, gc=False):
    """The sender is done (`rpc.channel.close`)."""

    connection_id: int
    channel_id: int
    metadata: Metadata = NO_METADATA


class ChannelReset(msgspec.Struct, gc=False):
    """The receiver wants no more (`rpc.channel.reset`)."""

    connection_id: int
    channel_id: int
    metadata: Metadata = NO_METADATA


class ChannelGrantCredit(msgspec.Struct, gc=False):
    """The sender may send so many more items (`rpc.flow-control.credit.grant`)."""

    connection_id: int
    channel_id: int
    additional: int


RequestMessage: TypeAlias = RequestCall | RequestResponse | RequestCancel
ChannelMessage: TypeAlias = (
    ChannelItem | ChannelClose | ChannelReset | ChannelGrantCredit
)
ConnectionMessage: TypeAlias = (
    ConnectionOpen | ConnectionAccept | ConnectionReject | ConnectionClose
)
Message: TypeAlias = (
    Hello
    | HelloYourself
    | ProtocolError
    | ConnectionMessage
    | RequestMessage
    | ChannelMessage
    | Ping
    | Pong
)
