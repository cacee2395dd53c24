"""The client of a soak, a process of its own; `run` starts it.

    python -m benchmarks.soak.client DIRECT PLAIN RESUMING

The arguments are URLs of the server: one without anything between, and two whose links
are cut. Every answer is checked; a wrong one ends the process with an error.
"""

from __future__ import annotations

import logging
import random
import sys
import zlib
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

import trio

from roam_trio import (
    Backoff,
    HandlerFailed,
    Session,
    SessionRejected,
    channel,
    connect,
    dispatcher,
    open_call,
)
from roam_trio.errors import ConduitError, Disconnected, TxReset
from roam_trio.lowlevel import StableTxStatistics
from roam_trio.session import SessionKeepaliveConfig

from .gauges import gauge
from .orders import Said, obey
from .service import Odd, Soaked, SoakedHandler
from .shift import Shift

__all__: list[str] = []

_PAUSE: Final = 0.05
"""Seconds between two turns of a task, so that the machine can do other things."""

_CALLS: Final = 40
_ITEMS: Final = 200
_AT_ONCE: Final = 16
_BLOCK: Final = 256 * 1024

_LOST: Final = (Disconnected, ConduitError, OSError)

_KEEPALIVE: Final = SessionKeepaliveConfig(ping_interval=1.0, pong_timeout=5.0)
_PATIENT: Final = Backoff(initial=0.05, longest=0.5)


class WrongAnswer(Exception):
    """The server has not done what was asked."""


def _check(got: object, expected: object, what: str) -> None:
    if got != expected:
        raise WrongAnswer(f"{what}: expected {expected!r}, got {got!r}")


class _Works:
    """Does everything in turn, on one session."""

    def __init__(self, session: Session, soaked: Soaked, shift: Shift) -> None:
        self._session = session
        self._soaked = soaked
        self._shift = shift
        self._chance = random.Random()

    async def all(self) -> None:
        works = [
            self._call,
            self._call_at_once,
            self._stream,
            self._cancel,
            self._fail,
            self._open,
            self._echo,
            self._be_called_back,
        ]
        self._chance.shuffle(works)
        for work in works:
            async with self._shift.turn():
                await work()
            await trio.sleep(_PAUSE)

    async def _call(self) -> None:
        for number in range(_CALLS):
            _check(await self._soaked.add(number, 1), number + 1, "add")
        self._shift.done["calls"] += _CALLS

    async def _call_at_once(self) -> None:
        async def add(number: int) -> None:
            with trio.fail_after(60):
                _check(await self._soaked.add(number, 1), number + 1, "add")

        await _together(add, list(range(_CALLS)))
        self._shift.done["calls"] += _CALLS

    async def _stream(self) -> None:
        async def send(tx: Any) -> None:
            async with tx:
                for number in range(_ITEMS):
                    await tx.send(number)

        there, numbers = channel[int]()
        back, come = channel[int]()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send, there)
            nursery.start_soon(_collect, come)
            count = await self._soaked.exchange(_ITEMS, numbers, back)
        _check(count, _ITEMS, "items there")
        self._shift.done["items"] += 2 * _ITEMS

    async def _cancel(self) -> None:
        """Cancel calls: at once, on their way, and at work."""

        async def call(number: int) -> None:
            with trio.move_on_after(self._chance.uniform(0.0, 0.02) * (number % 4)):
                if number % 2:
                    async with open_call(self._soaked.wait) as waiting:
                        _check(await waiting.rx.recv(), True, "an item")
                        await trio.sleep_forever()
                else:
                    await self._soaked.add(number, 1)

        await _together(call, list(range(_AT_ONCE)))
        self._shift.done["cancels"] += _AT_ONCE

    async def _fail(self) -> None:
        try:
            await self._soaked.half(7)
        except Odd as error:
            _check(error.number, 7, "a declared error")
        else:
            raise WrongAnswer("expected Odd")
        try:
            await self._soaked.fail()
        except HandlerFailed:
            self._shift.done["failures"] += 2
        else:
            raise WrongAnswer("expected HandlerFailed")

    async def _open(self) -> None:
        for number in range(4):
            async with self._session.open(Soaked) as soaked:
                _check(await soaked.half(2 * number), number, "half")
        try:
            async with self._session.open(Soaked, "nothing"):
                raise WrongAnswer("expected SessionRejected")
        except SessionRejected:
            self._shift.done["opens"] += 5

    async def _echo(self) -> None:
        block = self._chance.randbytes(_BLOCK)
        echoed = await self._soaked.echo(block, zlib.crc32(block))
        _check(echoed == block, True, "an echo")
        self._shift.done["blocks"] += 1

    async def _be_called_back(self) -> None:
        for number in range(4):
            _check(await self._soaked.call_back(number), 2 * number, "a call back")
        self._shift.done["calls back"] += 4


