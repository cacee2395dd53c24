"""The outcome of a call, as a status code and an error type.

The codes are the words that `CallCancelled.code` uses, and some more, which
docs/how-to/trace.md lists. The code that an application has chosen for a `Refused` is
not among them, because a peer could choose any.
"""

from __future__ import annotations

from asyncio import CancelledError
from functools import lru_cache
from typing import Final

import attrs
import trio

from ...errors import (
    CallCancelled,
    CallRefused,
    ConnectionLost,
    DeadlineExceeded,
    HandlerFailed,
    InvalidPayload,
    Overloaded,
    Refused,
    TxReset,
    Unavailable,
    UnknownMethod,
    UserError,
)
from ...failures import alone, is_failure
from ...service.descriptor import MethodDescriptor
from .names import ERROR_TYPE, STATUS_CODE
from .places import Attributes

__all__ = [
    "LOST_AT_CLIENT",
    "LOST_AT_SERVER",
    "OK",
    "Outcome",
    "at_client",
    "at_server",
    "failed_with",
    "outcome",
    "turned_away",
]

_CANCELS: Final = (trio.Cancelled, CancelledError)
"""Exceptions that cancel a call, in trio and in programs on asyncio."""

_USER_ERROR: Final = "user_error"
_CANCELLED: Final = "cancelled"
_DEADLINE: Final = "deadline"
_FAILED: Final = "failed"

_CODES: Final[dict[type[BaseException], str]] = {
    HandlerFailed: _FAILED,
    DeadlineExceeded: _DEADLINE,
    Unavailable: "unavailable",
    Overloaded: "overloaded",
    Refused: "refused",
    CallCancelled: _CANCELLED,
    CallRefused: "refused",
    UnknownMethod: "unknown_method",
    InvalidPayload: "invalid_payload",
    ConnectionLost: "connection_lost",
}

_FAULTS_OF_SERVERS: Final = frozenset(
    (_FAILED, _DEADLINE, "unavailable", "unknown_method")
)
"""Codes that are errors of the answering side. The others say that it has worked."""


@attrs.frozen(eq=False)
class Outcome:
    """The outcome of a call.

    Attributes:
        code: the status code; None if the call has failed without one.
        error_type: the class of the error; None if the outcome is no error for the side
            that records it.
    """

    code: str | None
    error_type: str | None

    @property
    def attributes(self) -> Attributes:
        """The attributes of a span or a measurement with this outcome."""
        found: Attributes = {}
        if self.code is not None:
            found[STATUS_CODE] = self.code
        if self.error_type is not None:
            found[ERROR_TYPE] = self.error_type
        return found


@lru_cache(maxsize=1024)
def outcome(code: str | None, error_type: str | None = None) -> Outcome:
    """Return the outcome with a code and a type; one object for equal ones."""
    return Outcome(code, error_type)


OK: Final = outcome("ok")
LOST_AT_CLIENT: Final = outcome("connection_lost", "connection_lost")
LOST_AT_SERVER: Final = outcome("connection_lost")
"""Outcomes of calls whose channels were lost after the result."""


def at_client(
    error: BaseException, method: MethodDescriptor, *, is_known: bool, is_late: bool
) -> Outcome:
    """Return the outcome of a call that this side has made.

    Args:
        error: what the call has raised.
        method: the method.
        is_known: True if this program defines the method. The classes of the errors of
            others may have names that the peer has chosen.
        is_late: True if the deadline of the caller has passed.
    """
    if _declares(method, error):
        return outcome(_USER_ERROR, _declared(error) if is_known else _USER_ERROR)
    if isinstance(error, _CANCELS):
        code = _DEADLINE if is_late else _CANCELLED
        return outcome(code, code)
    return failed_with(error)


def failed_with(error: BaseException) -> Outcome:
    """Return the outcome of a call, or an attempt, that has failed with `error`."""
    found = _code_of(error)
    return outcome(found, found or _class_name(type(error)))


def at_server(
    error: BaseException, method: MethodDescriptor, *, is_late: bool
) -> Outcome:
    """Return the outcome of a call that a handler of this side has answered.

    Args:
        error: what the handler has raised.
        method: the method.
        is_late: True if the deadline of the call has passed.
    """
    if isinstance(error, _CANCELS) or not is_failure(error):
        return _answered(_DEADLINE if is_late else _CANCELLED)
    one = alone(error)
    if _declares(method, one):
        return outcome(_USER_ERROR)
    if isinstance(one, CallCancelled) and not one.by_peer:
        return _answered(_code_of(one) or _CANCELLED)
    if isinstance(one, TxReset):
        return outcome(_CANCELLED)  # the caller wants no more items
    return outcome(_FAILED, _class_name(type(one)))


def turned_away(because: BaseException) -> Outcome:
    """Return the outcome of a call that has not reached any handler."""
    return _answered(_code_of(because) or _CANCELLED)


def _answered(code: str) -> Outcome:
    return outcome(code, code if code in _FAULTS_OF_SERVERS else None)


def _declares(method: MethodDescriptor, error: BaseException) -> bool:
    return method.error_type is not None and isinstance(
        error, (UserError, *method.result_plan.exceptions)
    )


def _declared(error: BaseException) -> str:
    value: object = error.error if isinstance(error, UserError) else error
    return _class_name(type(value))


def _code_of(error: BaseException) -> str | None:
    for kind in type(error).__mro__:
        if kind in _CODES:
            return _CODES[kind]
    return None


def _class_name(kind: type[object]) -> str:
    if kind.__module__ == "builtins":
        return kind.__qualname__
    return f"{kind.__module__}.{kind.__qualname__}"
