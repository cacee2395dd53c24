"""Two sessions on a `Wire`, and what can be done to them: for the state machine.

Every action is a plain function that may start a task. `World.check` holds at any
moment; `World.check_agreement` when nothing is under way any more.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Protocol, TypeVar

import attrs
import trio
from trio.testing import wait_all_tasks_blocked

from roam_trio import (
    AcceptedConnection,
    CallCancelled,
    ConnectionHandle,
    ConnectionLost,
    ConnectionPhase,
    ConnectionSettings,
    Credit,
    Limits,
    Metadata,
    Parity,
    Rx,
    RxClosed,
    RxConnectionLost,
    RxReset,
    RxUnbound,
    Session,
    SessionProtocolError,
    SessionRejected,
    Tx,
    TxClosed,
    TxConnectionLost,
    TxReset,
    TxUnbound,
    Unavailable,
    acceptor,
    channel,
    client,
    dispatcher,
    initiator,
    service,
    u32,
)
from roam_trio.session.channel_in import IncomingChannel
from roam_trio.session.channel_out import OutgoingChannel
from roam_trio.session.connection_table import Phase
from roam_trio.session.statistics import ConnectionStatistics

from .running import Task, connections_in
from .wire import LEFT, RIGHT, Wire

__all__ = ["Call", "Decision", "End", "Held", "Open", "Opening", "Operation", "World"]

T = TypeVar("T")

LIMITS = Limits(connections=4, pending_opens=2)
MOST_REQUESTS = 2
EVERYTHING = 1_000_000


@service
class Play(Protocol):
    async def hold(self, key: u32) -> u32:
        """Answer when told to."""
        ...

    async def stream(
        self,
        key: u32,
        items: Annotated[Rx[u32], Credit(2)],
        output: Annotated[Tx[u32], Credit(3)],
    ) -> u32: ...

    async def lockstep(
        self,
        key: u32,
        items: Annotated[Rx[u32], Credit(0)],
        output: Annotated[Tx[u32], Credit(0)],
    ) -> u32: ...


class Refused(Exception):
    """What fails because it was told to."""


@attrs.define(eq=False)
class Open:
    """A connection, as one of its two sides has it."""

    world: World
    side: int
    handle: ConnectionHandle
    has_cancelled_calls: bool = False

    @property
    def was_disturbed(self) -> bool:
        """Return True if anybody has done anything that may end it."""
        world, number = self.world, self.handle.connection_id
        return (
            world.was_ended
            or number in world.disturbed
            or world.wire.watch.is_closed(number)
        )


@attrs.define(eq=False)
class Opening:
    """A connection that a side asks for."""

    task: Task[None]
    is_cancelled: bool = False

    def cancel(self) -> None:
        self.is_cancelled = True
        self.task.cancel()


@attrs.define(eq=False)
class Decision:
    """An acceptor that waits to be told whether to accept."""

    how: str = ""
    told: trio.Event = attrs.Factory(trio.Event)

    def tell(self, how: str) -> None:
        self.how = how
        self.told.set()


@attrs.define(eq=False)
class Call:
    """A call, by whom it was made, and what became of it."""

    open: Open
    key: int
    task: Task[int] | None = None
    is_cancelled: bool = False
    times_handled: int = 0
    how: str = ""

    @property
    def is_done(self) -> bool:
        assert self.task is not None
        return self.task.is_done

    def cancel(self) -> None:
        assert self.task is not None
        self.is_cancelled = self.open.has_cancelled_calls = True
        self.task.cancel()

    def check(self) -> None:
        """It was handled once at most, and ended as it had to."""
        task = self.task
        assert task is not None
        assert self.times_handled <= 1
        if not task.is_done:
            return
        if task.was_cancelled:
            assert self.is_cancelled
        elif task.error is None:
            assert task._results == [self.key]
            assert self.how == "return"
        elif isinstance(task.error, CallCancelled):
            # A session that is being shut down refuses new calls like this.
            assert self.how == "fail" or self.open.world.was_ended
        elif isinstance(task.error, ConnectionLost):
            assert self.open.was_disturbed, task.error
        else:
            raise task.error


@attrs.define(eq=False)
class Held:
    """A handler that waits to be told how to end."""

    call: Call
    told: trio.Event = attrs.Factory(trio.Event)

    def tell(self, how: str) -> None:
        self.call.how = how
        self.told.set()


@attrs.define(eq=False)
class Pair:
    """What has gone into a channel, and what has come out of it."""

    sent: list[int] = attrs.Factory(list[int])
    received: list[int] = attrs.Factory(list[int])

    def check(self) -> None:
        """Nothing is lost on the way, doubled, or overtaken."""
        assert self.received == self.sent[: len(self.received)]


@attrs.define(eq=False)
class End:
    """An end of a channel that a side holds."""

    end: Tx[int] | Rx[int]
    pair: Pair
    open: Open

    async def move(self, number: int) -> None:
        """Send the number, or receive one."""
        if isinstance(self.end, Tx):
            await self.end.send(number)
            self.pair.sent.append(number)
        else:
            with self._complete_at_the_end():
                self.pair.received.append(await self.end.recv())

    def drain(self) -> None:
        """Receive what has come."""
        assert isinstance(self.end, Rx)
        with (
            contextlib.suppress(trio.WouldBlock, *LOST, RxClosed, RxReset, RxUnbound),
            self._complete_at_the_end(),
        ):
            while True:
                self.pair.received.append(self.end.recv_nowait())

    @contextlib.contextmanager
    def _complete_at_the_end(self) -> Any:
        try:
            yield
        except trio.EndOfChannel:
            assert self.pair.received == self.pair.sent

    def grant(self) -> None:
        if isinstance(self.end, Rx):
            with contextlib.suppress(RxUnbound):
                self.end.grant(1)

    def finish(self) -> None:
        if isinstance(self.end, Tx):
            self.end.close()
        else:
            self.end.reset()


LOST = (TxConnectionLost, RxConnectionLost)


@attrs.define(eq=False)
class Operation:
    """A send or a receive. It does not keep its end, which may be dropped."""

    open: Open
    task: Task[None]

    def cancel(self) -> None:
        self.task.cancel()

    def check(self) -> None:
        """It has failed only as it may."""
        match self.task.error:
            case None | TxClosed() | TxReset() | RxClosed() | RxReset():
                pass
            case TxConnectionLost() | RxConnectionLost() as error:
                assert self.open.was_disturbed, error
            case TxUnbound() | RxUnbound() as error:
                assert self.open.was_disturbed or self.open.has_cancelled_calls, error
            case error:
                raise error


class Side:
    """What answers on one side: the acceptor of its session, and every handler."""

    def __init__(self, world: World, side: int) -> None:
        self._world = world
        self._side = side
        self.handler = dispatcher(Play, self)

    async def accept(
        self, connection_id: int, settings: ConnectionSettings, metadata: Metadata
    ) -> AcceptedConnection | Metadata:
        decision = Decision()
        self._world.decisions.append(decision)
        try:
            await decision.told.wait()
        finally:
            self._world.decisions.remove(decision)
        if decision.how == "reject":
            return Metadata.of({"told": "to"})
        if decision.how == "fail":
            raise Refused
        return AcceptedConnection(
            handler=self.handler, max_concurrent_requests=MOST_REQUESTS, setup=self._add
        )

    async def _add(self, handle: ConnectionHandle) -> None:
        self._world.add(self._side, handle)

    async def hold(self, key: int) -> int:
        return await self._world.hold(key)

    async def stream(self, key: int, items: Rx[int], output: Tx[int]) -> int:
        self._world.take_up(key, items, output)
        del items, output
        return await self._world.hold(key)

    lockstep = stream


class World:
    """Both sessions, and everything that goes on.

    Args:
        nursery: for all of it.
        buffer: see `Wire`.
        strict: whether the sessions are.
    """

    def __init__(self, nursery: trio.Nursery, buffer: int, *, strict: bool) -> None:
        self.wire = Wire(buffer)
        self.was_ended = False
        self.disturbed: set[int] = set()
        self.opens: list[Open] = []
        self.openings: list[Opening] = []
        self.decisions: list[Decision] = []
        self.calls: dict[int, Call] = {}
        self.held: list[Held] = []
        self.ends: list[End] = []
        self.operations: list[Operation] = []
        self._nursery = nursery
        self._sides = (Side(self, LEFT), Side(self, RIGHT))
        self._sessions: list[Session] = []
        self._shutdowns: list[Task[None]] = []
        self._pairs: dict[int, tuple[Pair, Pair]] = {}
        self._keys = 0
        self._log = Log()
        self._strict = strict

    # ------------------------------------------------------------ begin and end

    async def begin(self) -> None:
        """Shake hands."""
        starts = [
            Task(
                self._nursery,
                self._nursery.start,
                build(
                    self.wire.links[side],
                    on_connection=self._sides[side],
                    max_concurrent_requests=MOST_REQUESTS,
                    limits=LIMITS,
                    strict=self._strict,
                ).run,
                self._sides[side].handler,
            )
            for side, build in ((LEFT, initiator), (RIGHT, acceptor))
        ]
        await self.settle()
        for side, start in enumerate(starts):
            session: Session = await start.result()
            self._sessions.append(session)
            self.add(side, session.root)

    async def finish(self) -> None:
        """Let everything come to its end, and check that nothing is left."""
        await self.settle()
        self.check_agreement()
        while self.held or self.decisions:
            for held in self.held:
                held.tell("return")
            for decision in self.decisions:
                decision.tell("reject")
            await self.settle()
        for end in self.ends:
            if isinstance(end.end, Tx):
                end.finish()
        await self.settle()
        for end in self.ends:
            if isinstance(end.end, Rx):
                end.drain()
                end.finish()
        await self.settle()
        self.check_agreement()
        assert all(call.is_done for call in self.calls.values())
        if not self.was_ended:
            self._check_idle()
        self.cut()
        await self.settle()
        assert all(opening.task.is_done for opening in self.openings)
        assert all(operation.task.is_done for operation in self.operations)
        assert all(task.is_done for task in self._shutdowns)
        assert not self._nursery.child_tasks

    def close(self) -> None:
        """Stop watching the log."""
        self._log.close()

    # ------------------------------------------------------------ actions

    def open(self, side: int, parity: Parity | None) -> None:
        task = Task(self._nursery, self._open, side, parity)
        self.openings.append(Opening(task))

    async def _open(self, side: int, parity: Parity | None) -> None:
        handle = await self._sessions[side].open_connection(
            self._sides[side].handler,
            max_concurrent_requests=MOST_REQUESTS,
            parity=parity,
        )
        self.add(side, handle)

    def add(self, side: int, handle: ConnectionHandle) -> None:
        self.opens.append(Open(self, side, handle))

    def close_connection(self, open: Open) -> None:
        if open.handle.connection_id:
            self.disturbed.add(open.handle.connection_id)
            open.handle.close()

    def give_up(self, open: Open) -> None:
        """Close the one caller of a side."""
        if open.handle.connection_id:
            self.disturbed.add(open.handle.connection_id)
        else:
            self.was_ended = True
        open.handle.caller.close()

    def call(self, open: Open, method: str) -> None:
        self._keys += 1
        key = self._keys
        call = self.calls[key] = Call(open, key)
        play = client(Play, open.handle.caller)
        if method == "hold":
            call.task = Task(self._nursery, play.hold, key)
            return
        down, up = self._pairs[key] = Pair(), Pair()
        sending, taken = channel[int]()
        given, receiving = channel[int]()
        self.ends += (End(sending, down, open), End(receiving, up, open))
        method_of_play = getattr(play, method)
        call.task = Task(
            self._nursery, _without_frames, method_of_play, key, taken, given
        )

    async def hold(self, key: int) -> int:
        call = self.calls[key]
        call.times_handled += 1
        held = Held(call)
        self.held.append(held)
        try:
            await held.told.wait()
        finally:
            self.held.remove(held)
        if call.how == "fail":
            raise Refused
        return key

    def take_up(self, key: int, items: Rx[int], output: Tx[int]) -> None:
        down, up = self._pairs[key]
        open = self.calls[key].open
        self.ends += (End(items, down, open), End(output, up, open))

    def move(self, end: End) -> None:
        self._keys += 1
        task = Task(self._nursery, end.move, self._keys)
        self.operations.append(Operation(end.open, task))

    def move_all(self) -> None:
        for end in self.ends:
            self.move(end)

    def drop(self, end: End) -> None:
        self.ends.remove(end)

    @property
    def running(self) -> list[Call]:
        """The calls that have not ended."""
        return [call for call in self.calls.values() if not call.is_done]

    def deliver(self, side: int, count: int) -> None:
        self.wire.deliver(side, count)

    def shut_down(self, side: int, grace: float) -> None:
        self.was_ended = True
        session = self._sessions[side]
        self._shutdowns.append(Task(self._nursery, session.shutdown, grace))

    def cut(self) -> None:
        self.was_ended = True
        self.wire.cut()

    async def settle(self) -> None:
        """Deliver everything."""
        moved = 1
        while moved:
            await wait_all_tasks_blocked()
            moved = sum(self.wire.deliver(side, EVERYTHING) for side in (LEFT, RIGHT))

    # ------------------------------------------------------------ what has to hold

    def check(self) -> None:
        """Nothing has gone wrong so far."""
        self._log.check()
        for down, up in self._pairs.values():
            down.check()
            up.check()
        for call in self.calls.values():
            call.check()
        for operation in self.operations:
            operation.check()
        for opening in self.openings:
            self._check_opening(opening)
        for session in self._sessions:
            assert not isinstance(session.ended_because, SessionProtocolError)
            assert self.was_ended or session.ended_because is None
        for open in self.opens:
            assert open.was_disturbed or open.handle.phase is ConnectionPhase.OPEN
        self.operations = [one for one in self.operations if not one.task.is_done]
        self.openings = [one for one in self.openings if not one.task.is_done]

    def _check_opening(self, opening: Opening) -> None:
        match opening.task.error:
            case None:
                assert opening.is_cancelled or not opening.task.was_cancelled
            case SessionRejected() | ConnectionLost() | Unavailable():
                pass
            case error:
                raise error

    def check_agreement(self) -> None:
        """Both sides have the same open, when nothing is under way."""
        self.check()
        if self.was_ended:
            return
        left, right = (_view(session) for session in self._sessions)
        assert left.opening == right.deciding
        assert left.deciding == right.opening
        assert left.connections.keys() == right.connections.keys()
        for side, view in ((LEFT, left), (RIGHT, right)):
            known = {o.handle.connection_id for o in self.opens if o.side == side}
            assert view.connections.keys() <= known, "open, and nobody has it"
        for number, of_left in left.connections.items():
            of_right = right.connections[number]
            assert _calling(of_left) == _answering(of_right)
            assert _calling(of_right) == _answering(of_left)
            assert _channels(of_left, "out") == _channels(of_right, "in")
            assert _channels(of_right, "out") == _channels(of_left, "in")
            unanswered = self.wire.watch.unanswered(number)
            assert unanswered == {
                **dict.fromkeys(_calling(of_left), LEFT),
                **dict.fromkeys(_calling(of_right), RIGHT),
            }
        for held in self.held:
            assert held.call.task is not None
            assert not held.call.task.was_cancelled, "a handler nobody has cancelled"
        for session in self._sessions:
            _check_nobody_waits_in_vain(session)
            statistics = session.statistics()
            assert statistics.messages_kept == 0
            assert statistics.sent.permits == 0
            assert statistics.sent.tasks_waiting == 0

    def _check_idle(self) -> None:
        for session in self._sessions:
            for connection in session.statistics().connections:
                assert not connection.calling
                assert not connection.answering
                assert not connection.channels


async def _without_frames(function: Callable[..., Awaitable[T]], *args: object) -> T:
    """Await a function whose error, which is kept, must not keep its arguments."""
    awaitable = function(*args)
    del args
    try:
        return await awaitable
    except Exception as error:
        raise error.with_traceback(None) from error.__cause__


def _check_nobody_waits_in_vain(session: Session) -> None:
    """Whoever waits has what to wait for."""
    connections = session._run.connections
    assert connections is not None
    for run in connections.runs.values():
        for entry in run.channels.entries.values():
            sending, receiving = entry.outgoing, entry.incoming
            if isinstance(sending, OutgoingChannel):
                assert not (sending._waiting and sending.credit)
            if isinstance(receiving, IncomingChannel):
                assert not (receiving._waiting and receiving._queue)
        requests = run.requests
        assert not requests._slots or len(requests.table.in_flight) == MOST_REQUESTS


@attrs.frozen
class _View:
    """What a side holds of its connections."""

    opening: set[int]
    deciding: set[int]
    connections: dict[int, ConnectionStatistics]


def _view(session: Session) -> _View:
    return _View(
        connections_in(session, Phase.OPENING),
        connections_in(session, Phase.DECIDING, Phase.WITHDRAWN),
        {one.connection_id: one for one in session.statistics().connections},
    )


def _calling(connection: ConnectionStatistics) -> set[int]:
    return {call.request_id for call in connection.calling}


def _answering(connection: ConnectionStatistics) -> set[int]:
    return {call.request_id for call in connection.answering}


def _channels(connection: ConnectionStatistics, way: str) -> dict[int, int | None]:
    """The credit that is left, by the number of the channel."""
    return {
        channel.channel_id: channel.credit
        for channel in connection.channels
        if channel.direction == way
    }


class Log(logging.Handler):
    """What is logged as gone wrong, but for what was told to."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._records: list[logging.LogRecord] = []
        self._logger = logging.getLogger("roam_trio")
        self._logger.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        if not (record.exc_info and isinstance(record.exc_info[1], Refused)):
            self._records.append(record)

    def check(self) -> None:
        logged = [record.getMessage() for record in self._records]
        assert not logged, logged

    def close(self) -> None:
        self._logger.removeHandler(self)
        super().close()
