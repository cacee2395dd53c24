"""The parent of workers: it does what the table decides."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack, suppress
from math import inf
from typing import Final, Protocol

import attrs
import trio

from ...logs import Log
from ...transports import LinkListener
from ...transports.handing import Hand
from .doors import Door, accept
from .lines import Lines
from .table import Action, Drain, Finish, Kill, Note, Phase, Stage, Start, Table

__all__ = ["READY", "READY_SECONDS", "Child", "Parent", "Spawn"]

logger = Log("roam_trio.workers")

READY: Final = b"R"
"""The message of a worker that serves, for its parent."""

READY_SECONDS: Final = 60.0
"""Time for a worker to get ready, after which it is killed: until its successor is
ready or has ended, no other worker is replaced."""

_MARGIN: Final = 5.0
"""Number of seconds beyond the grace after which a worker is killed that drains."""

_BUSY_SECONDS: Final = 0.01
"""Pause before a connection is offered again that all workers were too busy to take."""

_LAST_LINES_SECONDS: Final = 1.0
"""Time for the last lines of a worker that has ended, in case another process still has
its standard output."""

_FIRST_CLIENTS_SECONDS: Final = 5.0
"""Time after the first worker is ready, for the others, before clients are accepted."""

_ENDING_SECONDS: Final = 0.2
"""Time to see that a worker has ended which takes no more connections."""


class Child(Protocol):
    """The process of a worker; a `trio.Process` with its pipes is one."""

    async def wait(self) -> int:
        """Wait for its end, and return its exit code."""
        ...

    def terminate(self) -> None:
        """Tell it to drain, and to end."""
        ...

    def kill(self) -> None:
        """End it at once."""
        ...

    def output(self) -> trio.abc.ReceiveStream:
        """Return what it writes."""
        ...


Spawn = Callable[[Start, Sequence[socket.socket], socket.socket], Awaitable[Child]]
"""Starts the process of a worker.

It gets the ends of the worker: of the sockets over which connections are passed, one
for each door, and of the one over which it says that it is ready. The caller closes
its own copies.

Raises:
    OSError: it cannot be started.
