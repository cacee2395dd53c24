"""The exceptions of roam_trio, in one tree.

The class tells which side is to blame and what failed. The attributes carry the
details, so that code can react without parsing a text. A deeper cause, such as an
`OSError` under a `LinkError`, is chained as ``__cause__``.

Other exceptions are raised unchanged: the declared exceptions of a method, `ValueError`
and `TypeError` for wrong arguments, and `OSError` if no server listens. A loop that
calls `connect` again therefore catches ``(OSError, SessionError, Disconnected)``:
`Disconnected` is the base of everything that a lost peer can raise, in calls and on
channels.

    RoamTrioError
    ├── RoamError        a call did not return a value
    ├── Disconnected     the peer, or the link to it, is gone: ConnectionLost,
    │                    ConnectionClosed, TxConnectionLost, RxConnectionLost,
    │                    SessionIoError, LinkDead, SessionLost
    ├── SessionError     a session could not be set up, or has ended
    ├── ChannelError     a channel could not carry an item (TxError, RxError)
    ├── LinkError        payloads could not be moved
    ├── ConduitError     messages could not be put on, or taken from, a link
    ├── PayloadTooLarge  a value is too large for a payload; the link continues
    ├── CodecError       a value, or its encoding, does not match its type
    ├── IncompatibleService
    │                    the peer offers another version of a service
    ├── NoReflection     the peer does not say what it serves
    └── SchemaError      a type has no wire form

The errors of a channel are also those of trio channels: `trio.ClosedResourceError` if
this side has closed or reset the channel, `trio.BrokenResourceError` if the other side
has, or if the connection is lost.
"""

from __future__ import annotations

from typing import Any

import trio

from .legible import legible
from .metadata import NO_METADATA, Metadata, shown

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
    "DeadlineExceeded",
    "DecodeError",
    "Disconnected",
    "EncodeError",
    "ForeignProtocol",
    "HandlerFailed",
    "IncompatibleService",
    "InvalidPayload",
    "LimitExceeded",
    "LinkClosed",
    "LinkDead",
    "LinkError",
    "LocalProtocolError",
    "MemoryLinkRxError",
    "NoReflection",
    "Overloaded",
    "PayloadTooLarge",
    "PayloadTooSlow",
    "Refused",
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
    "Unavailable",
    "UnknownMethod",
    "UserError",
]


_MOST_SAID = 2000
"""Length, in characters, to which the text of an error is cut."""


class RoamTrioError(Exception):
    """The base class of all exceptions of roam_trio.

    Its text may contain text of a peer. It is therefore on one line, with escapes for
    invisible characters, and cut to a maximum length; attributes have the original
    text.
    """

    def __str__(self) -> str:
        return legible(super().__str__(), _MOST_SAID)

    def __repr__(self) -> str:
        return legible(super().__repr__(), _MOST_SAID)


class Disconnected(RoamTrioError):
    """The peer, or the link to it, is gone.

    Catch it where a lost peer is expected: in a loop that connects again, around calls
    and around channels.
    """


# ---------------------------------------------------------------- calls


class RoamError(RoamTrioError):
    """A call did not return a value.

    The connection stays open, unless it is `ConnectionLost` (`rpc.error.scope`).

    Attributes:
        was_begun: False if no handler has seen the call, so that it can be made again
            without harm; True if one has; None if unknown.
    """

    was_begun: bool | None = None


class UserError(RoamError):
    """The method failed with its declared error.

    Raised for error types that are not exceptions (an enum, a Struct); a handler raises
    it to answer with such a value. Error types that are exception classes are raised
    directly, on both sides.

    Attributes:
        error: the value of the method's declared error type.
    """

    def __init__(self, error: Any) -> None:
        super().__init__(error)
        self.error = error


class UnknownMethod(RoamError):
    """The peer does not know the method (`rpc.unknown-method`).

    The peer offers another service on this connection, or its signature of the method
    differs: the id of a method depends on the types of its arguments and its result.
    """

    was_begun = False


class InvalidPayload(RoamError):
    """The peer could not decode the arguments, or this side the response.

    In the second case, ``__cause__`` is the `DecodeError`.
    """


