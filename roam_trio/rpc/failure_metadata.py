"""Metadata of a response of the kind Cancelled, with the reason.

The protocol has only one outcome for calls without a result. A peer that knows these
keys learns more, and other peers ignore them.
"""

from __future__ import annotations

import math
import os
from typing import Final, Literal, TypeAlias

import attrs

from ..errors import (
    CallCancelled,
    DeadlineExceeded,
    HandlerFailed,
    Overloaded,
    Refused,
    Unavailable,
)
from ..failures import text_of
from ..legible import legible
from ..metadata import Metadata, MetadataEntry, MetadataFlags
from ..tracebacks import traceback_of

__all__ = [
    "MOST_CODE",
    "MOST_RETRY_AFTER",
    "MOST_TEXT",
    "FailurePolicy",
    "TellFailures",
    "cut_text",
    "failed_handler",
    "failure_from",
    "failure_metadata",
    "says_never_begun",
]

TellFailures: TypeAlias = Literal["code", "text", "traceback"]
"""Amount of information about a failure for the peer: its code and id; also the text of
the exception; also the traceback.
"""


@attrs.frozen
class FailurePolicy:
    """Treatment of failures of handlers.

    Attributes:
        tell: amount of information for the caller.
        kept: stores their exceptions by the ids that callers get, for callers in the
            same process, so that tests see the error; None for no storage.
    """

    tell: TellFailures = "code"
    kept: dict[str, BaseException] | None = None


_CODE: Final = "error-code"
_TEXT: Final = "error-text"
_TRACE: Final = "error-trace"
_ID: Final = "error-id"
_BEGUN: Final = "error-begun"
_RETRY: Final = "retry-after-ms"

_KEYS: Final = frozenset((_CODE, _TEXT, _TRACE, _ID, _BEGUN, _RETRY))

_NOT_SAID: Final = CallCancelled().code

MOST_CODE: Final = 64
MOST_TEXT: Final = 1024
_MOST_TRACE: Final = 32 * 1024
"""Bounds on the texts that are sent, in bytes of UTF-8."""

MOST_RETRY_AFTER: Final = 24 * 60 * 60.0
"""Largest number of seconds after which to try again. More is sent and read as this, so
that no peer has a caller sleep for years."""

_KINDS: Final[dict[str, type[CallCancelled]]] = {
    "failed": HandlerFailed,
    "deadline": DeadlineExceeded,
    "refused": Refused,
    "unavailable": Unavailable,
    "overloaded": Overloaded,
}


_SAID: Final[dict[type[CallCancelled], str]] = {
    HandlerFailed: "the handler failed",
    DeadlineExceeded: "the handler was cancelled at the deadline of the call",
    Unavailable: "the peer is shutting down, or cannot be reached",
    Overloaded: "the peer has too many calls",
}


def failed_handler(error: BaseException, policy: FailurePolicy) -> HandlerFailed:
    """Return the error for the caller of a handler that has raised `error`.

    The error has a new id. `FailurePolicy.kept` stores `error` under this id.
    """
    number = os.urandom(4).hex()
    text = trace = ""
    if policy.tell != "code":
        text = f"{type(error).__qualname__}: {text_of(error)}"
    if policy.tell == "traceback":
        trace = traceback_of(error)
    if policy.kept is not None:
        policy.kept[number] = error
    return HandlerFailed(text=text, trace=trace, id=number, was_begun=True)


def failure_metadata(error: CallCancelled, tell: TellFailures) -> Metadata:
    """Return the entries that describe `error`, after its own metadata.

    The text of a `Refused` is meant for the peer, and is always sent. The text of
    another failure, and a traceback, may disclose details of this program.
    """
    entries = [entry for entry in error.metadata if entry.key not in _KEYS]
    if error.code != _NOT_SAID or isinstance(error, Refused):
        entries.append(MetadataEntry(_CODE, cut_text(error.code, MOST_CODE)))
    if error.text and (tell != "code" or isinstance(error, Refused)):
        entries.append(MetadataEntry(_TEXT, cut_text(error.text, MOST_TEXT)))
    if error.trace and tell == "traceback":
        trace = _cut_front(error.trace, _MOST_TRACE)
        entries.append(MetadataEntry(_TRACE, trace, MetadataFlags.SENSITIVE.value))
    if error.id is not None:
        entries.append(MetadataEntry(_ID, error.id))
    if error.was_begun is not None:
        entries.append(MetadataEntry(_BEGUN, int(error.was_begun)))
    if error.retry_after is not None:
        entries.append(MetadataEntry(_RETRY, _milliseconds(error.retry_after)))
    return Metadata(entries)


def says_never_begun(metadata: Metadata) -> bool:
    """Return True if the metadata of a response say that no handler saw the call."""
    return metadata.get(_BEGUN) == 0


def failure_from(metadata: Metadata, call: str) -> CallCancelled:
    """Return the error for a response of the kind Cancelled.

    Args:
        metadata: the metadata of the response. An entry with a value of the wrong
            type is ignored, because a peer can send anything.
        call: the name of the call, for the text of the error.
    """
    code, text = metadata.get(_CODE), metadata.get(_TEXT)
    if not isinstance(code, str) or not code:
        unsaid = CallCancelled(
            metadata=metadata,
            message=f"{call}: the handler failed or was cancelled, or the peer shuts "
            "down and refuses new calls; the log of the peer says which",
        )
        unsaid.by_peer = True
        return unsaid
    begun, after = metadata.get(_BEGUN), metadata.get(_RETRY)
    number, trace = metadata.get(_ID), metadata.get(_TRACE)
    code = cut_text(code, MOST_CODE)
    text = cut_text(text, MOST_TEXT) if isinstance(text, str) else ""
    number = number if isinstance(number, str) and _is_id(number) else None
    kind = _KINDS.get(code, Refused)
    error = kind(
        code,
        text,
        retry_after=_seconds(after) if isinstance(after, int) else None,
        metadata=metadata,
        id=number,
        trace=_cut_front(trace, _MOST_TRACE) if isinstance(trace, str) else "",
        was_begun=bool(begun) if isinstance(begun, int) else None,
        message=_message(call, kind, code, text, number),
    )
    error.by_peer = True
    if error.trace:
        lines = map(legible, error.trace.splitlines())
        error.add_note("\n".join(("At the peer:", *lines)))
    return error


def _message(
    call: str, kind: type[CallCancelled], code: str, text: str, number: str | None
) -> str:
    what = _SAID.get(kind, f"the peer has refused the call ({code})")
    if text:
        what += f": {text}"
    if number is not None:
        what += f" (the log of the peer has more beside the id {number})"
    return f"{call}: {what}"


def _is_id(number: str) -> bool:
    return len(number) == 8 and all(digit in "0123456789abcdef" for digit in number)


def _milliseconds(seconds: float) -> int:
    if not seconds > 0:  # nor is it NaN
        return 0
    return math.ceil(min(seconds, MOST_RETRY_AFTER) * 1000)


def _seconds(milliseconds: int) -> float:
    return min(milliseconds / 1000, MOST_RETRY_AFTER)


def cut_text(text: str, most: int) -> str:
    """Return the start of a text: whole characters, at most `most` bytes of UTF-8."""
    data = text.encode("utf-8", "backslashreplace")
    return data[:most].decode("utf-8", "ignore")


def _cut_front(text: str, most: int) -> str:
    """Return the end of a text, which is where a traceback has its exception."""
    data = text.encode("utf-8", "backslashreplace")
    return data[-most:].decode("utf-8", "ignore")
