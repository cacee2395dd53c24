"""A server that ends in an orderly way: `python examples/how_to/drain.py`."""

from __future__ import annotations

import signal
from typing import Protocol

import trio

from roam_trio import (
    ConnectionLost,
    Dispatcher,
    Tx,
    Unavailable,
    connect,
    current_call,
    dispatcher,
    open_call,
    service,
    serving,
    u32,
)


@service
class Clock(Protocol):
    async def ticks(self, out: Tx[u32]) -> str: ...
    async def now(self) -> str: ...


# region handler
class ClockImpl:
    async def ticks(self, out: Tx[u32]) -> str:
        draining = current_call().draining
        tick = 0
        async with out:
            while not draining.is_set():
                await out.send(tick)
                tick += 1
                with trio.move_on_after(0.05):
                    await draining.wait()
        return "the server is about to end"

    # endregion handler

    async def now(self) -> str:
        return "now"


# region program
async def serve_until_told(url: str, handler: Dispatcher) -> None:
    stop = [signal.SIGTERM, signal.SIGINT]
    async with serving(url, handler, grace=10, drain_on=stop) as server:
        print("listening at", server.url)
        await trio.sleep_forever()
        # endregion program


# region client
async def use(url: str) -> None:
    async with connect(url, Clock, wait_for=5) as clock, open_call(clock.ticks) as call:
        first = await call.rx.recv()
        print("the first tick:", first)
        signal.raise_signal(signal.SIGTERM)  # as `kill` and systemd do
        async for _ in call.rx:
            pass
        print("the stream has ended:", await call.result())
        try:
            await clock.now()
        except (Unavailable, ConnectionLost) as error:
            print("a new call was begun:", error.was_begun)
            # endregion client


async def main() -> None:
    url = "memory://clock"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_until_told, url, dispatcher(Clock, ClockImpl()))
        nursery.start_soon(use, url)


if __name__ == "__main__":
    trio.run(main)
