"""The end of a session: its reason, the last message to the peer, and the log record.

These functions decide, and change nothing; `SessionRun` performs their decisions.
"""

from __future__ import annotations

import enum
import ssl
from typing import Final

from ..errors import (
    AnnouncedTooLarge,
    BareConduitError,
    ConnectionClosed,
    DecodeError,
    ForeignProtocol,
    LimitExceeded,
    Overloaded,
    PayloadTooSlow,
    RemoteProtocolError,
    RoamTrioError,
    SessionError,
    SessionIoError,
    SessionLost,
    SessionProtocolError,
    StableHandshakeError,
    Unavailable,
)
from ..failures import text_of
from ..peers import Peer
from ..wire.ids import ConnectionId
from ..wire.messages import ProtocolError
from .refusal import REFUSALS, message_of_refusal

__all__ = [
    "ALL_IS_ANSWERED",
    "LoggedAs",
    "as_session_error",
    "logged_as",
    "message_at_end",
    "name_peer",
    "reason_to_stop",
]


_WORTH_TELLING: Final = (SessionProtocolError, SessionIoError, SessionLost, *REFUSALS)
"""Classes of the reasons that are logged: this side has not wanted the end."""


class LoggedAs(enum.Enum):
    """Ways to log the end of a session that was set up."""

    NOTHING = "it is as it should be: this side has ended it, or the peer closed it"
    LOSS = "the connection under it broke"
    IDLE = "nobody has used it for too long, which is no fault"
    FAILURE = "anything else"


ALL_IS_ANSWERED: Final = message_of_refusal(
    Unavailable(text="the session was shut down")
)
"""The last message of a session that this side has shut down with a grace: each call
that it has taken up has its response. No handler has seen any other, so those can be
made again elsewhere.
"""


def as_session_error(error: RoamTrioError) -> RoamTrioError:
    """Return the reason of an end in a session's terms.

    Undecodable bytes are the peer's fault, and any other error of a conduit or a link
    is that of the world outside.
    """
    if isinstance(error, (SessionError, *REFUSALS)):
        return error
    reason: SessionError
    if isinstance(error, AnnouncedTooLarge):
        reason = LimitExceeded(error.named, f"a payload of {error.size} bytes came")
    elif isinstance(error, PayloadTooSlow):
        reason = LimitExceeded(
            error.named,
            f"a payload has begun, and only {error.begun} bytes of it came in time",
        )
    elif isinstance(error, StableHandshakeError | ForeignProtocol):
        reason = RemoteProtocolError(str(error))
    elif isinstance(error.__cause__, DecodeError):
        reason = RemoteProtocolError(f"not a message: {error.__cause__}")
    elif isinstance(error, BareConduitError):
        reason = RemoteProtocolError(str(error))
    else:
        reason = SessionIoError(text_of(error))
    reason.__cause__ = error
    return reason


def reason_to_stop(why: str, *, deciding: bool) -> RoamTrioError:
    """Return the reason of an end that this side wants.

    A client that waits for the answer to its Hello is turned away. If the link simply
    closed, the client could not tell this side from something that is no server.

    Args:
        why: the text of the reason.
        deciding: whether ``on_session`` decides on a client.
    """
    if deciding:
        return Unavailable(text="the server is shutting down")
    return SessionError(why)


def name_peer(error: BaseException, peer: Peer) -> None:
    """Have an error about a session or a connection name the address of the peer.

    A plain SessionError says what this side has done, as does a close by this side.
    """
    if isinstance(error, ConnectionClosed) and error.by == "us":
        return
    if isinstance(error, SessionError) and type(error) is not SessionError:
        error.address = peer.address


def message_at_end(reason: RoamTrioError) -> ProtocolError | None:
    """Return the last message to the peer: if it broke the protocol, it is told so
    (`session.protocol-error`)."""
    if isinstance(reason, REFUSALS) and not reason.by_peer:
        return message_of_refusal(reason)
    if isinstance(reason, LimitExceeded) and reason.of_server:
        return message_of_refusal(Overloaded(text=reason.description))
    if isinstance(reason, RemoteProtocolError):
        return ProtocolError(ConnectionId.ROOT, reason.description)
    return None


def logged_as(reason: RoamTrioError, *, peer_has_left: bool) -> LoggedAs:
    """Return how to log the end of a session that was set up.

    When a process is killed, the system closes its connections or resets them, as it
    happens to come. So a connection that breaks is not worth a warning.

    Args:
        reason: why it has ended.
        peer_has_left: whether the peer has closed the link in good order.
    """
    if peer_has_left and isinstance(reason, SessionIoError):
        return LoggedAs.NOTHING
    if not isinstance(reason, _WORTH_TELLING):
        return LoggedAs.NOTHING
    if isinstance(reason, Unavailable):
        return LoggedAs.NOTHING  # the peer has shut the session down in good order
    if isinstance(reason, LimitExceeded) and reason.limit == "idle_seconds":
        return LoggedAs.IDLE
    return LoggedAs.LOSS if _is_connection_lost(reason) else LoggedAs.FAILURE


def _is_connection_lost(reason: BaseException) -> bool:
    """Return True if the system has told that the connection is broken."""
    cause: BaseException | None = reason
    while cause is not None and not isinstance(cause, OSError):
        cause = cause.__cause__
    return cause is not None and not isinstance(cause, ssl.SSLError)
