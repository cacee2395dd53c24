"""What every kind of world has: its time, its log, and its end."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence

import trio

from .broken import Broken
from .clockwork import Clockwork

__all__ = ["Planned", "Progress", "first_of", "until"]

LONGEST = 4000.0
"""Number of seconds in which everything has to come to its end: longer than any time
limit, and than what is planned takes with any pace."""


class Planned(Exception):
    """The failure of a handler that is planned."""


class Progress:
    """What has happened by now.

    Args:
        seed: that of the script.

    Attributes:
        log: what has happened, and when.
        figures: how much of what there was.
        broken: what has gone wrong first.
        nursery: for all of it; it is cancelled when something goes wrong.
    """

    nursery: trio.Nursery

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.log: list[tuple[object, ...]] = []
        self.figures: Counter[str] = Counter()
        self.broken: BaseException | None = None
        self.clockwork = Clockwork()

    def begin(self) -> None:
        """Begin to count the time."""
        self._began = trio.current_time()

    @property
    def seconds(self) -> float:
        """The time since the beginning."""
        return trio.current_time() - self._began

    def note(self, what: str, *args: object) -> None:
        """Put an event into the log."""
        self.log.append((self.seconds, what, *args))

    def broke(self, error: BaseException) -> None:
        """Something that has to hold does not: come to the end."""
        if self.broken is None:
            self.broken = error
            self.nursery.cancel_scope.cancel()

    def watch_log(self) -> _WatchedLog:
        """Return a context in which a failure that the package logs is one here."""
        return _WatchedLog(self.broke)

    def finish(self) -> None:
        """Count up, and raise what has gone wrong first, if anything has."""
        self.figures["events"] = len(self.log)
        self.figures["seconds"] = int(self.seconds)
        if self.broken is not None:
            raise self.broken


class _WatchedLog(logging.Handler):
    """Takes what is logged as failed for a failure, unless it is planned."""

    def __init__(self, broke: Callable[[BaseException], None]) -> None:
        super().__init__(logging.WARNING)
        self._broke = broke
        self._logger = logging.getLogger("roam_trio")

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            first = first_of(error)
            if not isinstance(first, Planned):
                self._broke(first)
        elif record.levelno >= logging.ERROR:
            self._broke(Broken("an error in the log", record.getMessage()))

    def __enter__(self) -> None:
        self._propagates, self._logger.propagate = self._logger.propagate, False
        self._logger.addHandler(self)

    def __exit__(self, *args: object) -> None:
        self._logger.removeHandler(self)
        self._logger.propagate = self._propagates


def first_of(error: BaseException) -> BaseException:
    """Return what has gone wrong first, out of groups."""
    while isinstance(error, BaseExceptionGroup):
        inner: Sequence[BaseException] = error.exceptions
        ours = [one for one in inner if not isinstance(one, trio.Cancelled)]
        error = (ours or inner)[0]
    return error


async def until(
    condition: Callable[[], bool],
    what: str,
    unended: Callable[[], object],
    longest: float = LONGEST,
) -> None:
    """Wait in ever longer steps, for `longest` seconds at most.

    Raises:
        Broken: the condition does not come true.
    """
    pause, waited = 0.25, 0.0
    while not condition():
        if waited > longest:
            raise Broken("something never ends", f"{what}: {unended()}")
        await trio.sleep(pause)
        waited += pause
        pause *= 2
