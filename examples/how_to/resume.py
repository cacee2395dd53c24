"""A session that outlives its connection: `python examples/how_to/resume.py`.

The client connects through a cable, which is cut while a handler runs.
"""

from __future__ import annotations

from typing import Protocol

import trio

from roam_trio import (
    Backoff,
    Tx,
    connect,
    dispatcher,
    open_call,
    service,
    serving,
    u32,
)


@service
class Clock(Protocol):
    async def count(self, end: u32, out: Tx[u32]) -> None: ...


class ClockImpl:
    async def count(self, end: int, out: Tx[u32]) -> None:
        async with out:
            for number in range(end):
                await out.send(number)


class Cable:
    """Passes bytes on to a server, until it is cut."""

    def __init__(self, target: str) -> None:
        self._port = int(target.rpartition(":")[2])
        self._plugged: list[trio.CancelScope] = []

    async def accept(self, near: trio.SocketStream) -> None:
        with trio.CancelScope() as plugged:
            self._plugged.append(plugged)
            far = await trio.open_tcp_stream("127.0.0.1", self._port)
            async with near, far, trio.open_nursery() as nursery:
                nursery.start_soon(self._carry, near, far)
                nursery.start_soon(self._carry, far, near)

    async def _carry(self, source: trio.SocketStream, to: trio.SocketStream) -> None:
        try:
            async for data in source:
                await to.send_all(data)
            await to.send_eof()
        except trio.BrokenResourceError:
            pass

    def cut(self) -> None:
        for each in self._plugged:
            each.cancel()


# region client
async def use(url: str, cable: Cable) -> None:
    soon = Backoff(initial=0.05, longest=1, give_up_after=60)
    async with (
        connect(url, Clock, resume=soon) as clock,
        open_call(clock.count, 1000) as call,
    ):
        numbers = [await call.rx.recv()]
        cable.cut()
        numbers += [number async for number in call.rx]
    print("each number once:", numbers == list(range(1000)))
    # endregion client


# region server
async def main() -> None:
    handler = dispatcher(Clock, ClockImpl())
    async with serving("tcp://127.0.0.1:0", handler, resume=True) as server:
        # endregion server
        cable = Cable(server.url)
        async with trio.open_nursery() as nursery:
            [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
            nursery.start_soon(trio.serve_listeners, cable.accept, [listener])
            port = listener.socket.getsockname()[1]
            await use(f"tcp://127.0.0.1:{port}", cable)
            nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)
