"""Clients of `stay_connected`, and what they may do within their budgets."""

from __future__ import annotations

from contextvars import ContextVar
from random import Random
from typing import Any

import trio

from roam_trio import Backoff, Retry, SessionKeepaliveConfig, state, stay_connected
from roam_trio.endpoints.lasting.balancing import Phase
from roam_trio.endpoints.lasting.pool import Pool
from roam_trio.endpoints.lasting.resolving import Resolver

from ..broken import require
from ..progress import Progress
from .calls import Bank, MadeCall
from .network import CLIENT
from .script import Setup
from .servers import RESUME_SECONDS

__all__ = ["CONNECT_TIMEOUT", "LONGEST_PAUSE", "FleetClient"]

CONNECT_TIMEOUT = 5.0
LONGEST_PAUSE = 5.0

CALL: ContextVar[MadeCall] = ContextVar("CALL")
"""The call that the task makes."""

_TINY = 1e-6


class FleetClient:
    """A lasting client.

    Args:
        index: its number.
        progress: has the time and the log.
        setup: the setup of the fleet.
        target: the servers, or what finds them.

    Attributes:
        calls: its calls.
        pool: its sessions, once it runs.
        has_left: whether it has come to its end.
    """

    pool: Pool
    _bank: Bank

    def __init__(
        self,
        index: int,
        progress: Progress,
        setup: Setup,
        target: list[str] | Resolver,
    ) -> None:
        self.index = index
        self.calls: list[MadeCall] = []
        self.has_left = False
        self._stage = progress
        self._setup = setup
        self._target = target
        self._leave = trio.Event()
        chance = Random(f"client {progress.seed} {index}")
        self._retry = Retry(
            attempts=setup.attempts,
            budget=setup.budget,
            reserve=setup.reserve,
            backoff=Backoff(initial=0.05, longest=LONGEST_PAUSE, chance=chance.random),
        )
        resume = Backoff(give_up_after=RESUME_SECONDS, chance=chance.random)
        self._options: Any = {
            "resume": resume if setup.resumes else False,
            "keepalive": SessionKeepaliveConfig() if setup.keepalive else None,
            "connect_timeout": CONNECT_TIMEOUT,
        }

    async def run(self, task_status: trio.TaskStatus[None]) -> None:
        """Stay connected until `leave`."""
        CLIENT.set(self.index)
        setup = self._setup
        staying = stay_connected(
            self._target,
            Bank,
            name="bank" if setup.is_named else None,
            retry=self._retry,
            balance=setup.balance,
            sessions=setup.sessions,
            **self._options,
        )
        async with staying as bank:
            self._bank = bank
            self.pool = bank.__roam_pool__
            self.pool.budget = _WatchedBudget(self.pool.budget, self._retry)
            task_status.started()
            await self._leave.wait()
        self.has_left = True
        self._check_left()

    async def call(self, call: MadeCall, troubles: Any) -> None:
        """Make a call."""
        CALL.set(call)
        self.calls.append(call)
        await call.make(self._bank, troubles)
        self.check_amplification()

    def leave(self) -> None:
        """Come to the end."""
        self._leave.set()

    # ------------------------------------------------ what has to hold

    def check_amplification(self) -> None:
        """Check that servers get no more calls than calls and budget allow."""
        further = sum(max(len(each.handlings) - 1, 0) for each in self.calls)
        most = self._retry.reserve + self._retry.budget * len(self.calls)
        require(
            further <= most + _TINY,
            "servers get more calls than the budget allows",
            f"client {self.index}: {further} further ones of {len(self.calls)}",
        )

    def is_with(self, urls: list[str]) -> bool:
        """Return True if it has a session with each of these servers, and no other."""
        endpoints = state(self._bank).endpoints
        found = [each.url for each in endpoints if each.phase is Phase.READY]
        wanted = sorted(urls * self._setup.sessions)
        return len(found) == len(endpoints) and sorted(found) == wanted

    def __str__(self) -> str:
        endpoints = state(self._bank).endpoints
        told = [(each.url, each.phase.name, each.error) for each in endpoints]
        return f"client {self.index}: {told}"

    def _check_left(self) -> None:
        pool = self.pool
        require(
            not any(each.calls for each in pool.table.endpoints),
            "calls are counted after the end",
            pool.table.endpoints,
        )
        require(not pool._holding, "sessions are known after the end", pool._holding)
        require(pool.phase == "down", "a client is there after its end", pool.phase)


class _WatchedBudget:
    """A budget, and beside it what it should allow."""

    def __init__(self, budget: Any, retry: Retry) -> None:
        self._budget = budget
        self._retry = retry
        self._left = retry.reserve

    def add_call(self) -> None:
        """See `RetryBudget.add_call`."""
        self._budget.add_call()
        self._left = min(self._retry.reserve, self._left + self._retry.budget)

    def take(self) -> bool:
        """See `RetryBudget.take`."""
        granted: bool = self._budget.take()
        allowed = self._left >= 1
        require(
            granted == allowed or abs(self._left - 1) < _TINY,
            "a budget grants what is not left, or not what is",
            f"{self._left} left, granted: {granted}",
        )
        self._left -= granted
        call = CALL.get()
        call.granted += granted
        call.was_denied |= not granted
        return granted
