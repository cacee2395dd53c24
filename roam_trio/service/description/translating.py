"""Shapes of this side's types with the bytes of the peer's.

The codec compiles them as any others: what it writes is what the peer reads, and what
it reads are values of this side's classes. `convertible` has found before that the
types of a method can be converted.
"""

from __future__ import annotations

import enum
import operator
import struct
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal, TypeAlias, cast

from attrs import evolve

from ...codec.interpret import interpret_encode
from ...codec.primitives import as_bytes
from ...errors import CodecError, SchemaError
from ...legible import legible
from ...schema.derive import shape_of
from ...schema.scalars import MARKED, U8
from ...schema.shape import (
    ArrayShape,
    BytesShape,
    ChannelShape,
    CharShape,
    ConvertedShape,
    EnumShape,
    Field,
    FloatShape,
    IntShape,
    Level,
    ListShape,
    MapShape,
    OptionShape,
    Record,
    RefShape,
    SetShape,
    Shape,
    StructShape,
    TransparentShape,
    TupleShape,
    UnionShape,
    UnitShape,
    Variant,
    levels,
)
from ...schema.shared_work import SharedWork
from .annotations import Annotations
from .convertible import Member, members, plainly
from .model import (
    ArgSchema,
    ArrayType,
    ChannelType,
    EnumSchema,
    ListType,
    MapType,
    NamedType,
    OptionType,
    ServiceSchema,
    StructSchema,
    TupleType,
    Type,
    VariantSchema,
    parts,
)
from .plain_values import STEPS_TO_MAKE_PLAIN, Anything, plain_shape

__all__ = ["MOST_LEVELS", "MOST_STEPS", "MOST_STEPS_OF_A_METHOD", "Translator"]

MOST_LEVELS: Final = 4096
"""Maximum number of pairs of types that one method is translated for."""

MOST_STEPS: Final = 200_000
"""Maximum number of steps in which the types of all methods of a peer are derived and
translated, besides those for each method: some seconds. A step is a place of a type
that is looked at.
"""

MOST_STEPS_OF_A_METHOD: Final = 1000
"""Number of steps that each method of this side adds to `MOST_STEPS`, so that large
services can be translated.
"""

_Way: TypeAlias = Literal["write", "read"]


class Translator:
    """Translates shapes of this side for one peer.

    Args:
        theirs: the schema of the peer, which `schema_from_wire` has checked.
        work: counts the steps; by default without a bound.
    """

    def __init__(self, theirs: ServiceSchema, work: SharedWork | None = None) -> None:
        self.work = work or SharedWork()
        self._absent: dict[Type, Shape] = {}
        self._in_json: dict[Type, Shape] = {}
        self._defaults: dict[tuple[Type, str], bytes] = {}
        self.definitions = {each.name: each for each in theirs.types}
        self._annotations = Annotations(theirs)

    def read(self, mine: Shape, theirs: Type) -> Shape:
        """Return the shape by which this side reads values of the peer.

        Raises:
            SchemaError: a type of the peer has no wire form, or there are too many.
        """
        return _Root(self, mine, "read").shape(mine, theirs)

    def arguments(
        self, mine: TupleShape, theirs: Sequence[ArgSchema]
    ) -> tuple[TupleShape, list[int | None]]:
        """Return the shape of the arguments of the peer, in its order.

        Also return the place of each among the arguments of this side: None for one
        that only the peer has, for which its default is written.

        Raises:
            SchemaError: as `read`, or a default has another type.
        """
        root = _Root(self, mine, "write")
        assert mine.labels is not None
        places = [
            mine.labels.index(each.name) if each.name in mine.labels else None
            for each in theirs
        ]
        items = tuple(
            root.absent(arg)
            if place is None
            else root.shape(mine.items[place], arg.type)
            for place, arg in zip(places, theirs, strict=True)
        )
        labels = tuple(arg.name for arg in theirs)
        return TupleShape(root.new_name("arguments"), items, labels), places

    # ------------------------------------------------------------ what only they have

    def shape_of(self, member: Member) -> Shape:
        """Return the shape of a part that this side does not have."""
        type = member.type
        if type not in self._absent:
            annotation = self._annotations.of(type)
            self._absent[type] = shape_of(
                annotation, legible(member.name), work=self.work
            )
        return self._absent[type]

    def default(self, member: Member, shape: Shape) -> bytes:
        """Return the encoding of the default of a part that this side does not have."""
        key = member.type, repr(member.default)
        self.work.count_text(key[1])
        if key not in self._defaults:
            self._defaults[key] = self._encoded_default(member, shape)
        return self._defaults[key]

    def _encoded_default(self, member: Member, shape: Shape) -> bytes:
        self.work.count_parts(shape)
        try:
            return interpret_encode(self._shape_in_json(member, shape), member.default)
        except CodecError as cause:
            raise SchemaError(
                f"its default has another type: {cause}", legible(member.name)
            ) from cause

    def _shape_in_json(self, member: Member, shape: Shape) -> Shape:
        type = member.type
        if type not in self._in_json:
            self.work.count_parts(shape, STEPS_TO_MAKE_PLAIN)
            self._in_json[type] = plain_shape(shape, for_json=True)
        return self._in_json[type]


