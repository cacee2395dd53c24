"""The service of live sessions: every kind of method, and inputs that call them."""

from __future__ import annotations

from typing import Any, Protocol

import attrs
import msgspec
import trio

from roam_trio import Fallible, Rx, Tx, describe, dispatcher, i32, i64, service, u8, u32

__all__ = ["HANDLER", "IDS", "Declared", "Planned", "Probe"]


class Row(msgspec.Struct, frozen=True):
    id: u32
    name: str


@attrs.define
class Declared(Exception):
    """The error that a method declares."""

    why: str


class Planned(Exception):
    """What a handler raises that fails."""


@service
class Probe(Protocol):
    async def add(self, left: u32, right: u32) -> i64: ...
    async def echo(self, text: str) -> Fallible[str, Declared]: ...
    async def fail(self) -> None: ...
    async def hang(self) -> None: ...
    async def rows(self, rows: list[Row]) -> list[Row]: ...
    async def take(self, numbers: Rx[i32]) -> i64: ...
    async def give(self, upto: u8, output: Tx[i32]) -> None: ...
    async def both(self, numbers: Rx[str], output: Tx[str]) -> None: ...


class ProbeImpl:
    async def add(self, left: int, right: int) -> int:
        return left + right

    async def echo(self, text: str) -> str:
        if not text:
            raise Declared("there is no text")
        return text

    async def fail(self) -> None:
        raise Planned

    async def hang(self) -> None:
        await trio.sleep_forever()

    async def rows(self, rows: list[Row]) -> list[Row]:
        return rows

    async def take(self, numbers: Rx[int]) -> int:
        return sum([number async for number in numbers])

    async def give(self, upto: int, output: Tx[int]) -> None:
        for number in range(upto):
            await output.send(number)

    async def both(self, numbers: Rx[str], output: Tx[str]) -> None:
        async for text in numbers:
            await output.send(text)


HANDLER: Any = dispatcher(Probe, ProbeImpl())
IDS = {method.name: method.id for method in describe(Probe).methods}
