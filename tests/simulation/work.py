"""Calls and their handlers, which do as planned and check what comes of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Protocol

import attrs
import trio

from roam_trio import (
    CallCancelled,
    ConnectionLost,
    Credit,
    DeadlineExceeded,
    Fallible,
    HandlerFailed,
    Overloaded,
    RoamError,
    Rx,
    RxConnectionLost,
    RxReset,
    RxUnbound,
    Tx,
    TxConnectionLost,
    TxReset,
    TxUnbound,
    channel,
    client,
    current_call,
    open_call,
    service,
    u32,
)

from .broken import require
from .clockwork import TICK
from .progress import Planned
from .script import Plan, Setup

__all__ = ["Declared", "MadeCall", "Work", "Worker"]


@attrs.define
class Declared(Exception):
    """The error that the methods declare."""

    key: u32


@service
class Work(Protocol):
    async def do(self, key: u32, body: bytes) -> Fallible[bytes, Declared]: ...

    async def stream_0(
        self,
        key: u32,
        body: bytes,
        up: Annotated[Rx[bytes], Credit(0)],
        down: Annotated[Tx[bytes], Credit(0)],
    ) -> Fallible[bytes, Declared]: ...

    async def stream_2(
        self,
        key: u32,
        body: bytes,
        up: Annotated[Rx[bytes], Credit(2)],
        down: Annotated[Tx[bytes], Credit(2)],
    ) -> Fallible[bytes, Declared]: ...

    async def stream_16(
        self,
        key: u32,
        body: bytes,
        up: Annotated[Rx[bytes], Credit(16)],
        down: Annotated[Tx[bytes], Credit(16)],
    ) -> Fallible[bytes, Declared]: ...


def body_of(key: int, size: int) -> bytes:
    """Return the body of a call, which tells it from all others."""
    return b"%d " % key + bytes(size)


def answer_of(body: bytes) -> bytes:
    """Return the result of a call that returns."""
    return body[::-1]


@attrs.define(eq=False)
class Stream:
    """What has gone into a channel, what has come out, and how either end has ended.

    Attributes:
        tried: number of items that have been handed to the channel, whether or not
            they went out.
        sent: those that certainly did.
    """

    tried: int = 0
    sent: list[int] = attrs.Factory(list[int])
    received: list[int] = attrs.Factory(list[int])
    sender: str = ""
    receiver: str = ""

    async def send(self, tx: Tx[bytes], count: int, plan: Plan) -> None:
        """Send so many items, and close."""
        self.sender = "at work"
        try:
            for first in range(0, count, plan.together):
                if plan.pace:
                    await trio.sleep(plan.pace)
                numbers = range(first, min(first + plan.together, count))
                items = [number.to_bytes(2) + bytes(plan.size) for number in numbers]
                if len(items) > 1:
                    # Cancelled, it may have sent some of them.
                    self.tried += len(items)
                    await tx.send_many(items)
                else:
                    await tx.send(items[0])
                    self.tried += 1
                self.sent += numbers
            tx.close()
            self.sender = "closed"
        except (TxReset, TxConnectionLost, TxUnbound) as error:
            self.sender = type(error).__name__
        except trio.Cancelled:
            self.sender = "cancelled"
            raise

    async def receive(self, rx: Rx[bytes], most: int | None, plan: Plan) -> None:
        """Receive up to so many items, and reset the rest."""
        self.receiver = "at work"
        try:
            while most is None or len(self.received) < most:
                if plan.together > 1:
                    for item in await rx.recv_many(plan.together):
                        self.take(item)
                else:
                    self.take(await rx.recv())
            rx.reset()
            self.receiver = "reset"
        except trio.EndOfChannel:
            self.receiver = "ended"
            require(
                len(self.sent) <= len(self.received) <= self.tried,
                "items are missing at the end",
                self,
            )
        except (RxReset, RxConnectionLost, RxUnbound) as error:
            self.receiver = type(error).__name__
        except trio.Cancelled:
            self.receiver = "cancelled"
            raise

    def take(self, item: bytes) -> None:
        """Note an item."""
        number = int.from_bytes(item[:2])
        require(number == len(self.received), "items not in order and once", self)
        self.received.append(number)

    def check_whole(self) -> None:
        """Check a channel of which nothing was cut off."""
        require(
            self.sender in ("closed", "TxReset")
            and self.receiver in ("ended", "reset"),
            "a channel of a call that has returned was lost",
            self,
        )


class Place(Protocol):
    """The connection of a call, as its two sides have it."""

    @property
    def disturbances(self) -> Sequence[str]:
        """What was done that may end it."""
        ...

    @property
    def is_proxied(self) -> bool:
        """True if a proxy is on its way."""
        ...


@attrs.define(eq=False)
class MadeCall:
    """A call, and what has become of it.

    Attributes:
        key: its number.
        plan: the plan.
        place: its connection.
        setup: the setup of the world.
        because_of: the call whose handler makes it, if one does.
        times_handled: number of handlers that were started.
        handler: how its handler has ended.
        handled_by: the side that handles it.
        outcome: how it has ended for its caller.
        to_end_at: when it is cancelled.
    """

    key: int
    plan: Plan
    place: Place
    setup: Setup
    because_of: MadeCall | None = None
    times_handled: int = 0
    handler: str = ""
    outcome: str = ""
    to_end_at: float = math.inf
    scope: trio.CancelScope = attrs.Factory(trio.CancelScope)
    up: Stream = attrs.Factory(Stream)
    down: Stream = attrs.Factory(Stream)

    def __str__(self) -> str:
        return (
            f"call {self.key}: outcome {self.outcome or 'none'}, handler "
            f"{self.handler or 'none'} ({self.times_handled}), up {self.up}, down "
            f"{self.down}, disturbed by {list(self.place.disturbances)}"
        )

    @property
    def is_done(self) -> bool:
        return bool(self.outcome)

    def cancel(self) -> None:
        """Cancel it, as its caller."""
        self.to_end_at = min(self.to_end_at, trio.current_time())
        self.scope.cancel()

    async def make(self, work: Work) -> None:
        """Make the call, and check how it ends."""
        plan, outcome = self.plan, "cancelled"
        now = trio.current_time()
        limits = [one for one in (plan.patience, plan.deadline) if one is not None]
        self.to_end_at = min([self.to_end_at, *(now + one for one in limits)])
        try:
            with self.scope, trio.CancelScope(deadline=self.to_end_at):
                outcome = await self._result(work)
        except trio.Cancelled:
            outcome = "cancelled from outside"
            raise
        finally:
            require(not self.outcome, "a call has ended twice", self)
            self.outcome = outcome
        self.check()
        if outcome == "cancelled":
            self._check_stopped()

    def _check_stopped(self) -> None:
        """Check that nothing of a cancelled call is left, unless it took too long."""
        waited = trio.current_time() - self.to_end_at
        is_in_time = waited < self.setup.cancel_grace - TICK
        if is_in_time and not self.place.disturbances:
            require(
                bool(self.handler) == bool(self.times_handled),
                "a cancelled call has ended before its handler",
                self,
            )

    async def _result(self, work: Work) -> str:
        body = body_of(self.key, self.plan.size)
        try:
            if self.plan.credit is None:
                value = await work.do(self.key, body)
            else:
                method = getattr(work, f"stream_{self.plan.credit}")
                make = self._open_call if self.plan.is_opened else self._stream
                value = await make(method, body)
        except Declared as error:
            require(error.key == self.key, "the error of another call", self)
            return "Declared"
        except RoamError as error:
            require(
                error.was_begun is not False or not self.times_handled,
                "a call was handled of which the error says that it was not",
                self,
            )
            return type(error).__name__
        require(value == answer_of(body), "the result of another call", self)
        return "value"

    async def _stream(self, method: Callable[..., Any], body: bytes) -> bytes:
        plan = self.plan
        tx, up = channel[bytes]()
        down, rx = channel[bytes]()
        results: list[bytes] = []
        errors: list[Exception] = []

        async def call(*ends: Any) -> None:
            try:
                awaitable = method(self.key, body, *ends)
                del ends
                results.append(await awaitable)
            except (RoamError, Declared) as error:
                errors.append(error.with_traceback(None))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(call, up, down)
            nursery.start_soon(self.up.send, tx, plan.up, plan)
            nursery.start_soon(self.down.receive, rx, plan.down_reads, plan)
            del up, down, tx, rx
        if errors:
            try:
                raise errors[0]
            finally:
                errors.clear()
        if not results:
            await trio.lowlevel.checkpoint()
        return results[0]

    async def _open_call(self, method: Callable[..., Any], body: bytes) -> bytes:
        plan = self.plan
        async with open_call(method, self.key, body) as call:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.up.send, call.tx, plan.up, plan)
                nursery.start_soon(self.down.receive, call.rx, plan.down_reads, plan)
            value: bytes = await call.result()
        return value

    @property
    def _may_be_refused(self) -> bool:
        setup = self.setup
        proxy_has_no_place = setup.most_waiting is not None and self.place.is_proxied
        return not setup.deadlines and (setup.has_few_tasks or proxy_has_no_place)

    def check(self) -> None:
        """Check that it ended as its handler says, or as something explains."""
        require(self.times_handled <= 1, "a call was handled twice", self)
        disturbed, plan = self.place.disturbances, self.plan
        outer = self.because_of
        match self.outcome:
            case "value":
                fits = self.handler == "return"
                if not disturbed and plan.credit is not None:
                    self.up.check_whole()
                    self.down.check_whole()
            case "Declared":
                fits = self.handler == "error"
            case HandlerFailed.__name__:
                fits = self.handler == "fail"
            case "cancelled":
                fits = self.to_end_at < math.inf
            case "cancelled from outside":
                fits = outer is not None
            case DeadlineExceeded.__name__:
                fits = plan.deadline is not None or (
                    outer is not None and outer.plan.deadline is not None
                )
            case Overloaded.__name__:
                setup = self.setup
                fits = setup.most_waiting is not None or setup.has_few_tasks
            case ConnectionLost.__name__:
                fits = bool(disturbed)
            case CallCancelled.__name__ if not self.place.is_proxied:
                # So a session that is being shut down refuses calls, and a side whose
                # connection is unused. Without deadlines, none is told why.
                fits = (
                    self.handler == "fail"
                    or "shut down" in disturbed
                    or self._may_be_refused
                )
            case _:
                # A session that is being shut down refuses calls, and so does a proxy
                # whose far side is gone.
                fits = (
                    self.handler == "fail"
                    or bool(disturbed)
                    or (self._may_be_refused and self.outcome == CallCancelled.__name__)
                )
        require(fits, f"a call has ended as nothing explains ({self.outcome})", self)


class Worker:
    """The handlers of one side.

    Args:
        call_of: returns a call by its number, or makes that of a handler's.
        note: called with each event.
    """

    def __init__(
        self, call_of: Callable[[int], MadeCall], note: Callable[..., None]
    ) -> None:
        self._call_of = call_of
        self._note = note

    async def do(self, key: int, body: bytes) -> bytes:
        return await self._handle(key, body, ())

    async def _handle_stream(
        self, key: int, body: bytes, up: Rx[bytes], down: Tx[bytes]
    ) -> bytes:
        ends = [up, down]
        del up, down
        return await self._handle(key, body, ends)

    stream_0 = stream_2 = stream_16 = _handle_stream

    async def _handle(self, key: int, body: bytes, ends: Any) -> bytes:
        call = self._call_of(key)
        plan = call.plan
        call.times_handled += 1
        require(call.times_handled == 1, "a call was handled twice", call)
        require(body == body_of(key, plan.size), "the arguments of another call", call)
        self._note("handler starts", key)
        ended = "cancelled"
        try:
            if ends:
                await self._stream(call, ends)
            if plan.back is not None:
                await self._call_back(call)
            await trio.sleep(plan.seconds)
            if plan.how == "hang":
                await trio.sleep_forever()
            ended = plan.how
        finally:
            call.handler = ended
            self._note("handler ends", key, ended)
        if ended == "error":
            raise Declared(key)
        if ended == "fail":
            raise Planned(f"call {key} is to fail")
        return answer_of(body)

    async def _stream(self, call: MadeCall, ends: list[Any]) -> None:
        plan, down, up = call.plan, ends.pop(), ends.pop()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call.down.send, down, plan.down, plan)
            nursery.start_soon(call.up.receive, up, plan.up_reads, plan)
            del up, down

    async def _call_back(self, outer: MadeCall) -> None:
        back = outer.plan.back
        assert back is not None
        plan = Plan(how=back.how, seconds=back.seconds)
        call = self._call_of(back.key)
        call.plan, call.place, call.because_of = plan, outer.place, outer
        self._note("calls back", back.key)
        await call.make(client(Work, current_call().connection.caller))
        self._note("called back", back.key, call.outcome)
