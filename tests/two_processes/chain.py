"""A server, or a proxy before it, in a process of its own.

    python -m tests.two_processes.chain            a server
    python -m tests.two_processes.chain URL        a proxy to the server there

Prints its URL, and goes on until its standard input ends. The server offers `Workshop`
and `Judge` by name; the proxy knows neither.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Annotated, Protocol, TypeAlias

import attrs
import trio

from roam_trio import (
    Credit,
    Fallible,
    Handler,
    ProxyAcceptor,
    ReplySink,
    RequestCall,
    Rx,
    Tx,
    acceptor,
    connect,
    current_call,
    dispatcher,
    serve,
    service,
    u32,
)
from roam_trio.links.tcp import tcp_link

from .workshop import Workshop, WorkshopHandler

__all__ = ["Judge", "Refusal"]

Reporting: TypeAlias = trio.TaskStatus[str]
"""How a server or a proxy reports its URL."""


@attrs.define
class Refusal(Exception):
    """What a method declares as its error."""

    number: u32
    why: str


@service
class Judge(Protocol):
    """Answers of several kinds."""

    async def judge(self, number: u32) -> Fallible[u32, Refusal]:
        """Refuses odd numbers, and gives half of the others."""
        ...

    async def greet(self) -> list[str]:
        """The metadata that came along, which is sent back too."""
        ...

    async def mirror(
        self,
        upward: Annotated[Rx[u32], Credit(1)],
        downward: Annotated[Tx[u32], Credit(1)],
    ) -> u32:
        """Every number back, one at a time, up to the first 0; what comes then is
        not wanted."""
        ...


class JudgeHandler:
    async def judge(self, number: int) -> int:
        if number % 2:
            raise Refusal(number, f"{number} is odd")
        return number // 2

    async def greet(self) -> list[str]:
        call = current_call()
        call.response_metadata = call.metadata
        return [f"{e.key}={e.value!r} flags {e.flags}" for e in call.metadata]

    async def mirror(self, upward: Rx[int], downward: Tx[int]) -> int:
        count = 0
        async with upward, downward:
            async for number in upward:
                if not number:
                    break
                await downward.send(number)
                count += 1
        return count


class Silent:
    """A `Handler` that never answers, so that Cancelled is answered for it."""

    async def handle(self, call: RequestCall, reply: ReplySink) -> None:
        await trio.lowlevel.checkpoint()


async def serve_until(input_ends: trio.Event, *, task_status: Reporting) -> None:
    offered: dict[str, Handler] = {
        "workshop": dispatcher(Workshop, WorkshopHandler()),
        "judge": dispatcher(Judge, JudgeHandler()),
        "silent": Silent(),
    }
    async with trio.open_nursery() as nursery:
        server = await nursery.start(serve, "tcp://127.0.0.1:0", offered)
        task_status.started(server.url)
        await input_ends.wait()
        nursery.cancel_scope.cancel()


async def proxy_until(
    url: str, input_ends: trio.Event, *, task_status: Reporting
) -> None:
    async with connect(url) as upstream, trio.open_nursery() as nursery:

        async def pass_on(stream: trio.SocketStream) -> None:
            builder = acceptor(tcp_link(stream), on_connection=ProxyAcceptor(upstream))
            async with builder.open() as session:
                await session.closed()

        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        task_status.started(f"tcp://127.0.0.1:{listener.socket.getsockname()[1]}")
        nursery.start_soon(
            partial(trio.serve_listeners, handler_nursery=nursery), pass_on, [listener]
        )
        await input_ends.wait()
        nursery.cancel_scope.cancel()


async def main(run: Callable[..., Awaitable[None]], *args: str) -> None:
    input_ends = trio.Event()
    async with trio.open_nursery() as nursery:
        print(await nursery.start(run, *args, input_ends), flush=True)
        async with trio.lowlevel.FdStream(os.dup(sys.stdin.fileno())) as stdin:
            async for _ in stdin:
                pass
        input_ends.set()


if __name__ == "__main__":
    # That a client's arguments cannot be decoded is logged as a warning, and expected.
    logging.getLogger("roam_trio").setLevel(logging.ERROR)
    trio.run(main, proxy_until if sys.argv[1:] else serve_until, *sys.argv[1:])