class CallCancelled(RoamError):
    """The handler ended without an answer; the classes below it say why.

    The peer has sent this outcome; a call cancelled on this side raises
    `trio.Cancelled`, like any trio operation. The error is of this very class if the
    peer does not say why: it is of another make, or its handler has dropped the reply.

    Args:
        code: what became of the call, in one word for programs.
        text: the same for people.
        retry_after: number of seconds after which to try again.
        metadata: the metadata of the response.
        id: see below.
        trace: see below.
        was_begun: see `RoamError`.
        message: the text of the exception, if it is more than code and text.

    Attributes:
        code: ``"failed"``, ``"deadline"``, ``"refused"``, ``"unavailable"``,
            ``"overloaded"``, or a word of the application's own; ``"cancelled"`` if
            the peer does not say.
        text: empty if the peer does not say.
        retry_after: None if the peer does not say. From a peer, it is not negative, and
            at most one day.
        metadata: what came with the response.
        id: eight hex digits that the log of the peer has beside its traceback; None if
            the log has nothing.
        trace: the traceback of the handler's exception as text; empty if the peer does
            not tell it (``serve(..., tell_failures="traceback")``).
        by_peer: True if the peer has said it in a response; False if this side has
            made the exception, so that a handler that raises it refuses its call.
    """

    _CODE = "cancelled"
    by_peer = False

    def __init__(
        self,
        code: str = "",
        text: str = "",
        *,
        retry_after: float | None = None,
        metadata: Metadata = NO_METADATA,
        id: str | None = None,
        trace: str = "",
        was_begun: bool | None = None,
        message: str = "",
    ) -> None:
        code = code or self._CODE
        super().__init__(message or (f"{code}: {text}" if text else code))
        self.code = code
        self.text = text
        self.retry_after = retry_after
        self.metadata = metadata
        self.id = id
        self.trace = trace
        self.was_begun = was_begun


class HandlerFailed(CallCancelled):
    """The handler raised an exception that its method does not declare: a bug there.

    The log of the peer has the traceback, beside `id`.
    """

    _CODE = "failed"


class DeadlineExceeded(CallCancelled):
    """The handler was cancelled at the deadline of the call.

    Or it was cancelled at the bound of the peer, `Limits.longest_call`.
    """

    _CODE = "deadline"


class Unavailable(CallCancelled):
    """The peer is shutting down: it has refused the call, or has cancelled its handler.

    `was_begun` says which of the two. An ``on_session`` can raise it too, to turn a
    client away for now; the `connect` of that client raises it, as it does if the
    server shuts down before ``on_session`` has decided.
    """

    _CODE = "unavailable"


class Refused(CallCancelled):
    """The application at the other end has refused a call, or a whole session.

    A handler or a middleware raises it to refuse a call: ``Refused("denied", "unknown
    token")``. An ``on_session`` raises it to refuse a client, and the `connect` of that
    client raises it. At most 64 bytes of the code and 1 KiB of the text are sent.
    """

    _CODE = "refused"


class Overloaded(Refused):
    """There are too many calls: at the peer, or here (``connect(max_waiting=...)``).

    Raised by `connect`, there are too many sessions at the server.
    """

    _CODE = "overloaded"


class CallRefused(RoamError):
    """The peer accepts no calls on this connection, so the call was not sent.

    The peer stated ``max_concurrent_requests=0`` when the connection was set up.
    """

    was_begun = False


class ConnectionLost(RoamError, Disconnected):
    """The connection ended before the response arrived.

    The handler may or may not have run. ``__cause__`` is the reason why the connection
    ended, unless it was simply closed.
    """


# ---------------------------------------------------------------- sessions


class SessionError(RoamTrioError):
    """A session could not be set up, or has ended; the text names the peer's address.

    Attributes:
        address: the address of the peer; empty if the error has not been raised by a
            session.
    """

    address = ""

    def __str__(self) -> str:
        text = super().__str__()
        if not self.address or self.address in text:
            return text
        return f"{text} (peer: {legible(self.address, _MOST_SAID)})"


class SessionIoError(SessionError, Disconnected):
    """The conduit under the session failed or ended; ``__cause__`` says how."""


