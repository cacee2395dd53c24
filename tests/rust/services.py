"""Services with everything in them that has a counterpart in Rust."""

from __future__ import annotations

import dataclasses
import enum
import uuid
from typing import Annotated, Any, Generic, Literal, Protocol, TypeVar

import attrs
import msgspec

from roam_trio import (
    Array,
    Credit,
    Fallible,
    Length,
    Rx,
    Slice,
    Tx,
    char,
    f32,
    i8,
    i16,
    i32,
    i128,
    isize,
    service,
    transparent,
    u8,
    u16,
    u32,
    u64,
    u128,
    usize,
)

T = TypeVar("T")


class Point(msgspec.Struct, frozen=True):
    """A point of a grid."""

    x: i32
    y: i32


class Pair(msgspec.Struct, array_like=True):
    left: u8
    right: str


class Alone(msgspec.Struct, array_like=True):
    value: u32


@transparent
@attrs.frozen
class Meters:
    value: f32


@attrs.define
class Nothing:
    pass


class Colour(enum.Enum):
    """What a shape is painted with."""

    RED = "Red"
    DARK_BLUE = "DarkBlue"
    crate_brown = 3


class Circle(msgspec.Struct):
    radius: f32


@attrs.define
class Square:
    """Four equal sides."""

    side: u32
    label: str | None


@dataclasses.dataclass
class Empty:
    pass


Drawing = Empty | Alone | Pair | Circle | Square | Meters


class Num(msgspec.Struct):
    value: i32


class Add(msgspec.Struct):
    left: Expression
    right: Expression


class Neg(msgspec.Struct, array_like=True):
    operand: Expression


Expression = Num | Add | Neg


@attrs.define
class Tree:
    children: list[Tree]
    parent: Tree | None = None


@attrs.define
class Chicken:
    egg: Egg | None


@attrs.define
class Egg:
    chicken: tuple[u8, Chicken | None]


class Page(msgspec.Struct, Generic[T]):
    items: list[T]
    next: Page[T] | None = None


class Keywords(msgspec.Struct):
    """Names that Rust has other uses for."""

    type: u8
    match: str
    from_: u8 = msgspec.field(name="from")
    camelCase: bool = False


@attrs.define
class Streams:
    """Channels in a class."""

    input: Rx[Point]
    output: Annotated[Tx[str], Credit(7)] | None


@attrs.define
class Timeout(Exception):
    after: u64


@attrs.define
class Full(Exception):
    pass


class Vec(msgspec.Struct):
    """Named as what Rust knows already."""

    option: u8


@service
class Values(Protocol):
    """Every plain type."""

    async def numbers(
        self, a: u8, b: u16, c: u32, d: u64, e: u128, f: usize, g: bool
    ) -> None: ...
    async def signed(
        self, a: i8, b: i16, c: i32, d: int, e: i128, f: isize, g: f32, h: float
    ) -> char: ...
    async def texts(self, text: str, letter: char, data: bytes) -> memoryview:
        """Text, "quoted", with a \\ in it.

        And a second paragraph.
        """
        ...

    async def nothing(self, none: None) -> tuple[()]: ...
    async def arrays(
        self,
        digest: Annotated[bytes, Length(16)],
        grid: Array[Array[u16, Literal[2]], Literal[3]],
        slice: Annotated[bytes, Slice()],
        slices: Annotated[list[str], Slice()],
    ) -> Array[u16, Literal[2]]: ...
    async def collections(
        self,
        texts: dict[str, list[u32 | None]],
        sets: frozenset[frozenset[Point]],
        points: dict[tuple[Point, Colour], set[char]],
    ) -> tuple[u8]: ...
    async def converted(self, id: uuid.UUID) -> list[uuid.UUID]: ...


@service
class Classes(Protocol):
    async def structs(
        self, point: Point, pair: Pair, alone: Alone, vec: Vec
    ) -> Meters: ...
    async def unions(self, drawing: Drawing | None) -> list[Drawing]: ...
    async def unit(self, nothing: Nothing) -> Colour: ...
    async def recursive(self, tree: Tree, expression: Expression) -> Expression: ...
    async def mutual(self, egg: Egg, both: tuple[u8, Chicken | None]) -> Chicken: ...
    async def generic(self, page: Page[u32]) -> Page[Page[Point]]: ...
    async def keywords(self, type: Keywords, reply: u8, method_id: u8) -> u8: ...
    async def fails(self) -> Fallible[list[Point], Timeout | Full]: ...
    async def failsPlainly(self, times: u32) -> Fallible[None, str]: ...
    async def getHTTP2Page(self, v2_api: u8, v2Api: u8) -> None: ...


@service
class Channels(Protocol):
    async def plain(self, input: Rx[u32], output: Tx[list[Point]]) -> u32: ...
    async def credit(
        self,
        none: Annotated[Rx[u8], Credit(0)],
        many: Annotated[Tx[u8], Credit(1000)] | None,
    ) -> None: ...
    async def within(self, streams: Streams, maybe: Streams | None) -> None: ...


SERVICES: list[Any] = [Values, Classes, Channels]