class _Root:
    """Translates one shape, whose levels have names of their own.

    Args:
        owner: knows the types of the peer.
        mine: the shape of this side.
        way: whether this side writes or reads values of it.
    """

    def __init__(self, owner: Translator, mine: Shape, way: _Way) -> None:
        self._owner = owner
        self._levels = levels(mine)
        self._way = way
        self._names: dict[tuple[str, Type], str] = {}
        self._made: dict[tuple[str, Type], Shape] = {}
        self._count = 0

    # ------------------------------------------------------------ types

    def shape(self, mine: Shape, theirs: Type) -> Shape:
        self._owner.work.count(1)
        match mine:
            case RefShape(name):
                return self.shape(self._levels[name], theirs)
            case TransparentShape(record):
                (field,) = record.fields
                inner = evolve(field, shape=self.shape(field.shape, theirs))
                return TransparentShape(evolve(record, fields=(inner,)))
            case ConvertedShape(inner=inner):
                return evolve(mine, inner=self.shape(inner, theirs))
            case OptionShape(inner) if isinstance(theirs, OptionType):
                return OptionShape(self.shape(inner, theirs.item))
            case OptionShape(inner) if self._way == "read":
                return self.shape(inner, theirs)  # the peer always has a value
            case _ if isinstance(theirs, OptionType):
                return OptionShape(self.shape(mine, theirs.item), present=True)
            case IntShape() | FloatShape() | CharShape() | BytesShape():
                return self._scalar(mine, plainly(theirs))
            case ListShape() | ArrayShape() | SetShape() | MapShape():
                return self._collection(mine, plainly(theirs))
            case ChannelShape():
                return self._channel(mine, theirs)
            case TupleShape() | StructShape() | EnumShape() | UnionShape():
                return self._level(mine, theirs)
            case _:
                return mine

    def _channel(self, mine: ChannelShape, theirs: Type) -> Shape:
        assert isinstance(theirs, ChannelType)
        way: _Way = "write" if mine.direction == "rx" else "read"
        items = _Root(self._owner, mine.item, way).shape(mine.item, theirs.item)
        # Both sides have to begin with the same credit.
        return evolve(mine, item=items, credit=theirs.credit)

    def _scalar(
        self, mine: IntShape | FloatShape | CharShape | BytesShape, theirs: Type
    ) -> Shape:
        if isinstance(mine, BytesShape):
            return self._bytes(mine, theirs)
        if self._way == "read":
            return _SCALARS.get(theirs, mine)
        match mine:
            case IntShape():
                return _written_integer(mine, _SCALARS[theirs])
            case FloatShape(32) if theirs == "f64":
                return _hooked("f32", _as_f32, FloatShape(64))
            case _:
                return mine  # a char has the bytes of a text

    def _bytes(self, mine: BytesShape, theirs: Type) -> Shape:
        match theirs:
            case ArrayType(_, length):
                return ArrayShape(U8, length, "memoryview" if mine.view else "bytes")
            case ListType(item) if plainly(item) != "u8":
                return _hooked("bytes", _numbers, ListShape(self.shape(U8, item)))
            case _:
                return mine

    def _collection(
        self, mine: ListShape | ArrayShape | SetShape | MapShape, theirs: Type
    ) -> Shape:
        if isinstance(mine, MapShape):
            assert isinstance(theirs, MapType)
            key = self.shape(mine.key, theirs.key)
            return MapShape(key, self.shape(mine.value, theirs.value))
        (item,) = parts(theirs)
        inner = self.shape(mine.item, item)
        match mine:
            case ListShape(_, python) if isinstance(theirs, ArrayType):
                return ArrayShape(inner, theirs.length, python)
            case ArrayShape(python="bytes" | "memoryview") if inner != U8:
                array = self._collection(evolve(mine, python="list"), theirs)
                return _hooked("bytes", _numbers, array)
            case ArrayShape():
                counted = isinstance(theirs, ListType)
                return evolve(mine, item=inner, counted=counted)
            case _:
                return evolve(mine, item=inner)

    # ------------------------------------------------------------ levels

    def new_name(self, label: str) -> str:
        """Return a name that no other level of the shape has."""
        self._count += 1
        if self._count > MOST_LEVELS:
            raise SchemaError(
                f"it has more than {MOST_LEVELS} pairs of types to translate: too many "
                "types refer to one another",
                label,
            )
        return f"{label.split(' #')[0]} #{self._count}"

    def _level(self, mine: Level, theirs: Type) -> Shape:
        key = mine.name, theirs
        if key in self._made:
            return self._made[key]
        if key in self._names:
            return RefShape(self._names[key])
        name = self._names[key] = self.new_name(mine.name)
        shape = self._made[key] = self._new_level(name, mine, theirs)
        return shape

    def _new_level(self, name: str, mine: Level, theirs: Type) -> Shape:
        if isinstance(mine, TupleShape):
            assert isinstance(theirs, TupleType)
            pairs = zip(mine.items, theirs.items, strict=True)
            return TupleShape(name, tuple(self.shape(*pair) for pair in pairs))
        assert isinstance(theirs, NamedType)
        definition = self._owner.definitions[theirs.name]
        if isinstance(mine, StructShape):
            assert isinstance(definition, StructSchema)
            return StructShape(name, self._record(mine.record, definition))
        assert isinstance(definition, EnumSchema)
        if isinstance(mine, UnionShape):
            records = {each.name: each.record for each in mine.variants}
            return self._union(name, records, definition)
        if any(each.fields for each in definition.variants):
            return self._enum_with_fields(name, mine, definition)
        by_name = dict(zip(mine.variants, mine.members, strict=True))
        return EnumShape(
            name,
            mine.cls,
            tuple(
                by_name.get(each.name, cast("enum.Enum", object()))
                for each in definition.variants
            ),
            tuple(each.name for each in definition.variants),
        )

    def _union(
        self, name: str, mine: dict[str, Record], theirs: EnumSchema
    ) -> UnionShape:
        return UnionShape(
            name,
            tuple(
                Variant(each.name, self._record(mine[each.name], each))
                if each.name in mine
                else Variant(each.name, _no_record())
                for each in theirs.variants
            ),
        )

    def _enum_with_fields(
        self, name: str, mine: EnumShape, theirs: EnumSchema
    ) -> ConvertedShape:
        """Return the shape of an enum of which the peer has fields in some variants."""
        records = {variant: _no_record() for variant in mine.variants}
        values = [record.cls() for record in records.values()]
        value_of = dict(zip(mine.members, values, strict=True))
        member_of: dict[type[Any], enum.Enum] = {
            type(value): member for member, value in value_of.items()
        }
        return ConvertedShape(
            mine.cls,
            self._union(name, records, theirs),
            value_of.__getitem__,
            lambda value, _: member_of[type(value)],
        )

    def _record(self, mine: Record, theirs: StructSchema | VariantSchema) -> Record:
        by_key = {
            str(index) if mine.tuple_like else field.name: field
            for index, field in enumerate(mine.fields)
        }
        fields: list[Field] = []
        kept: list[Field] = []
        for key, member in members(theirs).items():
            field = by_key.get(key)
            if field is None:
                fields.append(Field(member.name, "", "", self.absent(member)))
            else:
                kept.append(field)
                fields.append(evolve(field, shape=self.shape(field.shape, member.type)))
        in_order = tuple(kept) == mine.fields[: len(kept)]
        return Record(
            mine.cls,
            tuple(fields),
            mine.positional and in_order,
            theirs.tuple_like,
            mine.args,
        )

    def absent(self, member: Member) -> UnitShape:
        """Return the shape of a part that only the peer has."""
        self._owner.work.count(1)
        theirs = self._owner.shape_of(member)
        if self._way == "read":
            return UnitShape(skipped=theirs)
        return UnitShape(self._owner.default(member, theirs), theirs)