class SessionProtocolError(SessionError):
    """The protocol was broken, so the session ends (`session.protocol-error`).

    The subclasses `RemoteProtocolError` and `LocalProtocolError` tell which side broke
    it.

    Attributes:
        description: the violation, in the words of the peer if the peer reported it.
    """

    _WHO = "the protocol was broken"

    def __init__(self, description: str) -> None:
        super().__init__(f"{self._WHO}: {legible(description, _MOST_SAID // 2)}")
        self.description = description


class RemoteProtocolError(SessionProtocolError):
    """The peer broke the protocol, and this side detected it."""

    _WHO = "the peer broke the protocol"


class LocalProtocolError(SessionProtocolError):
    """The peer says that this side broke the protocol."""

    _WHO = "the peer says that we broke the protocol"


class LimitExceeded(RemoteProtocolError):
    """The peer exceeded a limit of this side, or a server has no room for all of its
    sessions.

    Attributes:
        limit: the name of the field of `Limits` or `ConnectionSettings`, or of the
            argument of `serve`.
        of_server: True if it is a limit of all sessions of a server together. The peer
            has kept the protocol, but its session holds more than others.
    """

    def __init__(
        self, limit: str, description: str, *, of_server: bool = False
    ) -> None:
        who = ""
        if of_server:
            self._WHO = "the server is out of its budget"
            who = "; whoever runs the server can raise it in serve()"
        super().__init__(f"{description} (limit: {limit}{who})")
        self.limit = limit
        self.of_server = of_server


class NoReflection(RoamTrioError):
    """The peer does not say what it serves; ``__cause__`` is what it has answered."""


class ConnectionClosed(SessionError, Disconnected):
    """A virtual connection was closed.

    Attributes:
        by: ``"us"`` or ``"peer"``.
        metadata: the metadata of the close. The error text includes its message.
    """

    def __init__(self, by: str, metadata: Metadata) -> None:
        who = "the peer" if by == "peer" else "this side"
        why = shown(metadata)
        super().__init__(f"{who} has closed the connection{why and f': {why}'}")
        self.by = by
        self.metadata = metadata


class SessionRejected(SessionError):
    """The peer refused the session or the connection.

    Attributes:
        metadata: the metadata of the refusal, which can say why.
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
    """This side has already closed the channel: a bug in this program."""


class TxReset(TxError, trio.BrokenResourceError):
    """The receiver wants no more items (`rpc.channel.reset`)."""


class TxConnectionLost(TxError, Disconnected, trio.BrokenResourceError):
    """The connection ended, or the call of the channel failed, before the item was
    sent.
    """


class RxError(ChannelError):
    """An item could not be received."""


class RxUnbound(RxError, trio.BrokenResourceError):
    """The channel belongs to no call, and can no longer come to belong to one."""


class RxDecodeError(RxError):
    """An item does not have the type of the channel; ``__cause__`` says where."""


class RxClosed(RxError, trio.ClosedResourceError):
    """This side has already reset the channel: a bug in this program."""


class RxReset(RxError, trio.BrokenResourceError):
    """The sender has reset the channel; items that were not delivered are lost."""


class RxConnectionLost(RxError, Disconnected, trio.BrokenResourceError):
    """The connection ended, or the call failed, before the sender closed."""


# ---------------------------------------------------------------- links and conduits


class LinkError(RoamTrioError):
    """A link could not move payloads, and is dead (`link.rx.error`)."""


class LinkClosed(LinkError):
    """This side has closed the link, or this half of it: a bug in this program.

    When the *peer* has closed the link, `recv` returns None and raises no error.
    """


class ForeignProtocol(LinkError):
    """The peer speaks another protocol, which the text names if it is a known one.

    Connecting again does not help: the URL or the port is wrong, or a device between
    the peers.
    """


class PayloadTooLarge(RoamTrioError):
    """A payload exceeds the limit of the link; nothing was sent or allocated for it.

    The link continues, unless this is an `AnnouncedTooLarge`.

    Attributes:
        size: the length of the payload in bytes.
        limit: the maximum length in bytes.
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
    """The peer announced a payload larger than the link's limit. The link is dead.

    Attributes:
        named: the name of the limit: ``"max_payload"``, or ``"metadata_bytes"`` as long
            as the handshake is not done.
    """

    _WHAT = "the peer announced a payload"

    def __init__(self, size: int, limit: int, named: str = "max_payload") -> None:
        super().__init__(size, limit)
        self.named = named
        if named != "max_payload":
            self.args = (
                f"{self._WHAT} of {size} bytes before the handshake was done, and at "
                f"most {limit} are allowed until then (limit: {named})",
            )


