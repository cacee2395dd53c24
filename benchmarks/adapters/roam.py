"""roam_trio, as a user writes it: a service, a handler, `serve` and `connect`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from importlib import metadata
from typing import Annotated, ClassVar, Protocol, TypeVar

import trio

from roam_trio import (
    Credit,
    Rx,
    channel,
    connect,
    dispatcher,
    serve,
    service,
    u32,
    u64,
)

from .base import (
    ADDEND,
    IN_FLIGHT,
    Adapter,
    Client,
    Receipt,
    WrongAnswer,
    mix,
)

__all__ = ["RoamAdapter", "RoamClient", "Workplace", "WorkplaceHandler"]

T = TypeVar("T")


@service
class Workplace(Protocol):
    """All the works, with what is sent for each of them."""

    async def add(self, left: u32, right: u32) -> u32: ...

    async def add_or_wait(self, left: u32, right: u32) -> u32: ...

    async def take_16(self, items: Rx[u64]) -> tuple[u64, u64]: ...

    async def take_256(
        self, items: Annotated[Rx[u64], Credit(256)]
    ) -> tuple[u64, u64]: ...

    async def echo(self, data: bytes) -> bytes: ...


class WorkplaceHandler:
    """Does the works."""

    async def add(self, left: int, right: int) -> int:
        return left + right

    async def add_or_wait(self, left: int, right: int) -> int:
        if left < 0:  # never, but that it might wait is why it needs a task
            await trio.sleep_forever()
        return left + right

    async def take_16(self, items: Rx[int]) -> tuple[int, int]:
        count = checksum = 0
        async for item in items:
            count += 1
            checksum = mix(checksum, item)
        return count, checksum

    take_256 = take_16

    async def echo(self, data: bytes) -> bytes:
        return data


class RoamClient(Client):
    """Does the works through a client of `Workplace`, or anything like it."""

    def __init__(self, workplace: Workplace) -> None:
        self._workplace = workplace

    async def calls(self, count: int, *, can_wait: bool) -> None:
        add = self._workplace.add_or_wait if can_wait else self._workplace.add
        for number in range(count):
            _check_sum(await add(number, ADDEND), number)

    async def calls_in_flight(self, count: int, *, can_wait: bool) -> None:
        add = self._workplace.add_or_wait if can_wait else self._workplace.add
        numbers = iter(range(count))

        async def call_and_call_again() -> None:
            for number in numbers:
                _check_sum(await add(number, ADDEND), number)

        async with trio.open_nursery() as nursery:
            for _ in range(IN_FLIGHT):
                nursery.start_soon(call_and_call_again)

    async def items(self, count: int, credit: int) -> Receipt:
        take = {16: self._workplace.take_16, 256: self._workplace.take_256}[credit]
        tx, rx = channel[int]()

        async def send() -> None:
            async with tx:
                for number in range(count):
                    await tx.send(number)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            return Receipt(*await take(rx))

    async def echoes(self, blocks: Sequence[bytes], count: int) -> None:
        for turn in range(count):
            block = blocks[turn % len(blocks)]
            if await self._workplace.echo(block) != block:
                raise WrongAnswer(f"echo {turn} came back changed")


def _check_sum(answer: int, number: int) -> None:
    if answer != number + ADDEND:
        raise WrongAnswer(f"{number} + {ADDEND}: got {answer}")


class RoamAdapter(Adapter):
    """roam_trio over TCP on loopback."""

    name: ClassVar[str] = "roam_trio"

    def versions(self) -> dict[str, str]:
        packages = ("roam-trio", "trio", "msgspec", "attrs", "cattrs")
        return {package: _version(package) for package in packages}

    def serve(self, started: Callable[[str], None]) -> None:
        async def run() -> None:
            handler = dispatcher(Workplace, WorkplaceHandler())
            async with trio.open_nursery() as nursery:
                server = await nursery.start(serve, "tcp://127.0.0.1:0", handler)
                started(server.url)

        trio.run(run)

    def run_client(self, address: str, use: Callable[[Client], Awaitable[T]]) -> T:
        async def run() -> T:
            async with connect(address, Workplace) as workplace:
                return await use(RoamClient(workplace))

        return trio.run(run)


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "run from its sources"
