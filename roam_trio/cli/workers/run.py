"""`serve --workers`: the parent as a program, with its signals."""

from __future__ import annotations

import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress

import trio

from ...endpoints.machine import default_memory
from ..log_format import LogFormat, begin_log
from ..output import Output
from ..server_options import Serving
from ..serving_until_signal import show_urls
from ..until_signal import STOP_SIGNALS, die_of_the_next_signal
from .doors import Door, open_doors
from .lines import Lines
from .parent import Parent
from .spawning import Spawner
from .table import Table
from .taking_over import Estate, hand_over, inherited_estate

__all__ = ["run_parent"]


async def run_parent(
    handlers: str,
    given: Serving,
    workers: int,
    log: tuple[LogFormat, str] = (LogFormat.TEXT, "info"),
    *,
    as_json: bool = False,
) -> int:
    """Serve with several workers until a signal comes, and return the exit code.

    Args:
        handlers: the handlers, as ``module:name``.
        given: the options of the servers.
        workers: number of workers.
        log: form and level of the log.
        as_json: print the URLs as JSON, also to a terminal.
    """
    begin_log(*log)
    given.context()
    estate = inherited_estate()
    doors = await open_doors(given.urls, estate.sockets if estate else None)
    memory = default_memory() // workers
    directory = _directory_for(given, estate)
    parent = Parent(
        Table(workers, first=estate.first if estate else 1),
        doors,
        Spawner(handlers, given, log, memory, directory),
        lambda slot: Lines(slot, log[0], _write),
        given.grace,
    )
    program = _Program(parent, doors, directory, given.grace)
    with trio.open_signal_receiver(*_SIGNALS) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(program.obey, signals, nursery)
            nursery.start_soon(_show, parent, doors, Output(as_json=as_json))
            if estate is not None:
                nursery.start_soon(_tell_when_up, parent, estate)
            try:
                code = await parent.run()
            finally:
                program.close()
            nursery.cancel_scope.cancel()
    return code or program.code


def _write(line: str) -> None:
    # As with `logging`, the server goes on if its log cannot be written.
    with suppress(OSError, ValueError, AttributeError):  # closed, or None
        sys.stderr.write(line)


_SIGNALS = (*STOP_SIGNALS, signal.SIGHUP, signal.SIGUSR2)


def _directory_for(given: Serving, estate: Estate | None) -> str:
    """Return the directory of the private sockets, which only its owner can enter;
    empty if no session is kept."""
    if estate is not None:
        return estate.directory
    return tempfile.mkdtemp(prefix="roam-trio-") if given.resume else ""


async def _show(parent: Parent, doors: Sequence[Door], output: Output) -> None:
    await parent.is_up.wait()
    await show_urls([door.url for door in doors], output)


async def _tell_when_up(parent: Parent, estate: Estate) -> None:
    await parent.are_all_up.wait()
    estate.tell()


class _Program:
    """A parent that obeys signals.

    Attributes:
        code: the exit code if a second signal has ended it, else 0.
    """

    def __init__(
        self, parent: Parent, doors: Sequence[Door], directory: str, grace: float
    ) -> None:
        self._directory = directory
        self.code = 0
        self._parent = parent
        self._doors = doors
        self._grace = grace
        self._is_ending = False
        self._is_handing_over = False
        self._successor: trio.Process | None = None

    async def obey(self, signals: AsyncIterator[int], nursery: trio.Nursery) -> None:
        """Do what each signal stands for."""
        async for number in signals:
            if number in STOP_SIGNALS:
                self._stop(number)
            elif number == signal.SIGHUP:
                self._parent.replace()
            elif not self._is_handing_over:
                nursery.start_soon(self._hand_over)

    def _stop(self, number: int) -> None:
        if not self._is_ending:
            self._is_ending = True
            name = signal.Signals(number).name
            _write(f"{name}: shutting down within {self._grace:g} s\n")
            self._parent.drain()
            return
        self.code = 128 + number
        die_of_the_next_signal()
        self._parent.kill()

    async def _hand_over(self) -> None:
        self._is_handing_over = True
        number = self._parent.next_number
        self._successor = await hand_over(
            self._doors, number, self._directory, sys.orig_argv[1:]
        )
        self._is_handing_over = False
        if self._successor is not None:
            _write("a new parent has taken over; shutting down\n")
            self._is_ending = True
            self._parent.drain()

    def close(self) -> None:
        """Listen no longer and remove the files, unless a new parent needs them."""
        if self._successor is None:
            for door in self._doors:
                door.close()
            if self._directory:
                shutil.rmtree(self._directory, ignore_errors=True)
