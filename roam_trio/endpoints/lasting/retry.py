"""When a call that has failed is made again: decided without I/O."""

from __future__ import annotations

import enum
from typing import Final

import attrs

from ...errors import (
    CallCancelled,
    ConnectionLost,
    Overloaded,
    RoamError,
    Unavailable,
    UserError,
)
from ...links.resuming.source import Backoff

__all__ = [
    "DEFAULT_BACKOFF",
    "DEFAULT_RETRY",
    "LONGEST_PAUSE",
    "Again",
    "Retry",
    "RetryBudget",
    "again_after",
    "pause_asked_for",
    "time_of_failed",
]

DEFAULT_BACKOFF = Backoff(initial=0.05, longest=5.0)

LONGEST_PAUSE: Final = 60.0
"""Seconds that a server may ask for before a call is made again.

A call without a deadline would otherwise wait for as long as a server likes.
"""


@attrs.frozen(kw_only=True)
class Retry:
    """The calls of a lasting client that are made again.

    A call that no handler has seen is made again elsewhere, and waits while no server
    is there. A call of an `idempotent` method that a handler may have seen is made
    again within the bounds below. Every other call fails with its first error.

    Attributes:
        attempts: how often a call is made at most, the first time included. Calls
            that could not be sent, or that a server that shuts down has refused, do
            not count.
        backoff: the pauses between attempts, and between attempts to connect.
        budget: the number of attempts beyond the first for each call, on average over
            the calls of the client. It prevents that a server in trouble gets several
            times the calls.
        reserve: number of such attempts that are allowed at once.
    """

    attempts: int = attrs.field(
        default=3,
        validator=[attrs.validators.instance_of(int), attrs.validators.ge(1)],
    )
    backoff: Backoff = attrs.field(
        default=DEFAULT_BACKOFF, validator=attrs.validators.instance_of(Backoff)
    )
    budget: float = attrs.field(default=0.2, validator=attrs.validators.ge(0))
    reserve: float = attrs.field(default=10.0, validator=attrs.validators.ge(0))


DEFAULT_RETRY = Retry()


class Again(enum.Enum):
    """The ways to go on after a call has failed."""

    NO = "no"
    """The caller gets the error."""

    ELSEWHERE = "elsewhere"
    """No handler has seen the call, and this server does not take it."""

    WITHIN_BUDGET = "within budget"
    """Another attempt is allowed if attempts and budget are left."""


def again_after(error: RoamError, *, is_idempotent: bool) -> Again:
    """Return how to go on after the error of a call.

    Args:
        error: the error.
        is_idempotent: whether the method may be called again.
    """
    match error:
        case ConnectionLost(was_begun=False) | Unavailable(was_begun=False):
            return Again.ELSEWHERE
        case Overloaded(was_begun=False):
            return Again.WITHIN_BUDGET
        case ConnectionLost() | Unavailable():
            return Again.WITHIN_BUDGET if is_idempotent else Again.NO
        case _:
            return Again.NO


class RetryBudget:
    """Keeps the attempts beyond the first below a share of the calls.

    Args:
        retry: the share and the reserve.
    """

    __slots__ = ("_left", "_reserve", "_share")

    def __init__(self, retry: Retry) -> None:
        self._share = retry.budget
        self._reserve = retry.reserve
        self._left = retry.reserve

    def add_call(self) -> None:
        """Count a call, which adds its share."""
        if self._left < self._reserve:
            self._left = min(self._reserve, self._left + self._share)

    def take(self) -> bool:
        """Take one attempt; return False if none is left."""
        if self._left < 1:
            return False
        self._left -= 1
        return True


def pause_asked_for(error: RoamError) -> float:
    """Return the seconds for which a server asks to be left alone."""
    if isinstance(error, CallCancelled) and error.retry_after is not None:
        return error.retry_after
    return 0.0


_FAILED_SECONDS: Final = 1.0
"""Seconds that a failed call counts for, at least: a server that fails at once must not
seem to be the fastest."""


def time_of_failed(error: RoamError, seconds: float) -> float | None:
    """Return the seconds that count for a call that has failed; None if it does not
    count.

    A lost session and a server that shuts down get no more calls anyway, and the next
    session with the server must not suffer from the end of this one.

    Args:
        error: the error of the call.
        seconds: how long the call took.
    """
    match error:
        case ConnectionLost() | Unavailable():
            return None
        case UserError():
            return seconds
        case _:
            return max(seconds, _FAILED_SECONDS)
