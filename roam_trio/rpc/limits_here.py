"""The limits that apply to the current task, for waits that no session sees."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any, Final, Protocol

from ..limits import DEFAULT_LIMITS, Limits

__all__ = ["CURRENT_TERMS", "limits_here"]


class _Terms(Protocol):
    @property
    def limits(self) -> Limits: ...


CURRENT_TERMS: Final[ContextVar[Any]] = ContextVar("roam_trio_session")
"""The terms of the session to which the current task belongs; a session sets it."""


def limits_here() -> Limits:
    """Return the limits of the session to which the current task belongs.

    Handlers and other tasks of a session belong to it. For tasks of the application,
    these are the default limits.
    """
    terms: _Terms | None = CURRENT_TERMS.get(None)
    return DEFAULT_LIMITS if terms is None else terms.limits
