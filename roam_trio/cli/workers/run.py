"""`serve --workers`: the parent as a program, with its signals."""

from __future__ import annotations

import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from typing import Final

import trio

from ...endpoints.machine import default_memory
from ..log_format import LogFormat, begin_log
from ..output import Output
from ..server_options import Serving
from ..serving_until_signal import show_urls
from ..until_signal import STOP_SIGNALS, die_of_the_next_signal
from .doors import Door, open_doors
from .lines import Lines
from .log_stream import LogStream
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
    stream = LogStream()
    begin_log(*log, stream)
    given.context()
    estate = inherited_estate()
    doors = await open_doors(given.urls, estate.sockets if estate else None)
    memory = default_memory() // workers
    directory = _directory_for(given, estate)
    parent = Parent(
        Table(workers, first=estate.first if estate else 1),
        doors,
        Spawner(handlers, given, log, memory, directory),
        lambda slot: Lines(slot, log[0], stream.write),
        given.grace,
    )
    program = _Program(parent, doors, directory, given.grace, estate, stream)
    with trio.open_signal_receiver(*STOP_SIGNALS, _REPLACE, _HAND_OVER) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(program.obey, signals, nursery)
            nursery.start_soon(_show, parent, doors, Output(as_json=as_json))
            nursery.start_soon(program.tell_when_up)
            nursery.start_soon(program.close_doors_when_draining)
            try:
                code = await parent.run()
            finally:
                program.close()
            nursery.cancel_scope.cancel()
    return code or program.code


# On Windows there are no workers, and these are signals that do not come.
_REPLACE: Final[int] = getattr(signal, "SIGHUP", signal.SIGTERM)
_HAND_OVER: Final[int] = getattr(signal, "SIGUSR2", signal.SIGTERM)


def _directory_for(given: Serving, estate: Estate | None) -> str:
    """Return the directory of the private sockets, which only its owner can enter;
    empty if no session is kept."""
    if estate is not None:
        return estate.directory
    return tempfile.mkdtemp(prefix="roam-trio-") if given.resume else ""


async def _show(parent: Parent, doors: Sequence[Door], output: Output) -> None:
    await parent.is_up.wait()
    await show_urls([door.url for door in doors], output)


class _Program:
    """A parent that obeys signals.

    Args:
        parent: the parent.
        doors: where it accepts connections.
        directory: the directory of the private sockets; empty if there is none.
        grace: number of seconds that its workers have to drain.
        estate: what it inherits; None if it inherits nothing.
        log: tells what it does.

    Attributes:
        code: the exit code if a second signal has ended it, else 0.
    """

    def __init__(
        self,
        parent: Parent,
        doors: Sequence[Door],
        directory: str,
        grace: float,
        estate: Estate | None,
        log: LogStream,
    ) -> None:
        self._directory = directory
        self.code = 0
        self._parent = parent
        self._doors = doors
        self._grace = grace
        self._estate = estate
        self._log = log
        self._is_ending = False
        self._handing_over: trio.CancelScope | None = None
        self._successor: trio.Process | None = None
        # Until it has told the old parent, the files are those of the old one.
        self._owns_files = estate is None

    async def obey(self, signals: AsyncIterator[int], nursery: trio.Nursery) -> None:
        """Do what each signal stands for."""
        async for number in signals:
            if number in STOP_SIGNALS:
                self._stop(number)
            elif number == _REPLACE:
                self._parent.replace()
            elif self._handing_over is None and not self._is_ending:
                self._handing_over = trio.CancelScope()
                nursery.start_soon(self._hand_over, self._handing_over)

    def _stop(self, number: int) -> None:
        if not self._is_ending:
            self._is_ending = True
            name = signal.Signals(number).name
            self._log.write(f"{name}: shutting down within {self._grace:g} s\n")
            if self._handing_over is not None:
                self._handing_over.cancel()  # or the new parent would stay
            self._parent.drain()
            return
        self.code = 128 + number
        die_of_the_next_signal()
        self._parent.kill()

    async def _hand_over(self, scope: trio.CancelScope) -> None:
        number = self._parent.next_number
        with scope:
            self._successor = await hand_over(
                self._doors, number, self._directory, sys.orig_argv[1:]
            )
        self._handing_over = None
        if self._successor is not None:
            self._log.write("a new parent has taken over; shutting down\n")
            self._is_ending = True
            self._owns_files = False
            self._parent.drain()

    async def tell_when_up(self) -> None:
        """Tell the old parent, if there is one, that this one takes over."""
        await self._parent.are_all_up.wait()
        if self._estate is not None:
            self._estate.tell()
            self._owns_files = True

    async def close_doors_when_draining(self) -> None:
        """Listen no longer once the parent drains: clients that connect then would
        wait for an answer until it ends."""
        await self._parent.accepts_no_more.wait()
        self._close_doors()

    def close(self) -> None:
        """Listen no longer and remove the files, unless another parent needs them."""
        self._close_doors()
        if self._owns_files and self._directory:
            shutil.rmtree(self._directory, ignore_errors=True)

    def _close_doors(self) -> None:
        if self._owns_files:
            for door in self._doors:
                door.close()
