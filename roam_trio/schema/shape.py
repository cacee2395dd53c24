"""Shapes, which describe the wire type of a Python type and how to build its values.

A `Shape` is plain data. `derive` makes it from type hints. The signature, the codecs
and the channel locations are derived from it, so they are consistent.

Structs, enums and tuples are *levels*: they have a name that is unique within their
shape. A recursive type refers to itself with a `RefShape` that names an enclosing
level.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from enum import Enum
from typing import Any, Literal, TypeAlias

from attrs import field, frozen

__all__ = [
    "ArrayShape",
    "BoolShape",
    "BytesShape",
    "ChannelShape",
    "CharShape",
    "ConvertedShape",
    "EnumShape",
    "Field",
    "FloatShape",
    "IntShape",
    "ListShape",
    "MapShape",
    "OptionShape",
    "Record",
    "RefShape",
    "SetShape",
    "Shape",
    "StrShape",
    "StructShape",
    "TransparentShape",
    "TupleShape",
    "UnionShape",
    "UnitShape",
    "Variant",
    "children",
    "circles",
    "count_channels",
    "has_channels",
    "has_no_parts",
    "is_flat",
    "levels",
    "next_levels",
    "repeated_levels",
    "walked",
]


@frozen
class BoolShape:
    """`bool`."""


@frozen
class IntShape:
    """An integer: ``u8`` to ``u128``, ``i8`` to ``i128``, ``usize``, ``isize``."""

    name: str
    bits: int
    signed: bool

    @property
    def minimum(self) -> int:
        return -(1 << self.bits - 1) if self.signed else 0

    @property
    def maximum(self) -> int:
        return (1 << self.bits - self.signed) - 1


@frozen
class FloatShape:
    """A float of 32 or 64 bits."""

    bits: Literal[32, 64]


@frozen
class CharShape:
    """A `str` of exactly one Unicode scalar value."""


@frozen
class StrShape:
    """`str`."""


@frozen
class BytesShape:
    """`bytes`, or, as a `view`, a `memoryview` of the received buffer.

    `slice` is Rust's ``&[u8]``, which differs from ``Vec<u8>`` in the signature only.
    """

    view: bool = False
    slice: bool = False


@frozen
class UnitShape:
    """None: no bytes.

    In the shape of a translated service, also a part that only the peer has.

    Attributes:
        written: the bytes that are written for it: the default of the peer.
        skipped: the shape of what is read, and dropped. Its levels are its own.
    """

    written: bytes = b""
    skipped: Shape | None = None


@frozen
class OptionShape:
    """``T | None``.

    Attributes:
        present: there always is a value on this side, and None may be one. Only for
            writing, as only the peer has the option.
    """

    inner: Shape
    present: bool = False


@frozen
class ListShape:
    """A counted sequence; the Python value is a list or a tuple."""

    item: Shape
    python: Literal["list", "tuple"] = "list"
    slice: bool = False


@frozen
class ArrayShape:
    """A sequence of fixed length; of u8, the Python value may be a byte string.

    Attributes:
        counted: the length is written before the items. Only for writing, as the peer
            has a list.
    """

    item: Shape
    length: int
    python: Literal["list", "tuple", "bytes", "memoryview"] = "list"
    counted: bool = False


@frozen
class SetShape:
    """A set; the Python value is a `set` or a `frozenset`."""

    item: Shape
    frozen: bool = False


@frozen
class MapShape:
    """A `dict`."""

    key: Shape
    value: Shape


@frozen
class TupleShape:
    """A tuple. The arguments of a method are one whose items have `labels`."""

    name: str
    items: tuple[Shape, ...]
    labels: tuple[str, ...] | None = None


@frozen
class Field:
    """A field of a class.

    Attributes:
        name: its name in the signature.
        attribute: the attribute that holds it; empty if only the peer has the field.
        keyword: the parameter of the constructor that takes it; empty likewise.
    """

    name: str
    attribute: str
    keyword: str
    shape: Shape


@frozen
class Record:
    """Fields of a class, and the way to build its values.

    Attributes:
        positional: the constructor takes all fields by position, in this order.
        tuple_like: the fields have no names in the signature.
        args: normal forms of the arguments of the class, if it is generic.
    """

    cls: type[Any]
    fields: tuple[Field, ...]
    positional: bool
    tuple_like: bool
    args: tuple[Any, ...] = ()


@frozen
class StructShape:
    """A class as a struct, a tuple struct or, without fields, a unit struct."""

    name: str
    record: Record


@frozen
class EnumShape:
    """An `enum.Enum`: every member is a unit variant.

    Attributes:
        variants: the names in the signature, in the order of `members`.
    """

    name: str
    cls: type[Enum]
    members: tuple[Enum, ...]
    variants: tuple[str, ...]


@frozen
class Variant:
    """A class as a variant of a union."""

    name: str
    record: Record


@frozen
class UnionShape:
    """A union of classes: an enum with data."""

    name: str
    variants: tuple[Variant, ...]


@frozen
class TransparentShape:
    """A class with the wire form of its only field."""

    record: Record

    @property
    def inner(self) -> Shape:
        return self.record.fields[0].shape


@frozen
class ConvertedShape:
    """A type that hooks convert to and from a type with a wire form."""

    cls: type[Any]
    inner: Shape
    unstructure: Callable[[Any], Any] = field(eq=False)
    structure: Callable[[Any, Any], Any] = field(eq=False)


@frozen(cache_hash=True)
class ChannelShape:
    """A channel: no bytes; its id travels beside the payload.

    Attributes:
        direction: as seen by the holder of the handle (`rpc.channel.direction`).
        credit: number of items that the sender may send before the first grant.
        handle: the class of the handle.
        item_type: the annotation of the items, for errors.
    """

    direction: Literal["tx", "rx"]
    item: Shape
    credit: int
    handle: type[Any]
    item_type: Any = field(default=None, eq=False, repr=False)


@frozen
class RefShape:
    """A reference to the enclosing level of this name, for recursive types."""

    name: str


Shape: TypeAlias = (
    BoolShape
    | IntShape
    | FloatShape
    | CharShape
    | StrShape
    | BytesShape
    | UnitShape
    | OptionShape
    | ListShape
    | ArrayShape
    | SetShape
    | MapShape
    | TupleShape
    | StructShape
    | EnumShape
    | UnionShape
    | TransparentShape
    | ConvertedShape
    | ChannelShape
    | RefShape
)

Level: TypeAlias = TupleShape | StructShape | EnumShape | UnionShape


def children(shape: Shape) -> Iterator[Shape]:
    """Yield the shapes of the parts of `shape`, in the order of the wire.

    The items of a channel are not parts, because they are sent separately.
    """
    match shape:
        case OptionShape(inner) | ConvertedShape(_, inner):
            yield inner
        case ListShape(item) | ArrayShape(item) | SetShape(item):
            yield item
        case MapShape(key, value):
            yield key
            yield value
        case TupleShape(_, items):
            yield from items
        case StructShape(_, record) | TransparentShape(record):
            yield from (each.shape for each in record.fields)
        case UnionShape(_, variants):
            for variant in variants:
                yield from (each.shape for each in variant.record.fields)
        case _:
            return


def walked(root: Shape) -> Iterator[Shape]:
    """Yield every part of a shape, each level only once."""
    seen: set[str] = set()
    left = [root]
    while left:
        shape = left.pop()
        if isinstance(shape, TupleShape | StructShape | EnumShape | UnionShape):
            # A type that occurs in several places has one name and one meaning.
            if shape.name in seen:
                continue
            seen.add(shape.name)
        yield shape
        left.extend(children(shape))


def levels(root: Shape) -> dict[str, Level]:
    """Return every level of a shape by its name, to resolve references."""
    return {
        shape.name: shape
        for shape in walked(root)
        if isinstance(shape, TupleShape | StructShape | EnumShape | UnionShape)
    }


def is_flat(record: Record) -> bool:
    """Return True if all fields have types without parts, or options of such types."""
    return all(has_no_parts(field.shape) for field in record.fields)


def has_no_parts(shape: Shape) -> bool:
    """Return True for a type without parts, or an option of one."""
    if isinstance(shape, OptionShape):
        return has_no_parts(shape.inner)
    return isinstance(
        shape,
        BoolShape
        | IntShape
        | FloatShape
        | CharShape
        | StrShape
        | BytesShape
        | UnitShape
        | EnumShape,
    )


def has_channels(shape: Shape) -> bool:
    """Return True if a channel is part of a shape."""
    return any(isinstance(each, ChannelShape) for each in walked(shape))


def count_channels(shape: Shape) -> int:
    """Count the places of a value that can hold a channel."""
    if not has_channels(shape):
        return 0
    known: dict[str, int] = {}

    def count(part: Shape) -> int:
        if isinstance(part, ChannelShape):
            return 1
        if not isinstance(part, TupleShape | StructShape | UnionShape):
            return sum(map(count, children(part)))
        if part.name not in known:
            known[part.name] = sum(map(count, children(part)))
        return known[part.name]

    return count(shape)


def next_levels(shape: Shape) -> Iterator[str]:
    """Yield the names of the levels directly inside a level."""
    left = list(children(shape))
    while left:
        part = left.pop()
        if isinstance(
            part, RefShape | TupleShape | StructShape | EnumShape | UnionShape
        ):
            yield part.name
        else:
            left.extend(children(part))


def circles(root: Shape) -> dict[str, int]:
    """Return the number of the strongly connected component of each level.

    Levels with higher numbers do not lead to it (Kosaraju).
    """
    following = {name: set(next_levels(each)) for name, each in levels(root).items()}
    before: dict[str, list[str]] = {name: [] for name in following}
    for name, others in following.items():
        for other in others:
            before[other].append(name)
    order: list[str] = []
    seen: set[str] = set()
    for start in following:
        left = [] if start in seen else [(start, iter(following[start]))]
        seen.add(start)
        while left:
            last, rest = left[-1]
            unseen = next((each for each in rest if each not in seen), None)
            if unseen is None:
                order.append(last)
                left.pop()
            else:
                seen.add(unseen)
                left.append((unseen, iter(following[unseen])))
    numbers: dict[str, int] = {}
    for number, start in enumerate(reversed(order)):
        again = [start]
        while again:
            name = again.pop()
            if name not in numbers:
                numbers[name] = number
                again.extend(before[name])
    return numbers


def repeated_levels(root: Shape) -> set[str]:
    """Return the levels that contain themselves, and those in them."""
    following = {name: set(next_levels(each)) for name, each in levels(root).items()}
    numbers = circles(root)
    sizes = Counter(numbers.values())
    left = [
        name
        for name, others in following.items()
        if sizes[numbers[name]] > 1 or name in others
    ]
    found: set[str] = set()
    while left:
        name = left.pop()
        if name not in found:
            found.add(name)
            left.extend(following[name])
    return found
