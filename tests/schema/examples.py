"""Types that several tests of the schema look at."""

from __future__ import annotations

import dataclasses
import enum
from typing import Any, ClassVar, Generic, Literal, NewType, TypeVar

import attrs
import msgspec

from roam_trio.schema import char, f32, i32, transparent, u8, u16, u32

T = TypeVar("T")


class _End(Generic[T]):
    """Stands in for the ends of channels; equal if unbound, as decoded ones are."""

    @classmethod
    def __roam_unbound__(cls) -> _End[T]:
        return cls()

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other)

    __hash__ = object.__hash__


class Tx(_End[T]):
    __roam_channel__: ClassVar[Literal["tx"]] = "tx"


class Rx(_End[T]):
    __roam_channel__: ClassVar[Literal["rx"]] = "rx"


class Point(msgspec.Struct, frozen=True):
    x: i32
    y: i32


@attrs.frozen
class AttrsPoint:
    x: i32
    y: i32


@dataclasses.dataclass(frozen=True)
class DataPoint:
    x: i32
    y: i32


class Pair(msgspec.Struct, array_like=True, frozen=True):
    """A tuple struct."""

    left: u8
    right: u16


class Wrapped(msgspec.Struct, array_like=True, frozen=True):
    """A tuple struct of one field, which is not transparent."""

    value: u32


@transparent
@attrs.frozen
class Meters:
    value: f32


@attrs.frozen
class Nothing:
    """A unit struct."""


UserId = NewType("UserId", int)


class Color(enum.Enum):
    RED = "Red"
    GREEN = 1
    BLUE = "blue"


class Circle(msgspec.Struct, frozen=True):
    radius: float


@attrs.frozen
class Square:
    side: u32
    label: str


@dataclasses.dataclass(frozen=True)
class Empty:
    pass


Drawing = Empty | Wrapped | Pair | Circle | Square


@attrs.define
class Node:
    """Refers to itself directly."""

    next: Node | None = None


@dataclasses.dataclass
class Tree:
    value: u32
    children: list[Tree] = dataclasses.field(default_factory=list)


class A(msgspec.Struct):
    b: B | None = None


class B(msgspec.Struct):
    a: A | None = None


class R(msgspec.Struct):
    pair: tuple[u8, R | None]


class Num(msgspec.Struct, frozen=True):
    value: i32


class Add(msgspec.Struct, frozen=True):
    left: Expr
    right: Expr


class Neg(msgspec.Struct, frozen=True, array_like=True):
    operand: Expr


Expr = Num | Add | Neg


class MsgspecPage(msgspec.Struct, Generic[T]):
    items: list[T]
    next: MsgspecPage[T] | None = None


@attrs.define
class AttrsPage(Generic[T]):
    items: list[T]
    next: AttrsPage[T] | None = None


@dataclasses.dataclass
class DataPage(Generic[T]):
    items: list[T]
    next: DataPage[T] | None = None


@attrs.define
class MathError(Exception):
    code: u16
    message: str


@attrs.define
class Private:
    """Its wire names are those that its constructor takes."""

    _secret: str
    kind_: u8 = attrs.field(alias="kind", kw_only=True)


class Renamed(msgspec.Struct, rename="camel"):
    first_name: str
    grade: char = msgspec.field(name="class")


@attrs.define
class Streams:
    """Channels at several depths."""

    first: Tx[u32]
    label: str
    maybe: Rx[str] | None
    inner: Inner | None = None


@attrs.define
class Inner:
    tx: Tx[Point]


def hexed(pieces: list[Any]) -> str:
    return b"".join(pieces).hex(" ")