class PayloadTooSlow(LinkError):
    """A payload of the peer's has begun and does not go on fast enough.

    Attributes:
        begun: number of bytes of it that had arrived.
        named: the name of the limit: ``"payload_seconds"``, or ``"server_begun_bytes"``
            if payloads of other clients had to wait for it.
    """

    def __init__(
        self, begun: int, seconds: float, named: str = "payload_seconds"
    ) -> None:
        others = ""
        if named != "payload_seconds":
            others = " while payloads of others wait"
        super().__init__(
            f"a payload has begun, and only {begun} bytes of it have come: each MiB "
            f"may take {seconds} s{others} (limit: {named})"
        )
        self.begun = begun
        self.named = named


class TruncatedPayload(LinkError):
    """The stream ended in the middle of a payload."""


class MemoryLinkRxError(LinkError):
    """Receiving from a memory link failed; never raised, for parity with Rust."""


class ConduitError(RoamTrioError):
    """Messages could not be put on, or taken from, a link."""


class BareConduitError(ConduitError):
    """A payload is not a message; ``__cause__`` is the `DecodeError`.

    If the peer resumes sessions or speaks another protocol, the text says so, and there
    is no cause.
    """


class StableConduitError(ConduitError):
    """A stable conduit has failed for good, and another link would not help.

    This class itself is raised if a payload is not a frame, or a frame has no message;
    ``__cause__`` is the `DecodeError`.
    """


class LinkDead(StableConduitError, LinkError, Disconnected):
    """The link is lost, and there was no other in time; ``__cause__`` may say why.

    On a server: the client has not returned.
    """


class SessionLost(StableConduitError, SessionError, Disconnected):
    """The server no longer knows the session (`stable.reconnect.failure`).

    It was restarted, or has ended the session. Or it is another server: a load balancer
    must send a returning client to the same server.
    """


class StableHandshakeError(StableConduitError):
    """The peer's first message on a link is not the hello of a stable conduit."""


# ---------------------------------------------------------------- codecs and schemas


class CodecError(RoamTrioError):
    """A value, or its encoding, does not match its type.

    Attributes:
        path: the place, from the outermost value ``$``: ``$.shapes[2].radius``.
        problem: what was expected, and what was found.
        without_values: the text with types and positions in place of values. Logs
            contain this text.
    """

    def __init__(
        self, problem: str, path: str = "$", *, without_values: str | None = None
    ) -> None:
        super().__init__(f"{problem} - at {path}")
        self.problem = problem
        self.path = path
        self.without_values = str(self) if without_values is None else without_values


class EncodeError(CodecError):
    """A value of this program does not have the type that it is to be sent as."""


class DecodeError(CodecError):
    """Bytes are not the encoding of a value of the expected type.

    Every decoder raises this error, whatever is wrong with the bytes.
    """


class IncompatibleService(RoamTrioError):
    """The peer offers another version of a service, and calls cannot be translated.

    Raised when a connection is opened, before any call.

    Attributes:
        where: the method, argument or field: ``Shop.order(item).count``; the service if
            no version of it was told.
        problem: the fault and its remedy.
    """

    def __init__(self, problem: str, where: str) -> None:
        super().__init__(f"{where}: {problem}")
        self.problem = problem
        self.where = where


class SchemaError(RoamTrioError):
    """A type has no wire form, or a service is not well formed.

    Raised when the service is defined, never during a call.

    Attributes:
        path: the place of the type: ``Adder.add(l)[0].left``.
        problem: the fault and its remedy.
    """

    def __init__(self, problem: str, path: str = "") -> None:
        super().__init__(f"{path}: {problem}" if path else problem)
        self.problem = problem
        self.path = path