async def _collect(come: Any) -> None:
    expected = _ITEMS
    async with come:
        async for number in come:
            _check(number, expected, "an item back")
            expected -= 1
    _check(expected, 0, "items left")


async def _together(do: Callable[[int], Awaitable[None]], numbers: list[int]) -> None:
    """Do it for all numbers, some at a time."""
    left = iter(numbers)

    async def one_after_another() -> None:
        for number in left:
            await do(number)

    async with trio.open_nursery() as nursery:
        for _ in range(_AT_ONCE):
            nursery.start_soon(one_after_another)


# ---------------------------------------------------------------- sessions


async def _last(name: str, url: str, shift: Shift, **options: Any) -> None:
    """Work on one session for all of the run; its loss is an error."""
    entered = links = 0
    handler = dispatcher(Soaked, SoakedHandler())
    async with (
        connect(url, keepalive=_KEEPALIVE, **options) as session,
        session.open(Soaked, handler=handler) as soaked,
    ):
        while True:
            await _Works(session, soaked, shift).all()
            # It was done once, and not again, or another number would come.
            _check(await soaked.enter(name, entered + 1), entered, "an entry")
            entered += 1
            sent = session.statistics().sent
            if isinstance(sent, StableTxStatistics):
                shift.done["links"] += sent.links - links
                links = sent.links


async def _lose(url: str, shift: Shift) -> None:
    """Work on sessions until they are lost, one after another."""
    handler = dispatcher(Soaked, SoakedHandler())
    while True:
        try:
            async with (
                connect(url, keepalive=_KEEPALIVE) as session,
                session.open(Soaked, handler=handler) as soaked,
            ):
                while True:
                    await _Works(session, soaked, shift).all()
        except* _LOST:
            shift.done["losses"] += 1
        except* TxReset:
            # Of a stream: the handler has ended, as its session has.
            shift.done["losses"] += 1
        await trio.sleep(_PAUSE)


async def _come_and_go(url: str, shift: Shift, **options: Any) -> None:
    """Connect, call, and leave, again and again."""
    while True:
        async with shift.turn():
            with suppress(*_LOST):
                async with connect(url, **options) as session:
                    async with session.open(Soaked) as soaked:
                        _check(await soaked.add(1, 2), 3, "add")
                    shift.done["visits"] += 1
        await trio.sleep(_PAUSE)


async def _work(direct: str, plain: str, resuming: str) -> None:
    shift = Shift()
    working = trio.CancelScope()

    async def answer(order: str) -> Said:
        match order:
            case "rest":
                await shift.rest()
            case "go on":
                shift.go_on()
            case "leave":
                shift.go_on()
                working.cancel()
            case "look":
                return Said(gauges=gauge(), done=dict(shift.done))
            case _:
                raise ValueError(f"no such order: {order!r}")
        return Said()

    async def work() -> None:
        with working:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_named(_last, "steady"), direct, shift)
                resume = _named(_last, "resuming", resume=_PATIENT)
                nursery.start_soon(resume, resuming, shift)
                nursery.start_soon(_lose, plain, shift)
                nursery.start_soon(_come_and_go, direct, shift)
                nursery.start_soon(_come_and_go, plain, shift)
                going = _named(_come_and_go, resume=_PATIENT)
                nursery.start_soon(going, resuming, shift)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(work)
        await obey(answer)
        nursery.cancel_scope.cancel()


def _named(
    do: Callable[..., Awaitable[None]], *names: str, **options: Any
) -> Callable[[str, Shift], Awaitable[None]]:
    async def named(url: str, shift: Shift) -> None:
        await do(*names, url, shift, **options)

    return named


if __name__ == "__main__":
    logging.getLogger("roam_trio").setLevel(logging.CRITICAL)
    direct, plain, resuming = sys.argv[1:]
    trio.run(_work, direct, plain, resuming)
