"""The workers of a parent, and what to do about them.

`Table` does no I/O and never waits. The parent tells it what has happened, and does the
actions that each method returns. There are as many slots as workers are wanted. A slot
has one worker that serves or is about to, and, while that one is being replaced, its
successor. Workers that drain belong to no slot.
"""

from __future__ import annotations

import enum
import signal
from math import inf
from typing import Final, TypeAlias

import attrs

__all__ = [
    "SETTLED_SECONDS",
    "Action",
    "Drain",
    "Finish",
    "Kill",
    "Note",
    "Phase",
    "Stage",
    "Start",
    "Table",
    "Worker",
]

SETTLED_SECONDS: Final = 10.0
"""A worker that ends earlier after its start has ended at once."""

_FIRST_PAUSE: Final = 0.5
_LONGEST_PAUSE: Final = 30.0
"""Pauses, in seconds, before workers whose predecessors have ended at once."""


class Phase(enum.Enum):
    """Phases of a worker. A worker that has ended is not in the table."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"


class Stage(enum.Enum):
    """Stages of a parent."""

    STARTING = "starting"  # no worker has been ready yet
    SERVING = "serving"
    ENDING = "ending"
    ENDED = "ended"


@attrs.frozen
class Start:
    """Start a worker.

    Attributes:
        worker: its number, which no other worker has or had.
        slot: the number of its slot, from 1 on.
    """

    worker: int
    slot: int


@attrs.frozen
class Drain:
    """Tell a worker to finish its calls and to end."""

    worker: int


@attrs.frozen
class Kill:
    """End a worker at once."""

    worker: int


@attrs.frozen
class Note:
    """Log something.

    Attributes:
        text: a sentence.
        is_error: whether somebody should look at it.
    """

    text: str
    is_error: bool = False


@attrs.frozen
class Finish:
    """End the parent.

    Attributes:
        code: the exit code.
    """

    code: int


Action: TypeAlias = Start | Drain | Kill | Note | Finish


@attrs.define
class Worker:
    """A worker.

    Attributes:
        number: as in `Start`.
        slot: as in `Start`.
        began_at: the time of its start.
        phase: its phase.
        clients: number of connections that were given to it and are not over.
        turn: the turn in which it was given the last one.
    """

    number: int
    slot: int
    began_at: float
    phase: Phase = Phase.STARTING
    clients: int = 0
    turn: int = 0


@attrs.define
class _Slot:
    """A place for a worker.

    Attributes:
        number: from 1 on.
        worker: the number of the worker that serves, or is about to.
        successor: the number of the one that will replace it.
        early_ends: number of workers in a row that have ended at once.
        due: when the next worker is to start; infinite if none is.
    """

    number: int
    worker: int | None = None
    successor: int | None = None
    early_ends: int = 0
    due: float = inf


class Table:
    """The workers of a parent.

    Args:
        count: number of workers that are wanted.
        first: number of the first worker; not 1 in a parent that takes over.
    """

    def __init__(self, count: int, *, first: int = 1) -> None:
        self.workers: dict[int, Worker] = {}
        self.stage = Stage.STARTING
        self._slots = [_Slot(number) for number in range(1, count + 1)]
        self._to_replace: list[_Slot] = []
        self._next = first
        self._turn = 0
        self._code = 0

    # ------------------------------------------------ what happens

    def begin(self, now: float) -> list[Action]:
        """Start all workers."""
        return [self._start(slot, now) for slot in self._slots]

    def is_ready(self, number: int, now: float) -> list[Action]:
        """A worker can take connections."""
        worker = self.workers[number]
        if worker.phase is not Phase.STARTING:
            return []  # it was told to drain meanwhile
        worker.phase = Phase.READY
        if self.stage is Stage.STARTING:
            self.stage = Stage.SERVING
        slot = self._slot_of(worker)
        actions: list[Action] = []
        if slot.successor == number:
            before, slot.worker, slot.successor = slot.worker, number, None
            assert before is not None
            actions += [Note(f"worker {slot.number} is replaced"), self._drain(before)]
        return actions + self._go_on_replacing(now)

    def has_ended(self, number: int, code: int, now: float) -> list[Action]:
        """The process of a worker is gone, or could not be started."""
        worker = self.workers.pop(number)
        if worker.phase is Phase.DRAINING:
            if self.stage is Stage.ENDING and not self.workers:
                return self._finish()
            return []
        slot, how = self._slot_of(worker), _ending(code)
        if self.stage is Stage.STARTING:
            self._code = code if code > 0 else 1
            return [
                Note(f"worker {slot.number} did not get up ({how})", is_error=True),
                *self.drain(),
            ]
        if slot.successor == number:
            slot.successor = None
            self._to_replace.clear()
            text = (
                f"the successor of worker {slot.number} did not get up ({how}); "
                "the workers that there are go on"
            )
            return [Note(text, is_error=True)]
        what = f"worker {slot.number} has ended ({how})"
        return self._follow(slot, worker, what, now)

    def due(self, now: float) -> list[Action]:
        """Some time has passed; see `next_due`."""
        return [self._start(slot, now) for slot in self._slots if slot.due <= now]

    @property
    def is_full(self) -> bool:
        """True if as many workers as are wanted take connections."""
        return len(self.by_load()) >= len(self._slots)

    @property
    def next_number(self) -> int:
        """The number of the next worker."""
        return self._next

    @property
    def next_due(self) -> float:
        """The time at which `due` has something to do; infinite if it has nothing."""
        return min(slot.due for slot in self._slots)

    def replace(self, now: float) -> list[Action]:
        """Replace all workers, one after the other."""
        if self.stage is not Stage.SERVING:
            return [Note("nothing is replaced now, while workers start or end")]
        self._to_replace = list(self._slots)
        return self._go_on_replacing(now)

    def drain(self) -> list[Action]:
        """End all workers when their calls are finished, and then the parent."""
        if self.stage in (Stage.ENDING, Stage.ENDED):
            return []
        self.stage = Stage.ENDING
        self._to_replace.clear()
        for slot in self._slots:
            slot.due = inf
        if not self.workers:
            return self._finish()
        return [self._drain(number) for number in self.workers]

    def kill(self) -> list[Action]:
        """End all workers at once, after `drain`."""
        return [Kill(number) for number in self.workers]

    # ------------------------------------------------ connections

    def by_load(self) -> list[Worker]:
        """Return the workers that take connections, first the one with the fewest."""
        ready = [each for each in self.workers.values() if each.phase is Phase.READY]
        return sorted(ready, key=lambda each: (each.clients, each.turn))

    def has_given(self, worker: Worker) -> None:
        """A worker was given a connection."""
        self._turn += 1
        worker.turn = self._turn
        worker.clients += 1

    def are_over(self, number: int, clients: int) -> None:
        """A worker has finished with connections."""
        if number in self.workers:
            self.workers[number].clients -= clients

    def takes_no_more(self, number: int, now: float) -> list[Action]:
        """A worker that was not told to drain takes no more connections."""
        worker = self.workers.get(number)
        if worker is None or worker.phase is not Phase.READY:
            return []
        worker.phase = Phase.DRAINING
        slot = self._slot_of(worker)
        what = f"worker {slot.number} takes no more connections"
        return self._follow(slot, worker, what, now)

    # ------------------------------------------------ the parts of it

    def _slot_of(self, worker: Worker) -> _Slot:
        return self._slots[worker.slot - 1]

    def _promote_successor(self, slot: _Slot) -> bool:
        """The worker of a slot is gone. Return True if there is a successor."""
        slot.worker, slot.successor = slot.successor, None
        return slot.worker is not None

    def _follow(
        self, slot: _Slot, worker: Worker, text: str, now: float
    ) -> list[Action]:
        """Start another worker after one that serves no more."""
        if self._promote_successor(slot):
            return [Note(text, is_error=True)]
        if now - worker.began_at >= SETTLED_SECONDS:
            slot.early_ends = 0
        if slot.early_ends == 0:
            slot.early_ends = 1
            return [Note(text, is_error=True), self._start(slot, now)]
        pause = min(_FIRST_PAUSE * 2 ** (slot.early_ends - 1), _LONGEST_PAUSE)
        slot.early_ends += 1
        slot.due = now + pause
        text += f" soon after its start; the next one starts in {pause:g} s"
        return [Note(text, is_error=True)]

    def _go_on_replacing(self, now: float) -> list[Action]:
        actions: list[Action] = []
        while self._to_replace and all(each.successor is None for each in self._slots):
            slot = self._to_replace.pop(0)
            if slot.worker is None:
                slot.early_ends = 0
                actions.append(self._start(slot, now))  # without the rest of its pause
            else:
                slot.successor = self._new(slot, now)
                actions.append(Start(slot.successor, slot.number))
        return actions

    def _drain(self, number: int) -> Drain:
        self.workers[number].phase = Phase.DRAINING
        return Drain(number)

    def _finish(self) -> list[Action]:
        self.stage = Stage.ENDED
        return [Finish(self._code)]

    def _start(self, slot: _Slot, now: float) -> Start:
        slot.due = inf
        slot.worker = self._new(slot, now)
        return Start(slot.worker, slot.number)

    def _new(self, slot: _Slot, now: float) -> int:
        number, self._next = self._next, self._next + 1
        self.workers[number] = Worker(number, slot.number, now)
        return number


def _ending(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
