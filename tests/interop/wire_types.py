"""The types of `rust_peer/src/types.rs`, and the same values of them."""

from __future__ import annotations

import enum
from typing import Generic, Literal, TypeVar

import attrs
import msgspec

from roam_trio import (
    Array,
    Rx,
    char,
    f32,
    f64,
    i8,
    i16,
    i32,
    i64,
    i128,
    isize,
    transparent,
    u8,
    u16,
    u32,
    u64,
    u128,
    usize,
)

T = TypeVar("T")


class Integers(msgspec.Struct, frozen=True):
    tiny: u8
    small: u16
    medium: u32
    large: u64
    huge: u128
    signed_tiny: i8
    signed_small: i16
    signed_medium: i32
    signed_large: i64
    signed_huge: i128
    size: usize
    signed_size: isize


class Scalars(msgspec.Struct, frozen=True):
    yes: bool
    single: f32
    double: f64
    letter: char
    word: str
    data: bytes
    nothing: None


@attrs.frozen
class Containers:
    list: list[i32]
    lists: list[list[str]]
    maybe: u32 | None
    maybe_list: list[u16] | None
    array: Array[u16, Literal[3]]
    digest: Array[u8, Literal[4]]
    map: dict[str, u32]
    hash_map: dict[u8, bool | None]
    set: set[char]
    pair: tuple[u8, str]
    nested: tuple[bool, tuple[i16, Array[f32, Literal[2]]]]
    shared: str
    boxed: i64


class Point(msgspec.Struct, frozen=True):
    x: i32
    y: i32


class Labelled(msgspec.Struct, array_like=True, frozen=True):
    """A tuple struct."""

    number: u16
    label: str


class Single(msgspec.Struct, array_like=True, frozen=True):
    """A tuple struct of one field, which is not transparent."""

    number: u32


@transparent
@attrs.frozen
class Metres:
    value: f64


@attrs.frozen
class Marker:
    """A unit struct."""


class Colour(enum.Enum):
    RED = "Red"
    GREEN = "Green"
    BLUE = "Blue"


class Spaced(enum.Enum):
    """In Rust the discriminants are 3 and 200."""

    NEAR = "Near"
    FAR = "Far"


class Nothing(msgspec.Struct, frozen=True):
    pass


class Circle(msgspec.Struct, array_like=True, frozen=True):
    radius: f64


class Segment(msgspec.Struct, array_like=True, frozen=True):
    start: Metres
    end: Metres


class Rectangle(msgspec.Struct, frozen=True):
    width: u32
    height: u32


class Polygon(msgspec.Struct, array_like=True, frozen=True):
    corners: list[Point]


class Named(msgspec.Struct, frozen=True):
    label: str
    figure: Figure


Figure = Nothing | Circle | Segment | Rectangle | Polygon | Named


class Tree(msgspec.Struct, frozen=True):
    value: i32
    children: list[Tree] = []


class Chain(msgspec.Struct, frozen=True):
    value: u8
    next: Chain | None = None


class Number(msgspec.Struct, array_like=True, frozen=True):
    number: i64


class Sum(msgspec.Struct, array_like=True, frozen=True):
    left: Expr
    right: Expr


class Negated(msgspec.Struct, frozen=True):
    operand: Expr


Expr = Number | Sum | Negated


class Page(msgspec.Struct, Generic[T], frozen=True):
    items: list[T]
    total: u32


@attrs.define
class Order:
    """A channel in a field."""

    label: str
    numbers: Rx[u32]


@attrs.define
class DividedByZero(Exception):
    dividend: i64


class Closed(msgspec.Struct, frozen=True):
    pass


@attrs.define
class TooMany(Exception):
    limit: u32


class NotOne(msgspec.Struct, array_like=True, frozen=True):
    text: str


Refusal = Closed | TooMany | NotOne


def value_of(expr: Expr) -> int:
    match expr:
        case Number(number):
            return number
        case Sum(left, right):
            return value_of(left) + value_of(right)
        case Negated(operand):
            return -value_of(operand)


WIDTHS = (8, 16, 32, 64, 128)

LOWEST = Integers(
    *[0 for _ in WIDTHS],
    *[-(2 ** (width - 1)) for width in WIDTHS],
    0,
    -(2**63),
)
HIGHEST = Integers(
    *[2**width - 1 for width in WIDTHS],
    *[2 ** (width - 1) - 1 for width in WIDTHS],
    2**64 - 1,
    2**63 - 1,
)

# The number that is nearest to -0.1 in 32 bits.
TENTH = -13421773 / 2**27

SCALARS = Scalars(
    yes=True,
    single=TENTH,
    double=1e300,
    letter="🦀",
    word="héllo 世界",
    data=bytes([0, 1, 254, 255]),
    nothing=None,
)

CONTAINERS = Containers(
    list=[-1, 0, 1],
    lists=[[], ["a", ""]],
    maybe=7,
    maybe_list=None,
    array=[1, 300, 65535],
    digest=[0xDE, 0xAD, 0xBE, 0xEF],
    map={"one": 1, "two": 2},
    hash_map={9: True},
    set={"a", "é"},
    pair=(255, "last"),
    nested=(False, (-300, [0.5, -2.0])),
    shared="shared",
    boxed=-(1 << 40),
)

FIGURES: list[Figure] = [
    Nothing(),
    Circle(1.5),
    Segment(Metres(0.25), Metres(-8.0)),
    Rectangle(width=300, height=2),
    Polygon([Point(-1, 1), Point(64, -65)]),
    Named("inner", Circle(0.0)),
]

TREE = Tree(1, [Tree(-2), Tree(3, [Tree(4)])])

EXPR = Sum(Number(5), Negated(Sum(Number(2), Number(1))))

PAGE = Page([Point(1, 2), Point(-3, 4)], 1000)


def chain(length: int) -> Chain:
    return Chain(length, chain(length - 1) if length > 1 else None)
