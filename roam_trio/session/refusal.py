"""Refusals of sessions, as the text of a ProtocolError.

The protocol has no message for a refusal. A roam_trio server sends the description
``refused: CODE: TEXT`` before its handshake is done, and to end a session for which it
has no room left. For other peers, this is a ProtocolError like any other.
"""

from __future__ import annotations

from typing import Final, TypeAlias

from ..errors import Overloaded, Refused, Unavailable
from ..rpc.failure_metadata import MOST_CODE, MOST_TEXT, cut_text
from ..wire.ids import ConnectionId
from ..wire.messages import ProtocolError

__all__ = ["REFUSALS", "Refusal", "message_of_refusal", "refusal_in"]

Refusal: TypeAlias = Refused | Unavailable
"""Error that turns a client away: the application refuses it, or the server ends."""

REFUSALS: Final = (Refused, Unavailable)
"""Classes of `Refusal`, to catch them."""

_REFUSED: Final = "refused: "
_SEPARATOR: Final = ": "

_KINDS: Final[dict[str, type[Refusal]]] = {
    kind().code: kind for kind in (Overloaded, Unavailable)
}


def message_of_refusal(refusal: Refusal) -> ProtocolError:
    """Return the message that refuses a session. It has no place for `retry_after`."""
    code = cut_text(refusal.code.replace(_SEPARATOR, ":"), MOST_CODE)
    text = cut_text(refusal.text, MOST_TEXT)
    return ProtocolError(ConnectionId.ROOT, f"{_REFUSED}{code}{_SEPARATOR}{text}")


def refusal_in(
    message: ProtocolError, what: str = "the server has refused the session"
) -> Refusal | None:
    """Return the refusal that a message contains; None if it is something else.

    A peer can send any text. A text that is too long is cut, and a text without a code
    is not a refusal.

    Args:
        message: the message.
        what: what it says, for the text of the error.
    """
    if not message.description.startswith(_REFUSED):
        return None
    code, _, text = message.description[len(_REFUSED) :].partition(_SEPARATOR)
    code, text = cut_text(code.strip(), MOST_CODE), cut_text(text, MOST_TEXT)
    if not code:
        return None
    kind = _KINDS.get(code, Refused)
    said = f": {text}" if text else ""
    refusal = kind(code, text, message=f"{what} ({code}){said}")
    refusal.by_peer = True
    return refusal
