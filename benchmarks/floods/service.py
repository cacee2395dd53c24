"""The service that is flooded."""

from __future__ import annotations

from typing import Annotated, Final, Protocol

import trio

from roam_trio import Credit, Metadata, Rx, Tx, describe, service, u32

__all__ = ["METHODS", "NAME", "NAMED", "Target", "TargetHandler"]

NAME: Final = "target"
"""The name by which the server offers the service."""

NAMED: Final = Metadata.of({"service": NAME})
"""Metadata of a ConnectionOpen that asks for it."""

_SHIELDED_SECONDS: Final = 30.0
"""How long a handler runs on that does not care whether it is cancelled."""


@service
class Target(Protocol):
    """Methods that an honest client may need, and a flooder may misuse."""

    async def add(self, left: u32, right: u32) -> u32: ...
    async def fail(self) -> None: ...
    async def sleep(self, data: bytes) -> None: ...
    async def sleep_shielded(self) -> None: ...
    async def take_one(self, numbers: Rx[u32]) -> u32: ...
    async def take_none(self, numbers: Annotated[Rx[u32], Credit(16)]) -> None: ...
    async def give(self, numbers: Tx[u32]) -> None: ...


METHODS: Final = {method.name: method for method in describe(Target).methods}


class TargetHandler:
    """Does what a program might do."""

    async def add(self, left: int, right: int) -> int:
        await trio.lowlevel.checkpoint()
        return (left + right) % 2**32

    async def fail(self) -> None:
        raise RuntimeError("a failure of the program")

    async def sleep(self, data: bytes) -> None:
        await trio.sleep_forever()

    async def sleep_shielded(self) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(_SHIELDED_SECONDS)

    async def take_one(self, numbers: Rx[int]) -> int:
        async with numbers:
            return await numbers.recv()

    async def take_none(self, numbers: Rx[int]) -> None:
        await trio.sleep_forever()

    async def give(self, numbers: Tx[int]) -> None:
        async with numbers:
            while True:
                await numbers.send(1)
