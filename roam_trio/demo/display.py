"""Display of the demo's progress: a bar, or a log on other outputs."""

from __future__ import annotations

import errno
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NoReturn, Self

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TaskProgressColumn,
    TextColumn,
)

from .errors import OutputFailed

__all__ = ["Bars", "Display", "Log", "Output", "display_on", "show"]

LOG_SECONDS = 2.0
"""Seconds between log lines with the progress of a step."""


class Output(Console):
    """Standard output; a closed pipe is an error like any other."""

    def on_broken_pipe(self) -> NoReturn:
        raise BrokenPipeError(errno.EPIPE, "nobody reads it")


def show(output: Console, what: RenderableType) -> None:
    """Write to standard output.

    Raises:
        OutputFailed: it cannot be written to.
    """
    try:
        output.print(what, markup=False, highlight=False, soft_wrap=True)
    except OSError as error:
        # Otherwise the process would try to write the rest again at its end.
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), output.file.fileno())
        raise OutputFailed(f"standard output: {error.strerror}") from error


class Display(ABC):
    """Shows steps, one after another; use it with ``with``."""

    @abstractmethod
    def __enter__(self) -> Self: ...

    @abstractmethod
    def __exit__(self, *args: object) -> None: ...

    @abstractmethod
    def begin(self, title: str, total: int | None = None) -> None:
        """Begin a step; `total` is its amount of work, if known."""

    @abstractmethod
    def advance(self, amount: int) -> None:
        """Advance the step by `amount`."""

    @abstractmethod
    def finish(self) -> None:
        """Finish the step."""


def display_on(output: Console) -> Display:
    """Return bars on a terminal that supports them, otherwise a log."""
    if output.file.isatty() and not output.is_dumb_terminal:
        return Bars(output)
    return Log(output)


class Bars(Display):
    """A progress bar for each step."""

    def __init__(self, output: Console) -> None:
        self._progress = Progress(
            SpinnerColumn(finished_text=" "),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.elapsed:.1f} s"),
            console=output,
        )
        self._task = TaskID(0)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *args: object) -> None:
        self._progress.stop()

    def begin(self, title: str, total: int | None = None) -> None:
        self._task = self._progress.add_task(title, total=total)

    def advance(self, amount: int) -> None:
        self._progress.advance(self._task, amount)

    def finish(self) -> None:
        self._progress.update(self._task, total=1, completed=1)
        self._progress.stop_task(self._task)


class Log(Display):
    """A line at the beginning and the end of a step, and periodically in between."""

    def __init__(
        self, output: Console, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._output = output
        self._clock = clock
        self._title = ""
        self._total: int | None = None
        self._done = 0
        self._begun_at = self._said_at = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *args: object) -> None:
        pass

    def begin(self, title: str, total: int | None = None) -> None:
        self._title, self._total, self._done = title, total, 0
        self._begun_at = self._clock()
        self._say(title)

    def advance(self, amount: int) -> None:
        self._done += amount
        if self._clock() - self._said_at >= LOG_SECONDS:
            of_total = "" if self._total is None else f" of {self._total:,}"
            self._say(f"{self._title}: {self._done:,}{of_total}")

    def finish(self) -> None:
        self._say(f"{self._title}: done in {self._clock() - self._begun_at:.2f} s")

    def _say(self, line: str) -> None:
        self._said_at = self._clock()
        show(self._output, line)
