"""A soak from end to end: three processes, cut links, rests, and looks."""

from __future__ import annotations

import random
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import cycle
from pathlib import Path
from typing import Final

import attrs
import msgspec
import trio

from .forwarder import Forwarder
from .gauges import Gauges
from .orders import Lines, Said
from .server import RESUME_SECONDS

__all__ = ["Course", "Look", "Stuck", "soak"]

_ROOT: Final = Path(__file__).resolve().parent.parent.parent

_PATIENCE: Final = 120.0
"""Seconds that a process may take for what takes a few: then it hangs."""

_SETTLING: Final = 1.0
"""Seconds between the last turn of anybody and a look, for what is on its way."""

_BETWEEN_CUTS: Final = 2.0
"""Seconds between two cuts of links, about."""


class Stuck(Exception):
    """A process has ended before its time, or does not answer."""


@attrs.frozen
class Look:
    """What was seen during one rest.

    Attributes:
        seconds: time since the start.
        server: what the server holds.
        client: what the client holds.
        done: how much all have done so far, by the names of what they do.
    """

    seconds: float
    server: Gauges
    client: Gauges
    done: dict[str, int]


@attrs.frozen
class Course:
    """All of a run.

    Attributes:
        before: what the server held before anybody had come.
        looks: one after each interval.
        after: what the server holds when everybody has left.
    """

    before: Gauges
    looks: list[Look]
    after: Gauges


async def soak(
    seconds: float, every: float, tell: Callable[[Look], None] = lambda look: None
) -> Course:
    """Run for so long, and look every so many seconds.

    Args:
        seconds: how long, without starting and leaving.
        every: the interval of looks, in seconds.
        tell: is called with each look.

    Raises:
        Stuck: a process has ended, as the client does after a wrong answer, or hangs.
    """
    async with (
        _Process.started("server", urls=True) as server,
        Forwarder.to(server.urls[0]) as plain,
        Forwarder.to(server.urls[1]) as resuming,
    ):
        before = await server.look()
        urls = [server.urls[0], plain.url, resuming.url]
        async with _Process.started("client", *urls) as client:
            async with _Process.started("flooder", *server.urls) as flooder:
                watch = _Watch(server, client, flooder, [plain, resuming])
                looks = [look async for look in watch.looks(seconds, every, tell)]
            await client.order("leave")
            after = await _when_all_have_left(server, before)
    return Course(before, looks, after)


async def _when_all_have_left(server: _Process, before: Gauges) -> Gauges:
    """Return what the server holds when it waits for nobody any more."""
    deadline = trio.current_time() + 2 * RESUME_SECONDS + 10
    while True:
        now = await server.look()
        if now.tasks <= before.tasks and now.files <= before.files:
            return now
        if trio.current_time() > deadline:
            return now
        await trio.sleep(1)


class _Watch:
    """Lets all of them work, and looks while they rest."""

    def __init__(
        self,
        server: _Process,
        client: _Process,
        flooder: _Process,
        forwarders: list[Forwarder],
    ) -> None:
        self._server = server
        self._client = client
        self._flooder = flooder
        self._forwarders = forwarders
        self._in_turn = cycle(forwarders)

    async def looks(
        self, seconds: float, every: float, tell: Callable[[Look], None]
    ) -> AsyncIterator[Look]:
        start = trio.current_time()
        for number in range(1, int(seconds / every) + 1):
            with trio.move_on_at(start + number * every):
                await self._disturb()
            look = await self._look(start)
            tell(look)
            yield look

    async def _disturb(self) -> None:
        chance = random.Random()
        for forwarder in self._in_turn:
            await trio.sleep(chance.uniform(0.5, 1.5) * _BETWEEN_CUTS)
            await forwarder.disturb(chance)

    async def _look(self, start: float) -> Look:
        await self._flooder.order("rest")
        await self._client.order("rest")
        await trio.sleep(_SETTLING)
        seconds = trio.current_time() - start
        server, client, flooder = [
            await process.order("look")
            for process in (self._server, self._client, self._flooder)
        ]
        await self._client.order("go on")
        await self._flooder.order("go on")
        assert server.gauges is not None
        assert client.gauges is not None
        done = Counter(server.done) + Counter(client.done) + Counter(flooder.done)
        done["cuts"] = sum(forwarder.cuts for forwarder in self._forwarders)
        return Look(seconds, server.gauges, client.gauges, dict(done))


class _Process:
    """A module of this package in a process of its own."""

    def __init__(self, name: str, process: trio.Process) -> None:
        assert process.stdout is not None
        self._name = name
        self._process = process
        self._lines = Lines(process.stdout)
        self.urls: list[str] = []

    @classmethod
    @asynccontextmanager
    async def started(
        cls, name: str, *arguments: str, urls: bool = False
    ) -> AsyncIterator[_Process]:
        process = await trio.lowlevel.open_process(
            [sys.executable, "-m", f"benchmarks.soak.{name}", *arguments],
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # an interrupt is for `soak`, which ends them
        )
        try:
            started = cls(name, process)
            if urls:
                started.urls = (await started._answer()).urls
            yield started
        finally:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()

    async def look(self) -> Gauges:
        """Return what it holds."""
        gauges = (await self.order("look")).gauges
        assert gauges is not None
        return gauges

    async def order(self, order: str) -> Said:
        """Give an order, and wait for the answer.

        Raises:
            Stuck: there is none.
        """
        assert self._process.stdin is not None
        try:
            await self._process.stdin.send_all(order.encode() + b"\n")
        except trio.BrokenResourceError:
            raise Stuck(f"the {self._name} has ended; see what it wrote") from None
        return await self._answer()

    async def _answer(self) -> Said:
        with trio.move_on_after(_PATIENCE):
            line = await self._lines.next()
            if line is None:
                raise Stuck(f"the {self._name} has ended; see what it wrote")
            return msgspec.json.decode(line, type=Said)
        raise Stuck(f"the {self._name} has not answered for {_PATIENCE:g} s")
