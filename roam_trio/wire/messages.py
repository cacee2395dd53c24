"""Messages of the protocol, version 7: plain data, one Struct per kind.

A session acts only by sending and receiving messages (`session.message`). The first
field of each is the id of its connection; the handshake, `ProtocolError`, `Ping` and
`Pong` have connection 0 (`session.message.connection-id`). `envelope` encodes and
decodes them. New kinds may only be appended.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from ..legible import legible
from ..metadata import NO_METADATA, Metadata
from .ids import ChannelId, ConnectionId, MethodId, Parity, RequestId

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
"""An encoded value, opaque to messages: a whole one when received, pieces when sent. It
is the last field of its message and has no length in front.
"""


class ConnectionSettings(msgspec.Struct, frozen=True, gc=False):
    """Settings of a peer for its side of a connection.

    Attributes:
        parity: the half of the request and channel ids from which it allocates.
        max_concurrent_requests: number of requests in flight that it accepts, 32 bits.
    """

    parity: Parity
    max_concurrent_requests: int = 64


def joined(value: Encoded) -> bytes | memoryview:
    """Return an encoded value in one piece."""
    return b"".join(value) if isinstance(value, list) else value


def _repr(message: msgspec.Struct, **shown: str) -> str:
    """Return the repr of a Struct, with other text for the fields in `shown`."""
    fields = ", ".join(
        f"{name}={shown.get(name) or repr(getattr(message, name))}"
        for name in message.__struct_fields__
    )
    return f"{type(message).__name__}({fields})"


def _start_of(value: Encoded) -> str:
    # A whole value could be large, and could contain a secret.
    size = sum(map(len, value if isinstance(value, list) else [value]))
    return repr(value) if size <= _MOST_SHOWN else f"<{size} bytes>"


_MOST_SHOWN = 100
"""Length of an encoded value, in bytes, up to which a repr shows it."""


# ------------------------------------------------------------ the session itself


class Hello(msgspec.Struct, gc=False):
    """The initiator's first message (`session.handshake`)."""

    connection_id: ConnectionId
    version: int
    settings: ConnectionSettings
    metadata: Metadata = NO_METADATA


class HelloYourself(msgspec.Struct, gc=False):
    """The acceptor's answer to `Hello`."""

    connection_id: ConnectionId
    settings: ConnectionSettings
    metadata: Metadata = NO_METADATA


class ProtocolError(msgspec.Struct, gc=False):
    """The receiver of this message broke the protocol, so the session ends."""

    connection_id: ConnectionId
    description: str

    def __repr__(self) -> str:
        return _repr(self, description=legible(repr(self.description)))


class Ping(msgspec.Struct, gc=False):
    """A request for a `Pong` with the same nonce (`session.keepalive`)."""

    connection_id: ConnectionId
    nonce: int


class Pong(msgspec.Struct, gc=False):
    """The answer to a `Ping`."""

    connection_id: ConnectionId
    nonce: int


# ------------------------------------------------------------ connections


class ConnectionOpen(msgspec.Struct, gc=False):
    """A request to open the virtual connection with this id (`connection.open`)."""

    connection_id: ConnectionId
    settings: ConnectionSettings
    metadata: Metadata = NO_METADATA


class ConnectionAccept(msgspec.Struct, gc=False):
    """The connection is open."""

    connection_id: ConnectionId
    settings: ConnectionSettings
    metadata: Metadata = NO_METADATA


class ConnectionReject(msgspec.Struct, gc=False):
    """The connection is not opened; metadata can say why."""

    connection_id: ConnectionId
    metadata: Metadata = NO_METADATA


class ConnectionClose(msgspec.Struct, gc=False):
    """The connection is closed, at once (`connection.close`)."""

    connection_id: ConnectionId
    metadata: Metadata = NO_METADATA


# ------------------------------------------------------------ requests


class RequestCall(msgspec.Struct, gc=False):
    """A request (`rpc.request`)."""

    connection_id: ConnectionId
    request_id: RequestId
    method_id: MethodId
    channels: tuple[ChannelId, ...]
    metadata: Metadata
    args: Encoded

    def __repr__(self) -> str:
        return _repr(self, args=_start_of(self.args))


class RequestResponse(msgspec.Struct, gc=False):
    """The one answer to a request (`rpc.response`)."""

    connection_id: ConnectionId
    request_id: RequestId
    channels: tuple[ChannelId, ...]
    metadata: Metadata
    ret: Encoded

    def __repr__(self) -> str:
        return _repr(self, ret=_start_of(self.ret))


class RequestCancel(msgspec.Struct, gc=False):
    """The caller no longer wants the answer (`rpc.cancel`)."""

    connection_id: ConnectionId
    request_id: RequestId
    metadata: Metadata = NO_METADATA


# ------------------------------------------------------------ channels


class ChannelItem(msgspec.Struct, gc=False):
    """One value on a channel (`rpc.channel.item`)."""

    connection_id: ConnectionId
    channel_id: ChannelId
    item: Encoded

    def __repr__(self) -> str:
        return _repr(self, item=_start_of(self.item))


class ChannelClose(msgspec.Struct, gc=False):
    """The sender is done (`rpc.channel.close`)."""

    connection_id: ConnectionId
    channel_id: ChannelId
    metadata: Metadata = NO_METADATA


class ChannelReset(msgspec.Struct, gc=False):
    """The receiver wants no more (`rpc.channel.reset`)."""

    connection_id: ConnectionId
    channel_id: ChannelId
    metadata: Metadata = NO_METADATA


class ChannelGrantCredit(msgspec.Struct, gc=False):
    """The sender may send this many more items (`rpc.flow-control.credit.grant`)."""

    connection_id: ConnectionId
    channel_id: ChannelId
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
"""Any message of the protocol, as a conduit carries it."""
