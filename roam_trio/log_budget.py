"""A bound on the log records that a peer can cause, at once and per second.

Each session has a `LogBudget`, and so does each server, above those of its sessions. A
budget counts each kind of record separately, so that a flood of one kind does not hide
the others. Records that are left out are counted. The count is logged as soon as there
is room for a record, or when the session ends.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar, Token
from typing import Final, TypeAlias

import attrs
import trio

from .limits import DEFAULT_LIMITS, Limits

__all__ = [
    "LogBudget",
    "begin_log_budget_of_session",
    "current_log_budget",
    "log_budget_of_server",
    "log_budget_of_session",
]

Report: TypeAlias = Callable[[int, str], None]
"""Logs that a number of records were left out because of a limit. Never raises."""


@attrs.define
class _Kind:
    """Records of one kind: a token bucket, and a count of the records without a token.

    Attributes:
        name: the name of the kind.
        tokens: number of records that may be logged, as of `at`.
        at: a time of trio's clock, in seconds.
        report: logs how many were left out.
        left_out: number of records left out since the last that was logged.
        is_awaited: whether a task waits for the next token, to report.
    """

    name: str
    tokens: float
    at: float
    report: Report
    left_out: int = 0
    is_awaited: bool = False


class LogBudget:
    """A bound on log records.

    Args:
        limit: the name of the field of `Limits` that bounds it.
        at_once: number of records of a kind that may be logged without a pause.
        per_second: number of records of a kind that may be logged in a second from
            then on, on average.
        above: for a session, the budget of its server. A record needs room in both.
    """

    __slots__ = ("_above", "_at_once", "_before", "_kinds", "_limit", "_per_second")

    def __init__(
        self,
        limit: str,
        at_once: int,
        per_second: float,
        above: LogBudget | None = None,
    ) -> None:
        self._limit = limit
        self._at_once = at_once
        self._per_second = per_second
        self._above = above
        self._kinds: dict[str, _Kind] | None = None
        self._before: Token[LogBudget] | None = None

    def take(self, name: str, report: Report, records: int = 1) -> bool:
        """Take room for one record; return False, and count it, if it is left out.

        A record is also left out while the count of earlier ones is still to be logged.

        Args:
            name: the kind of the record; the number of kinds must be bounded.
            report: called later with a number of records, if this one is left out.
            records: number of records that it stands for.
        """
        if self._kinds is None:
            self._kinds = {}
        kind = self._kinds.get(name)
        if kind is None:
            kind = _Kind(name, self._at_once, trio.current_time(), report)
            self._kinds[name] = kind
        self._refill(kind)
        if kind.left_out or kind.tokens < 1:
            kind.left_out += records
            kind.report = report
            self._await_room(kind)
            return False
        kind.tokens -= 1
        return self._above is None or self._above.take(name, report, records)

    def _refill(self, kind: _Kind) -> None:
        now = trio.current_time()
        tokens = kind.tokens + (now - kind.at) * self._per_second
        kind.tokens = min(tokens, self._at_once)
        kind.at = now

    def _await_room(self, kind: _Kind) -> None:
        if not kind.is_awaited:
            kind.is_awaited = True
            # Use a system task: the end of the session would have to wait for its own
            # task.
            trio.lowlevel.spawn_system_task(self._report_later, kind)

    async def _report_later(self, kind: _Kind) -> None:
        """Log the count of left-out records as soon as there is room for a record."""
        while kind.left_out:
            await trio.sleep(max(1 - kind.tokens, _LEAST) / self._per_second)
            self._refill(kind)
            if kind.tokens >= 1:
                kind.tokens -= 1
                self._report(kind)
        kind.is_awaited = False

    def _report(self, kind: _Kind) -> None:
        left_out, kind.left_out = kind.left_out, 0
        above = self._above
        if left_out and (above is None or above.take(kind.name, kind.report, left_out)):
            kind.report(left_out, self._limit)

    def __enter__(self) -> None:
        """Make this the budget of the current task and of tasks started from it."""
        self._before = _current.set(self)

    def __exit__(self, *exc_info: object) -> None:
        """Log the counts of left-out records at the end of a session or server."""
        assert self._before is not None
        _current.reset(self._before)
        self._before = None
        for kind in (self._kinds or {}).values():
            self._report(kind)


_LEAST: Final = 0.01
"""The smallest part of a token to wait for: rounding could make less than a clock tick
of it.
"""

_current: ContextVar[LogBudget] = ContextVar("roam_trio_log_budget")

_elsewhere: trio.lowlevel.RunVar[LogBudget] = trio.lowlevel.RunVar(
    "roam_trio_log_budget"
)


def current_log_budget() -> LogBudget | None:
    """Return the budget of the session or server that the current task belongs to.

    All other tasks of a run share one. Outside of trio there is none.
    """
    budget = _current.get(None)
    if budget is not None:
        return budget
    try:
        return _elsewhere.get()
    except RuntimeError:  # outside of trio
        return None
    except LookupError:
        budget = log_budget_of_server(DEFAULT_LIMITS)
        _elsewhere.set(budget)
        return budget


def log_budget_of_server(limits: Limits) -> LogBudget:
    """Return a budget for the records of all tasks started in its block."""
    return LogBudget(
        "server_log_records",
        limits.server_log_records,
        limits.server_log_records_per_second,
    )


def log_budget_of_session(limits: Limits) -> LogBudget:
    """Return a budget for a session, below that of the current server, if any."""
    above = current_log_budget()
    return LogBudget(
        "log_records", limits.log_records, limits.log_records_per_second, above
    )


def begin_log_budget_of_session(limits: Limits) -> LogBudget:
    """Make a budget for a session that of the current task, and return it.

    The caller calls its ``__exit__`` at the end.
    """
    budget = log_budget_of_session(limits)
    budget.__enter__()
    return budget
