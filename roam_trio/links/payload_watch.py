"""`PayloadWatch`, which gives up payloads whose time is up.

One task of a run of trio does that for all links. A cancel scope around each read of a
payload that has begun would take a tenth of the steps of a call with 1 MiB.
"""

from __future__ import annotations

from math import inf
from typing import Final, Protocol

import trio

from ..logs import Log

__all__ = ["Arrival", "PayloadWatch", "payload_watch"]

logger = Log("roam_trio.links")


class Arrival(Protocol):
    """A link that reads the rest of a payload."""

    @property
    def deadline(self) -> float:
        """The time at which the payload must have made progress, in seconds."""
        ...

    async def give_up_if_late(self, now: float) -> bool:
        """Give the payload up if its time is up, and wake the task that reads it.

        Return False if it has more time now. Never waits.
        """
        ...


class PayloadWatch:
    """Watches the links of one run of trio on which a payload has begun.

    Its task runs only while there are some, and ends when it next wakes without any.
    """

    def __init__(self) -> None:
        self._arriving: dict[Arrival, None] = {}
        self._scope: trio.CancelScope | None = None  # of the task, while it runs

    def begin(self, arrival: Arrival) -> None:
        """Watch a payload until `end`; again if its deadline has become earlier."""
        deadline = arrival.deadline
        if deadline == inf:
            return
        self._arriving[arrival] = None
        if self._scope is None:
            self._scope = trio.CancelScope(deadline=deadline)
            trio.lowlevel.spawn_system_task(self._run, name="payloads of roam_trio")
        elif deadline < self._scope.deadline:
            self._scope.deadline = deadline

    def end(self, arrival: Arrival) -> None:
        """Watch a payload no longer."""
        self._arriving.pop(arrival, None)

    async def _run(self) -> None:
        while self._arriving:
            self._scope = trio.CancelScope(
                deadline=min(each.deadline for each in self._arriving)
            )
            with self._scope:
                await trio.sleep_forever()
            await self._give_up_late_ones(trio.current_time())
        self._scope = None

    async def _give_up_late_ones(self, now: float) -> None:
        for each in [each for each in self._arriving if each.deadline <= now]:
            try:
                if await each.give_up_if_late(now):
                    self.end(each)
            except Exception:
                # Only of a stream from elsewhere. It must not end the run of trio.
                self.end(each)
                logger.exception("a payload that was too slow was not given up")

    def __repr__(self) -> str:
        return f"<PayloadWatch: {len(self._arriving)} arriving>"


_of_run: Final[trio.lowlevel.RunVar[PayloadWatch]] = trio.lowlevel.RunVar(
    "roam_trio_payload_watch"
)


def payload_watch() -> PayloadWatch:
    """Return the watch of the current run of trio."""
    try:
        return _of_run.get()
    except LookupError:
        watch = PayloadWatch()
        _of_run.set(watch)
        return watch
