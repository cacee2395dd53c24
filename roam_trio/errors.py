"""Every exception of roam_trio's own, in one tree.

The class says who is to blame and what was going on; the attributes carry the facts,
so that code can react without parsing a text. A cause that lies deeper (an `OSError`
under a `LinkError`, say) stays chained as ``__cause__``.

Others come as they are: a method's declared exceptions, `ValueError` and `TypeError`
for wrong arguments, and `OSError` where nobody listens. So a loop that tries `connect`
again catches ``(OSError, SessionError, Disconnected)``: `Disconnected` is the base of
all that a lost peer can raise, in calls and on channels too.

    RoamTrioError
    ├── RoamError        a call did not return a value
    ├── Disconnected     the peer, or the way to it, is gone: ConnectionLost,
    │                    ConnectionClosed, TxConnectionLost, RxConnectionLost,
    │                    SessionIoError, LinkDead, SessionLost
    ├── SessionError     a session could not be set up, or has ended
    ├── ChannelError     a channel could not carry an item (TxError, RxError)
    ├── LinkError        payloads could not be moved
    ├── ConduitError     messages could not be put on, or taken from, a link
    ├── PayloadTooLarge  a value is too large for a payload; nothing has ended
    ├── CodecError       a value and its bytes do not fit its type
    └── SchemaError      a type has no wire form

What a channel raises is an error of trio's channels, too: `trio.ClosedResourceError` if
this side has closed or reset it, `trio.BrokenResourceError` if the other side has, or
the connection is gone.
"""

from __future__ import annotations

from typing import Any

import trio

from .legible import legible
from .metadata import Metadata, shown

__all__ = [
    "AnnouncedTooLarge",
    "BareConduitError",
    "CallCancelled",
    "CallRefused",
    "ChannelError",
    "CodecError",
    "ConduitError",
    "ConnectionClosed",
    "ConnectionLost",
    "DecodeError",
    "Disconnected",
    "EncodeError",
    "ForeignProtocol",
    "InvalidPayload",
    "LimitExceeded",
    "LinkClosed",
    "LinkDead",
    "LinkError",
    "LocalProtocolError",
    "MemoryLinkRxError",
    "PayloadTooLarge",
    "RemoteProtocolError",
    "RoamError",
    "RoamTrioError",
    "RxClosed",
    "RxConnectionLost",
    "RxDecodeError",
    "RxError",
    "RxReset",
    "RxUnbound",
    "SchemaError",
    "SessionError",
    "SessionIoError",
    "SessionLost",
    "SessionProtocolError",
    "SessionRejected",
    "StableConduitError",
    "StableHandshakeError",
    "TruncatedPayload",
    "TxClosed",
    "TxConnectionLost",
    "TxError",
    "TxReset",
    "TxUnbound",
    "UnknownMethod",
    "UserError",
]


_MOST_SAID = 2000
"""Length, in characters, to which the text of an error is cut."""


class RoamTrioError(Exception):
    """The root of everything roam_trio raises.

    Its text may contain what a peer has written. So it is on one line, with escapes for
    what cannot be seen, and is cut; attributes have it as it came.
    """

    def __str__(self) -> str:
        return legible(super().__str__(), _MOST_SAID)

    def __repr__(self) -> str:
        return legible(super().__repr__(), _MOST_SAID)


class Disconnected(RoamTrioError):
    """The peer, or the way to it, is gone.

    The one thing to catch where a lost peer is expected: in a loop that connects again,
    around calls and around channels.
    """


# ---------------------------------------------------------------- calls


class RoamError(RoamTrioError):
    """A call did not return a value.

    The connection stays open, unless it is `ConnectionLost` (`rpc.error.scope`).
    """


class UserError(RoamError):
    """The method answered with an error of its own.

    Raised for error types that are not exceptions themselves (an enum, a Struct);
    a handler raises it to answer with such a value. Error types that are exception
    classes are raised as they are, on both sides.

    Attributes:
        error: the value of the method's declared error type.
    """

    def __init__(self, error: Any) -> None:
        super().__init__(error)
        self.error = error