"""


@attrs.define
class _Running:
    """A worker whose process runs.

    Attributes:
        child: its process.
        hands: pass connections to it, one for each door.
        control: the parent's end of the other socket.
    """

    child: Child
    hands: list[Hand]
    control: socket.socket

    def close(self) -> None:
        """Let go of the sockets; it is told that its parent wants nothing more."""
        for hand in self.hands:
            hand.close()
        self.control.close()


class Parent:
    """Accepts connections, and keeps workers that serve them.

    Args:
        table: decides.
        doors: where connections are accepted.
        spawn: starts workers.
        lines_of: makes the log of a worker, given the number of its slot.
        grace: number of seconds that a worker has to drain.

    Attributes:
        is_up: set when clients are accepted.
        are_all_up: set when all have been ready at a time.
        accepts_no_more: set when it drains and the listeners are not used any more.
    """

    def __init__(
        self,
        table: Table,
        doors: Sequence[Door],
        spawn: Spawn,
        lines_of: Callable[[int], Lines],
        grace: float,
    ) -> None:
        self.is_up = trio.Event()
        self.are_all_up = trio.Event()
        self.accepts_no_more = trio.Event()
        self._table = table
        self._doors = doors
        self._spawn = spawn
        self._lines_of = lines_of
        self._grace = grace
        self._running: dict[int, _Running] = {}
        self._changed = trio.Event()
        self._accepting = trio.CancelScope()
        self._nursery: trio.Nursery | None = None
        self._code = 0
        self._is_killing = False

    async def run(self) -> int:
        """Keep the workers until the end, and return the exit code."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self._start_in_time)
            self._do(self._table.begin(trio.current_time()))
            with self._accepting:
                await self._wait_for_all()
                async with trio.open_nursery() as accepting:
                    for number, door in enumerate(self._doors):
                        for listener in door.listeners:
                            accepting.start_soon(self._accept, number, door, listener)
            self.accepts_no_more.set()
        return self._code

    @property
    def next_number(self) -> int:
        """The number of the next worker."""
        return self._table.next_number

    def replace(self) -> None:
        """Replace the workers, one by one."""
        self._do(self._table.replace(trio.current_time()))

    def drain(self) -> None:
        """Accept no more connections, and end when all workers have drained."""
        self._accepting.cancel()
        self._do(self._table.drain())

    def kill(self) -> None:
        """End all workers at once, after `drain`."""
        self._is_killing = True
        self._do(self._table.kill())

    # ------------------------------------------------ what the table decides

    def _do(self, actions: Sequence[Action]) -> None:
        assert self._nursery is not None
        for action in actions:
            match action:
                case Start():
                    self._nursery.start_soon(self._run_worker, action)
                case Drain(number):
                    self._nursery.start_soon(self._drain_worker, number)
                case Kill(number):
                    if number in self._running:
                        self._running[number].child.kill()
                case Note(text, is_error):
                    (logger.error if is_error else logger.info)("%s", text)
                case Finish(code):
                    self._code = code
                    self._nursery.cancel_scope.cancel()
        if self._table.is_full:
            self.are_all_up.set()
        changed, self._changed = self._changed, trio.Event()
        changed.set()

    async def _start_in_time(self) -> None:
        """Start workers whose pause is over."""
        while True:
            with trio.CancelScope(deadline=self._table.next_due):
                await self._changed.wait()
            self._do(self._table.due(trio.current_time()))

    async def _run_worker(self, start: Start) -> None:
        code = 1
        try:
            running = await self._started(start)
        except OSError as error:
            logger.error("worker %d cannot be started: %s", start.slot, error)
        else:
            try:
                code = await self._watch(start, running)
            finally:
                del self._running[start.worker]
                running.close()
        now = trio.current_time()
        self._do(self._table.has_ended(start.worker, code, now))

    async def _started(self, start: Start) -> _Running:
        with ExitStack() as theirs, ExitStack() as ours:
            hands, ends = list[Hand](), list[socket.socket]()
            for door in self._doors:
                near, far = socket.socketpair()
                ends.append(theirs.enter_context(far))
                hands.append(Hand(near, door.url))
                ours.callback(hands[-1].close)
            control, far = socket.socketpair()
            ours.callback(control.close)
            theirs.enter_context(far)
            control.setblocking(False)
            child = await self._spawn(start, ends, far)
            ours.pop_all()
        running = self._running[start.worker] = _Running(child, hands, control)
        return running

    async def _watch(self, start: Start, running: _Running) -> int:
        """Follow a worker to its end, and return its exit code."""
        async with trio.open_nursery() as watching:
            log = trio.Event()
            watching.start_soon(self._log, start, running.child.output(), log)
            watching.start_soon(self._await_ready, start, running)
            for door, hand in enumerate(running.hands):
                watching.start_soon(self._count, start, door, hand, running.child)
            if self._is_killing:
                running.child.kill()
            if self._table.workers[start.worker].phase is Phase.DRAINING:
                watching.start_soon(self._drain_worker, start.worker)
            code = await running.child.wait()
            with trio.move_on_after(_LAST_LINES_SECONDS):
                await log.wait()
            watching.cancel_scope.cancel()
        return code

    async def _log(
        self, start: Start, output: trio.abc.ReceiveStream, is_over: trio.Event
    ) -> None:
        lines = self._lines_of(start.slot)
        async with output:
            try:
                async for data in output:
                    lines.feed(data)
            finally:
                lines.end()
                is_over.set()

    async def _await_ready(self, start: Start, running: _Running) -> None:
        with trio.move_on_after(READY_SECONDS) as bound:
            await trio.lowlevel.wait_readable(running.control)
        if bound.cancelled_caught:
            slot, seconds = start.slot, READY_SECONDS
            logger.error("worker %d was not ready within %g s", slot, seconds)
            running.child.kill()
            return
        with suppress(ConnectionError):
            if running.control.recv(1) == READY:
                now = trio.current_time()
                self._do(self._table.is_ready(start.worker, now))

    async def _count(self, start: Start, door: int, hand: Hand, child: Child) -> None:
        """Count the connections with which a worker has finished."""
        try:
            while True:
                self._table.are_over(start.worker, await hand.over())
        except trio.EndOfChannel:
            assert self._nursery is not None
            for connection in hand.left():
                self._nursery.start_soon(self._give, door, connection)
        with trio.move_on_after(_ENDING_SECONDS):
            await child.wait()
            return
        now = trio.current_time()
        self._do(self._table.takes_no_more(start.worker, now))

    async def _drain_worker(self, number: int) -> None:
        running = self._running.get(number)
        if running is None:
            return  # it starts only now, and sees then that it is to drain
        for hand in running.hands:
            hand.finish()
        running.child.terminate()
        with trio.move_on_after(self._grace + _MARGIN):
            await running.child.wait()
            return
        logger.error("a worker did not end within %g s", self._grace + _MARGIN)
        running.child.kill()

    # ------------------------------------------------ connections

    async def _wait_for_all(self) -> None:
        """Wait until all workers are ready, so that the first one does not get all
        clients that have waited."""
        while not self._table.by_load():
            await self._changed.wait()
        with trio.move_on_after(_FIRST_CLIENTS_SECONDS):
            await self.are_all_up.wait()
        self.is_up.set()

    async def _accept(self, number: int, door: Door, listener: LinkListener) -> None:
        while True:
            # Without a worker, clients wait in the queue of the system.
            while not self._table.by_load():
                await self._changed.wait()
            await self._give(number, await accept(listener, door.url))

    async def _give(self, door: int, connection: socket.socket) -> None:
        """Pass a connection to the worker with the fewest."""
        while True:
            for worker in self._table.by_load():
                running = self._running[worker.number]
                try:
                    running.hands[door].give(connection)
                except (trio.WouldBlock, OSError):
                    continue
                self._table.has_given(worker)
                return
            if self._table.stage is Stage.ENDING:
                connection.close()  # no worker takes it
                return
            try:
                pause = _BUSY_SECONDS if self._table.by_load() else inf
                with trio.move_on_after(pause):
                    await self._changed.wait()
            except BaseException:
                connection.close()  # the parent ends
                raise
