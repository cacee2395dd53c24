"""The services of `rust_peer/src/services.rs`, with the same names, types and ids."""

from __future__ import annotations

from typing import Annotated, Protocol

from roam_trio import (
    Credit,
    Fallible,
    Health,
    Reflection,
    Rx,
    Slice,
    Tx,
    i8,
    i16,
    i32,
    i64,
    i128,
    service,
    u8,
    u16,
    u32,
    u64,
    u128,
)

from .wire_types import (
    Chain,
    Colour,
    Containers,
    DividedByZero,
    Expr,
    Figure,
    Integers,
    Labelled,
    Marker,
    Metres,
    Order,
    Page,
    Point,
    Refusal,
    Scalars,
    Single,
    Spaced,
    Tree,
)

__all__ = [
    "Absent",
    "Faults",
    "Health",
    "Reflection",
    "Streams",
    "Values",
    "Waiting",
]


@service
class Values(Protocol):
    """Values of every wire type, there and back."""

    async def integers(self, value: Integers) -> Integers: ...
    async def scalars(self, value: Scalars) -> Scalars: ...
    async def containers(self, value: Containers) -> Containers: ...
    async def structs(
        self,
        point: Point,
        labelled: Labelled,
        single: Single,
        metres: Metres,
        marker: Marker,
    ) -> tuple[Point, Labelled, Single, Metres, Marker]: ...
    async def colours(self, value: list[Colour]) -> list[Colour]: ...
    async def spaced(self, value: Spaced) -> Spaced: ...
    async def figures(self, value: list[Figure]) -> list[Figure]: ...
    async def tree(self, value: Tree) -> Tree: ...
    async def chain(self, value: Chain) -> Chain: ...
    async def evaluate(self, value: Expr) -> i64: ...
    async def expr(self, value: Expr) -> Expr: ...
    async def page(self, value: Page[Point]) -> Page[str]: ...
    async def nothing(self) -> None: ...
    async def spelled(
        self,
        a: u8,
        b: u16,
        c: u32,
        d: u64,
        e: u128,
        f: i8,
        g: i16,
        h: i32,
        i: i64,
        j: i128,
    ) -> str: ...
    async def borrowed(self, text: str, data: Annotated[bytes, Slice()]) -> str: ...
    async def lent(self, text: str) -> str: ...
    async def owned_or_lent(self, text: str) -> str: ...
    async def bytes(self, data: bytes) -> bytes: ...


@service
class Faults(Protocol):
    """Methods that fail in every way there is."""

    async def divide(
        self, dividend: i64, divisor: i64
    ) -> Fallible[i64, DividedByZero]: ...
    async def refuse(self, kind: u8) -> Fallible[str, Refusal]: ...
    async def paint(self, colour: Colour) -> Fallible[None, Colour]: ...
    async def complain(self, text: str) -> Fallible[u32, str]: ...
    async def break_down(self) -> u32: ...
    async def decide(self, yes: bool) -> bool: ...


@service
class Streams(Protocol):
    """Channels in both directions."""

    async def sum(self, numbers: Rx[i64]) -> i64: ...
    async def count(self, end: u32, numbers: Tx[u32]) -> u32: ...
    async def reversed(self, texts: Rx[str], reversed: Tx[str]) -> u32: ...
    async def draw(self, corners: Rx[Point], figures: Tx[Figure]) -> None: ...
    async def sum_narrow(self, numbers: Annotated[Rx[u32], Credit(1)]) -> u64: ...
    async def sum_wide(self, numbers: Annotated[Rx[u32], Credit(64)]) -> u64: ...
    async def count_narrow(
        self, end: u32, numbers: Annotated[Tx[u32], Credit(1)]
    ) -> None: ...
    async def count_wide(
        self, end: u32, numbers: Annotated[Tx[u32], Credit(64)]
    ) -> None: ...
    async def count_widest(
        self, end: u32, numbers: Annotated[Tx[u32], Credit(200)]
    ) -> None: ...
    async def sum_late(self, numbers: Annotated[Rx[u32], Credit(200)]) -> u64: ...
    async def sum_in_order(self, order: Order) -> u64 | None: ...
    async def sum_if_given(self, numbers: Rx[u32] | None) -> u64 | None: ...
    async def take(self, number: u32, numbers: Rx[u32]) -> u64: ...
    async def measure(self, blobs: Rx[bytes]) -> u64: ...
    async def fill(self, size: u32, blobs: Tx[bytes]) -> None: ...
    async def later(self, end: u32, numbers: Tx[u32]) -> None: ...


@service
class Waiting(Protocol):
    """Calls that wait."""

    async def forever(self, name: str) -> None: ...
    async def meet(self, number: u32) -> u32: ...
    async def begun(self) -> list[str]: ...
    async def ended(self) -> list[str]: ...
    async def add(self, left: u32, right: u32) -> u32: ...


@service
class Absent(Protocol):
    """Nobody serves it."""

    async def absent(self, value: u32) -> u32: ...
    async def refused(self, value: u32) -> Fallible[u32, str]: ...