class UnknownMethod(RoamError):
    """The peer does not know the method (`rpc.unknown-method`).

    Either it serves another service on this connection, or its signature of the method
    differs: a method's identity covers the types of its arguments and of its result.
    """


class InvalidPayload(RoamError):
    """A payload could not be decoded: our arguments by the peer, or its answer by us.

    In the second case ``__cause__`` is the `DecodeError`.
    """


class CallCancelled(RoamError):
    """The handler ended without an answer: it was cancelled, or it failed.

    Or it was not started, because the peer shuts down and refuses new calls. This is
    the remote side's word. A call cancelled on this side raises `trio.Cancelled`, as
    any other operation of trio's.
    """


class CallRefused(RoamError):
    """The peer accepts no calls on this connection, and so none was sent.

    It has told ``max_concurrent_requests=0`` when the connection was set up.
    """


class ConnectionLost(RoamError, Disconnected):
    """The connection ended before the answer came.

    Whether the handler ran is not known. ``__cause__`` says why the connection ended
    where there is more to say than that it was closed.
    """


# ---------------------------------------------------------------- sessions


class SessionError(RoamTrioError):
    """A session could not be set up, or has ended."""


class SessionIoError(SessionError, Disconnected):
    """The conduit under the session failed or ended; ``__cause__`` says how."""


class SessionProtocolError(SessionError):
    """The protocol was broken, and so the session ends (`session.protocol-error`).

    It is a `RemoteProtocolError` or a `LocalProtocolError`, which say by whom.

    Attributes:
        description: what was violated, as the peer says it if it says so.
    """

    _WHO = "the protocol was broken"

    def __init__(self, description: str) -> None:
        super().__init__(f"{self._WHO}: {legible(description, _MOST_SAID // 2)}")
        self.description = description


class RemoteProtocolError(SessionProtocolError):
    """The peer broke the protocol, as this side has noticed."""

    _WHO = "the peer broke the protocol"


class LocalProtocolError(SessionProtocolError):
    """The peer says that this side broke the protocol."""

    _WHO = "the peer says that we broke the protocol"


class LimitExceeded(RemoteProtocolError):
    """The peer went over a limit of this side's.

    Attributes:
        limit: the name of the field of `Limits` or `ConnectionSettings`.
    """

    def __init__(self, limit: str, description: str) -> None:
        super().__init__(f"{description} (limit: {limit})")
        self.limit = limit


class ConnectionClosed(SessionError, Disconnected):
    """A virtual connection was closed.

    Attributes:
        by: ``"us"`` or ``"peer"``.
        metadata: what came along with the close. What it says to people is in the
            text.
    """

    def __init__(self, by: str, metadata: Metadata) -> None:
        who = "the peer" if by == "peer" else "this side"
        why = shown(metadata)
        super().__init__(f"{who} has closed the connection{why and f': {why}'}")
        self.by = by
        self.metadata = metadata


class SessionRejected(SessionError):
    """The peer refused.

    Attributes:
        metadata: what the peer sent along to say why.
    """

    def __init__(self, message: str, metadata: Metadata) -> None:
        super().__init__(message)
        self.metadata = metadata


# ---------------------------------------------------------------- channels


class ChannelError(RoamTrioError):
    """A channel could not carry an item."""


class TxError(ChannelError):
    """An item could not be sent."""


class TxUnbound(TxError, trio.BrokenResourceError):
    """The channel belongs to no call, and can no longer come to belong to one."""


class TxClosed(TxError, trio.ClosedResourceError):
    """This side has closed the channel already: a mistake of this program's."""


class TxReset(TxError, trio.BrokenResourceError):
    """The receiver wants no more items (`rpc.channel.reset`)."""


class TxConnectionLost(TxError, Disconnected, trio.BrokenResourceError):
    """The connection ended, or the call of the channel failed, before the item went."""


class RxError(ChannelError):
    """An item could not be received."""


class RxUnbound(RxError, trio.BrokenResourceError):
    """The channel belongs to no call, and can no longer come to belong to one."""


class RxDecodeError(RxError):
    """An item came that is not of the channel's type; ``__cause__`` says where."""


