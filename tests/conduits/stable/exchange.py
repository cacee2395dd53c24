"""A compact exchange between a client and a server, to be cut off anywhere.

Calls and channels run both ways at once: the client calls and streams both ways, and
the server calls the client back. Everything that is sent, handled or received is
written down, so that anything lost, repeated or out of order shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Protocol

import attrs
import trio

from roam_trio import (
    Credit,
    Rx,
    Tx,
    channel,
    client,
    dispatcher,
    initiator,
    service,
    u32,
)
from roam_trio.testing import Faults

from .world import World

__all__ = ["CALLS", "ITEMS", "Outcome", "run_exchange"]

CALLS = 2
ITEMS = 3


@service
class Server(Protocol):
    async def add(self, key: u32, more: u32) -> u32: ...

    async def flow(
        self, up: Annotated[Rx[u32], Credit(2)], down: Annotated[Tx[u32], Credit(2)]
    ) -> u32: ...


@service
class Client(Protocol):
    async def double(self, key: u32) -> u32: ...


class ServerHandler:
    def __init__(self) -> None:
        self.world: World | None = None
        self.added: list[int] = []
        self.doubled: list[int] = []
        self.flowed: list[int] = []

    async def add(self, key: int, more: int) -> int:
        self.added.append(key)
        assert self.world is not None
        (session,) = self.world.sessions
        back = client(Client, session.caller)
        self.doubled.append(await back.double(key + more))
        return key + more

    async def flow(self, up: Rx[int], down: Tx[int]) -> int:
        async with down:
            async for number in up:
                self.flowed.append(number)
                await down.send(2 * number)
        return sum(self.flowed)


class ClientHandler:
    def __init__(self) -> None:
        self.doubled: list[int] = []

    async def double(self, key: int) -> int:
        self.doubled.append(key)
        return 2 * key


@attrs.frozen
class Outcome:
    """What a run has come to.

    Attributes:
        world: the connections it took.
        seconds: how long, by trio's clock.
    """

    world: World
    seconds: float


async def run_exchange(
    faults: Sequence[tuple[Faults, Faults]] = (), *, cleanly: bool = False
) -> Outcome:
    """Run the whole exchange, over connections with these faults, and check it.

    Everything but the client and the server ends with it, or it fails.
    """
    server, ours = ServerHandler(), ClientHandler()
    started = trio.current_time()
    with trio.fail_after(1000):
        async with trio.open_nursery() as nursery:
            world = server.world = World(
                nursery, dispatcher(Server, server), faults, cleanly=cleanly
            )
            builder = initiator(world.conduit())
            async with builder.open(dispatcher(Client, ours)) as session:
                await _exchange(client(Server, session.caller))
            seconds = trio.current_time() - started
            assert world.sessions[0] is world.sessions[-1]
            await world.sessions[0].closed()
    assert server.added == list(range(CALLS))
    assert ours.doubled == [key + 1 for key in range(CALLS)]
    assert server.doubled == [2 * key for key in ours.doubled]
    assert server.flowed == list(range(ITEMS))
    assert world.server.is_idle, world.server
    return Outcome(world, seconds)


async def _exchange(server: Server) -> None:
    tx, up = channel[int]()
    down, rx = channel[int]()
    got: list[int] = []

    async def send() -> None:
        async with tx:
            for number in range(ITEMS):
                await tx.send(number)

    async def receive() -> None:
        got.extend([number async for number in rx])

    async def call() -> None:
        for key in range(CALLS):
            assert await server.add(key, 1) == key + 1

    async with trio.open_nursery() as nursery:
        for work in (send, receive, call):
            nursery.start_soon(work)
        assert await server.flow(up, down) == sum(range(ITEMS))
    assert got == [2 * number for number in range(ITEMS)]
