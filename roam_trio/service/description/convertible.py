"""The rule by which a value of one schema becomes a value of another.

Fields, variants and arguments are matched by name, those of tuples by position. A field
that the reader does not have is left out. One that the writer does not have gets the
default of the reader. Numbers may become wider. Whether a type can be converted does
not depend on values: a variant that the reader does not have makes the whole type
inconvertible, although most values might have another one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

from attrs import frozen
from msgspec import UNSET

from ...errors import SchemaError
from ...legible import legible
from ...schema.scalars import MARKED
from ...schema.shape import IntShape
from .model import (
    ArgSchema,
    ArrayType,
    ChannelType,
    FieldSchema,
    ListType,
    MapType,
    NamedType,
    OptionType,
    SetType,
    StructSchema,
    TupleType,
    Type,
    TypeSchema,
    VariantSchema,
    parts,
)

__all__ = [
    "MOST_PAIRS",
    "Conversion",
    "Definitions",
    "Member",
    "Translation",
    "members",
    "plainly",
    "too_many_pairs",
]

MOST_PAIRS: Final = 100_000
"""Maximum number of pairs of types that one conversion looks at. Types of a peer that
refer to one another can make more of them than they are themselves.
"""

Definitions: TypeAlias = Mapping[str, TypeSchema]
"""The types of a schema by their names."""

Member: TypeAlias = FieldSchema | ArgSchema


class Conversion:
    """Decides which types of a writer become which types of a reader.

    Args:
        writer: the types of the schema by which values are written.
        reader: those of the schema by which they are read.
        told_only: whether only those defaults of the reader count that its schema
            tells, because it is a peer.
        back: the conversion in the other direction, for items of channels that the
            reader sends.
    """

    def __init__(
        self,
        writer: Definitions,
        reader: Definitions,
        *,
        told_only: bool,
        back: Conversion | None = None,
    ) -> None:
        self._writer = writer
        self._reader = reader
        self._told_only = told_only
        self._back = back
        self._assumed: set[tuple[str, str, bool]] = set()
        self._refused: set[tuple[str, str, bool]] = set()
        self._pairs = 0

    def is_possible(self, written: Type, read: Type, *, exact: bool = False) -> bool:
        """Return True if each value of one type has a value of the other.

        Args:
            written: a type of the writer.
            read: a type of the reader.
            exact: whether no field may be left out, so that different values stay
                different: for keys and for items of sets.

        Raises:
            SchemaError: there are too many pairs of types to look at.
        """
        written, read = plainly(written), plainly(read)
        match written, read:
            case NamedType(one), NamedType(other):
                return self._named(one, other, exact)
            case OptionType(one), OptionType(other):
                return self.is_possible(one, other, exact=exact)
            case one, OptionType(other):
                return self.is_possible(one, other, exact=exact)
            case ListType(one) | ArrayType(one), ListType(other):
                return self.is_possible(one, other, exact=exact)
            case SetType(one), ListType(other):
                return self.is_possible(one, other, exact=exact)
            case ArrayType(one, length), ArrayType(other, same):
                return length == same and self.is_possible(one, other, exact=exact)
            case SetType(one), SetType(other):
                return self.is_possible(one, other, exact=True)
            case MapType(key, value), MapType(other_key, other_value):
                return self.is_possible(key, other_key, exact=True) and (
                    self.is_possible(value, other_value, exact=exact)
                )
            case TupleType(items), TupleType(others):
                return len(items) == len(others) and all(
                    self.is_possible(one, other, exact=exact)
                    for one, other in zip(items, others, strict=True)
                )
            case ChannelType(direction, one), ChannelType(same_direction, other):
                return direction == same_direction and (
                    self.is_possible(one, other)
                    if direction == "rx"
                    else self._back is not None and self._back.is_possible(other, one)
                )
            case _:
                return _is_primitive_possible(written, read)

    def has_default(self, member: Member) -> bool:
        """Return True if a reader gets a value for a member that was not written."""
        return member.default is not UNSET or (member.computed and not self._told_only)

    def _named(self, one: str, other: str, exact: bool) -> bool:
        key = one, other, exact
        if key in self._refused:
            return False
        if key in self._assumed:
            return True  # a type within itself, or one found possible before
        self._assumed.add(key)
        self._pairs += 1
        if self._pairs > MOST_PAIRS:
            raise too_many_pairs(one, other)
        possible = self._definitions(self._writer[one], self._reader[other], exact)
        if not possible:
            # What was found possible on the way may have relied on this.
            self._assumed.clear()
            self._refused.add(key)
        return possible

    def _definitions(self, one: TypeSchema, other: TypeSchema, exact: bool) -> bool:
        if isinstance(one, StructSchema):
            return isinstance(other, StructSchema) and self._records(one, other, exact)
        if isinstance(other, StructSchema):
            return False
        known = {variant.name: variant for variant in other.variants}
        return all(
            variant.name in known and self._records(variant, known[variant.name], exact)
            for variant in one.variants
        )

    def _records(
        self,
        one: StructSchema | VariantSchema,
        other: StructSchema | VariantSchema,
        exact: bool,
    ) -> bool:
        written, read = members(one), members(other)
        if one.tuple_like != other.tuple_like and written and read:
            return False
        return self.are_members_possible(written, read, exact=exact)

    def are_members_possible(
        self,
        written: Mapping[str, Member],
        read: Mapping[str, Member],
        *,
        exact: bool = False,
    ) -> bool:
        """Return True if the fields or arguments of one give those of the other."""
        for name, member in read.items():
            if name not in written:
                if not self.has_default(member):
                    return False
            elif not self.is_possible(written[name].type, member.type, exact=exact):
                return False
        left_out = [member for name, member in written.items() if name not in read]
        return all(self.may_be_left_out(each, exact=exact) for each in left_out)

    def may_be_left_out(self, member: Member, *, exact: bool = False) -> bool:
        """Return True if a member of the writer need not reach the reader.

        A channel must, because its other end would wait for ever.
        """
        return not exact and not has_channels(member.type, self._writer)


def too_many_pairs(one: str, other: str) -> SchemaError:
    """Return the error for more than `MOST_PAIRS` pairs of types."""
    return SchemaError(
        f"there are more than {MOST_PAIRS} pairs of types to compare: too many types "
        "refer to one another",
        f"{legible(one)}, {legible(other)}",
    )


@frozen
class Translation:
    """The conversions of a caller, which translates.

    Attributes:
        to_callee: of arguments, and of items that the caller sends.
        from_callee: of results, errors, and items that the callee sends.
    """

    to_callee: Conversion
    from_callee: Conversion

    @classmethod
    def between(cls, caller: Definitions, callee: Definitions) -> Translation:
        """Return the conversions of a caller whose callee has other types."""
        back = Conversion(callee, caller, told_only=False)
        return cls(Conversion(caller, callee, told_only=True, back=back), back)


def members(record: StructSchema | VariantSchema) -> dict[str, FieldSchema]:
    """Return the fields by what they are matched by."""
    if record.tuple_like:
        return {str(index): field for index, field in enumerate(record.fields)}
    return {field.name: field for field in record.fields}


def has_channels(type: Type, definitions: Definitions) -> bool:
    """Return True if a value of a type can have channels."""
    left: list[Type] = [type]
    seen: set[str] = set()
    while left:
        part = left.pop()
        if isinstance(part, ChannelType):
            return True
        if isinstance(part, NamedType) and part.name not in seen:
            seen.add(part.name)
            left.extend(_types_in(definitions[part.name]))
        inner: tuple[Type, ...] = parts(part)
        left.extend(inner)
    return False


def _types_in(definition: TypeSchema) -> list[Type]:
    records: Sequence[StructSchema | VariantSchema] = (
        [definition] if isinstance(definition, StructSchema) else definition.variants
    )
    return [field.type for record in records for field in record.fields]


# ---------------------------------------------------------------- primitives


def plainly(type: Type) -> Type:
    """Return a type with the same bytes, of several the plainest."""
    match type:
        case "bytes" | "byte slice":
            return ListType("u8")
        case "usize":
            return "u64"
        case "isize":
            return "i64"
        case ListType(item, True):
            return ListType(item)
        case _:
            return type


_WIDER: Final = {("f32", "f64"), ("char", "str")}


def _is_primitive_possible(one: Type, other: Type) -> bool:
    if one == other or (one, other) in _WIDER:
        return True
    narrow, wide = _integer(one), _integer(other)
    if narrow is None or wide is None:
        return False
    return wide.minimum <= narrow.minimum and narrow.maximum <= wide.maximum


def _integer(type: Type) -> IntShape | None:
    if not isinstance(type, str) or type not in MARKED:
        return None
    shape = MARKED[type][1]
    return shape if isinstance(shape, IntShape) else None