def _no_record() -> Record:
    """Return the record of a variant that no value of this side has."""
    return Record(type("Absent", (), {"__slots__": ()}), (), True, False)


# ---------------------------------------------------------------- scalars

_SCALARS: Final[dict[Any, Shape]] = {
    **{name: shape for name, (_, shape) in MARKED.items()},
}


def _written_integer(mine: IntShape, theirs: Shape) -> Shape:
    assert isinstance(theirs, IntShape)
    if mine.signed == theirs.signed and (mine.bits == theirs.bits or mine.bits > 8):
        return mine  # a short varint is a long one as well

    def checked(value: Any) -> int:
        number = operator.index(value)
        if not mine.minimum <= number <= mine.maximum:
            raise ValueError(f"expected {mine.minimum} to {mine.maximum}")
        return number

    return _hooked(mine.name, checked, theirs)


def _as_f32(value: Any) -> float:
    rounded: float
    (rounded,) = struct.unpack("<f", struct.pack("<f", value))
    return rounded


def _numbers(value: Any) -> list[int]:
    return list(as_bytes(value))


def _hooked(name: str, written: Callable[[Any], Any], inner: Shape) -> ConvertedShape:
    """Return the shape of values that a function changes before they are written."""
    # Nothing is read by it.
    return ConvertedShape(Anything(name, (), {}), inner, written, lambda read, _: read)