class RxClosed(RxError, trio.ClosedResourceError):
    """This side has reset the channel already: a mistake of this program's."""


class RxReset(RxError, trio.BrokenResourceError):
    """The sender has reset the channel; what it had not delivered yet is gone."""


class RxConnectionLost(RxError, Disconnected, trio.BrokenResourceError):
    """The connection ended, or the call failed, before the sender had closed."""


# ---------------------------------------------------------------- links and conduits


class LinkError(RoamTrioError):
    """A link could not move payloads. It is dead then (`link.rx.error`)."""


class LinkClosed(LinkError):
    """This side has closed the link, or this half of it: a mistake of this program's.

    A link that the *peer* closed is no error on receipt: `recv` returns None.
    """


class ForeignProtocol(LinkError):
    """The peer speaks another protocol; the text names it if it is a known one.

    No other link to the same place would help: a URL or a port is wrong, or something
    in between is.
    """


class PayloadTooLarge(RoamTrioError):
    """A payload is larger than the link's limit; nothing was sent or allocated for it.

    The value is too large; the link goes on, unless it is an `AnnouncedTooLarge`.

    Attributes:
        size: its length in bytes.
        limit: the largest length in bytes.
    """

    _WHAT = "the payload"

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(
            f"{self._WHAT} of {size} bytes, and at most {limit} are allowed "
            "(limit: max_payload)"
        )
        self.size = size
        self.limit = limit


class AnnouncedTooLarge(PayloadTooLarge, LinkError):
    """The peer announced a payload larger than the link's limit. The link is dead."""

    _WHAT = "the peer announced a payload"


class TruncatedPayload(LinkError):
    """The stream ended in the middle of a payload."""


class MemoryLinkRxError(LinkError):
    """Receiving from a memory link failed. It never does: the name is for parity."""


class ConduitError(RoamTrioError):
    """Messages could not be put on, or taken from, a link."""


class BareConduitError(ConduitError):
    """A payload is not a message; ``__cause__`` is the `DecodeError`.

    Of a peer that resumes sessions, or speaks another protocol, the text says that
    instead, and there is no cause.
    """


class StableConduitError(ConduitError):
    """A stable conduit has failed for good, and no other link would help.

    Raised as it is if what came is not a frame, or not a message; ``__cause__`` is the
    `DecodeError` then.
    """


class LinkDead(StableConduitError, LinkError, Disconnected):
    """The link is gone, and there was no other in time; ``__cause__`` may say why.

    On a server: the client has not come back.
    """


class SessionLost(StableConduitError, SessionError, Disconnected):
    """The server does not know the session any more (`stable.reconnect.failure`).

    It was started anew, has given the session up, or has ended it. Or it is another
    server: a balancer has to lead a client that comes back to the server it was at.
    """


class StableHandshakeError(StableConduitError):
    """The peer's first message on a link is not the hello of a stable conduit."""


# ---------------------------------------------------------------- codecs and schemas


class CodecError(RoamTrioError):
    """A value and its bytes do not fit its type.

    Attributes:
        path: where, from the outermost value ``$``: ``$.shapes[2].radius``.
        problem: what was expected, and what came.
        without_values: the text without any part of the value, with types and positions
            instead. This is what is logged.
    """

    def __init__(
        self, problem: str, path: str = "$", *, without_values: str | None = None
    ) -> None:
        super().__init__(f"{problem} - at {path}")
        self.problem = problem
        self.path = path
        self.without_values = str(self) if without_values is None else without_values


class EncodeError(CodecError):
    """A value of this program's is not of the type it is to be sent as."""


class DecodeError(CodecError):
    """Bytes are not the encoding of a value of the type they should be.

    The one error of every decoder, whatever is wrong with the bytes.
    """


class SchemaError(RoamTrioError):
    """A type has no wire form, or a service is not well formed.

    Raised when the service is defined, never during a call.

    Attributes:
        path: where the type stands: ``Adder.add(l)[0].left``.
        problem: what is wrong with it, and how to put it right.
    """

    def __init__(self, problem: str, path: str = "") -> None:
        super().__init__(f"{path}: {problem}" if path else problem)
        self.problem = problem
        self.path = path
