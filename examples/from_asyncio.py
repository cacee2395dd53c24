"""A client and a server in a program on asyncio: `python examples/from_asyncio.py`."""

from __future__ import annotations

import asyncio
from typing import Protocol

import attrs

from roam_trio import Fallible, Rx, Tx, service
from roam_trio.contrib.asyncio import (
    aclose,
    channel,
    connect,
    dispatcher,
    serving,
    timeout,
)


# region service
@attrs.frozen
class TooFew(Exception):
    least: int


@service
class Statistics(Protocol):
    async def mean(self, numbers: Rx[float]) -> Fallible[float, TooFew]: ...
    async def count(self, to: int, numbers: Tx[int]) -> None: ...
    async def think(self) -> int: ...


# endregion service


# region handler
class StatisticsImpl:
    async def mean(self, numbers: Rx[float]) -> float:
        received = [number async for number in numbers]
        if not received:
            raise TooFew(least=1)
        return sum(received) / len(received)

    async def count(self, to: int, numbers: Tx[int]) -> None:
        for number in range(to):
            await asyncio.sleep(0.001)
            await numbers.send(number)

    async def think(self) -> int:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            print("  [server] the caller has given up")
            raise
        return 42


# endregion handler


# region client
async def use(statistics: Statistics) -> None:
    tx, rx = channel[float]()
    async with asyncio.TaskGroup() as tasks:
        mean = tasks.create_task(statistics.mean(rx))
        async with tx:
            for number in (12.0, 15.0, 27.0):
                await tx.send(number)  # waits when the server is behind
    print("mean:", mean.result())

    to_send, numbers = channel[int]()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(statistics.count(5, to_send))
        del to_send  # the call has it now
        print("count:", [number async for number in numbers])

    try:
        async with asyncio.timeout(0.1):
            await statistics.think()
    except TimeoutError:
        print("think: no answer in time")


# endregion client


# region serve
async def main() -> None:
    handler = dispatcher(Statistics, StatisticsImpl())
    async with serving("tcp://127.0.0.1:0", handler, grace=5) as server:
        async with connect(server.url, Statistics) as statistics:
            await use(statistics)
        await in_a_notebook(server.url)


# endregion serve


# region notebook
async def in_a_notebook(url: str) -> None:
    statistics = await connect(url, Statistics)
    tx, rx = channel[float]()
    tx.close()
    try:
        async with timeout(10):  # and the server is told how much time is left
            await statistics.mean(rx)
    except TooFew as error:
        print("mean: at least", error.least)
    await aclose(statistics)


# endregion notebook


if __name__ == "__main__":
    asyncio.run(main())
