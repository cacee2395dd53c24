"""Channels: values that stream into a call, out of it, and both at once.

    python examples/streaming.py

A channel has two ends. The caller makes a pair, gives one end along as an argument,
and keeps the other. A sender is never ahead of its receiver by more than the channel's
credit, here 16 items and for `smooth` 4: then `send` waits.
"""

from __future__ import annotations

from collections import deque
from typing import Annotated, Protocol

import trio

from roam_trio import Credit, Rx, Tx, channel, connect, dispatcher, serve, service, u32

READINGS = [12.0, 15.0, 18.0, 30.0, 18.0, 15.0]


@service
class Thermometer(Protocol):
    """In a signature, `Rx` is what the handler receives from, and `Tx` what it sends
    through."""

    async def mean(self, readings: Rx[float]) -> float: ...

    async def countdown(self, start: u32, ticks: Tx[u32]) -> None: ...

    async def smooth(
        self,
        readings: Annotated[Rx[float], Credit(4)],
        means: Annotated[Tx[float], Credit(4)],
    ) -> None: ...


class ThermometerImpl:
    async def mean(self, readings: Rx[float]) -> float:
        values = [reading async for reading in readings]
        return sum(values) / len(values)

    async def countdown(self, start: int, ticks: Tx[int]) -> None:
        async with ticks:  # closes it: the receiver's loop ends
            for tick in range(start, 0, -1):
                await ticks.send(tick)

    async def smooth(self, readings: Rx[float], means: Tx[float]) -> None:
        last = deque[float](maxlen=3)
        async with means:
            async for reading in readings:
                last.append(reading)
                await means.send(sum(last) / len(last))


async def send_all(values: list[float], tx: Tx[float]) -> None:
    async with tx:
        for value in values:
            await tx.send(value)


async def stream_in(thermometer: Thermometer) -> None:
    tx, rx = channel[float]()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(send_all, READINGS, tx)
        print("mean:", await thermometer.mean(rx))


async def stream_out(thermometer: Thermometer) -> None:
    tx, rx = channel[int]()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(thermometer.countdown, 3, tx)
        print("countdown:", [tick async for tick in rx])


async def stream_both_ways(thermometer: Thermometer) -> None:
    readings, readings_rx = channel[float]()
    means_tx, means = channel[float]()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(send_all, READINGS, readings)
        nursery.start_soon(thermometer.smooth, readings_rx, means_tx)
        print("smoothed:", [mean async for mean in means])


async def use(url: str) -> None:
    async with connect(url, Thermometer) as thermometer:
        await stream_in(thermometer)
        await stream_out(thermometer)
        await stream_both_ways(thermometer)


async def main() -> None:
    async with trio.open_nursery() as nursery:
        handler = dispatcher(Thermometer, ThermometerImpl())
        server = await nursery.start(serve, "tcp://127.0.0.1:0", handler)
        await use(server.url)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)
