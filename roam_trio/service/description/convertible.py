"""The rule by which a value of one schema becomes a value of another.

Fields, variants and arguments are matched by name, those of tuples by position. A field
that the reader does not have is left out. One that the writer does not have gets the
default of the reader. Numbers may become wider. Whether a type can be converted does
not depend on values: a variant that the reader does not have makes the whole type
inconvertible, although most values might have another one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from itertools import chain
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
from .type_text import type_text

__all__ = [
    "MOST_PAIRS",
    "Conversion",
    "Definitions",
    "Fault",
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


@frozen
class Fault:
    """The reason why values of one type cannot become values of another.

    Attributes:
        where: the place, as steps from the outer type: ``.age``, ``[item].name``.
        problem: a sentence for people.
    """

    where: str
    problem: str

    def at(self, step: str) -> Fault:
        """Return the same for a type around this one."""
        return Fault(step + self.where, self.problem)


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
        self._refused: dict[tuple[str, str, bool], Fault] = {}
        self._pairs = 0
        self._with_channels: Set[str] | None = None

    def is_possible(self, written: Type, read: Type, *, exact: bool = False) -> bool:
        """Return True if `fault` finds none."""
        return self.fault(written, read, exact=exact) is None

    def fault(self, written: Type, read: Type, *, exact: bool = False) -> Fault | None:
        """Return None if each value of one type has a value of the other.

        Args:
            written: a type of the writer.
            read: a type of the reader.
            exact: whether no field may be left out, so that different values stay
                different: for keys and for items of sets.

        Raises:
            SchemaError: there are too many pairs of types to look at.
        """
        match plainly(written), plainly(read):
            case NamedType(one), NamedType(other):
                return self._named(one, other, exact)
            case OptionType(one), OptionType(other):
                return self.fault(one, other, exact=exact)
            case one, OptionType(other):
                return self.fault(one, other, exact=exact)
            case ListType(one) | ArrayType(one), ListType(other):
                return _at("[0]", self.fault(one, other, exact=exact))
            case SetType(one), ListType(other):
                return _at("[0]", self.fault(one, other, exact=exact))
            case ArrayType(one, length), ArrayType(other, same) if length == same:
                return _at("[0]", self.fault(one, other, exact=exact))
            case SetType(one), SetType(other):
                return _at("[0]", self.fault(one, other, exact=True))
            case MapType(key, value), MapType(other_key, other_value):
                return _at(".keys()[0]", self.fault(key, other_key, exact=True)) or _at(
                    ".values()[0]", self.fault(value, other_value, exact=exact)
                )
            case TupleType(items), TupleType(others) if len(items) == len(others):
                pairs = enumerate(zip(items, others, strict=True))
                faults = (
                    _at(f"[{index}]", self.fault(one, other, exact=exact))
                    for index, (one, other) in pairs
                )
                return next(filter(None, faults), None)
            case ChannelType("rx", one), ChannelType("rx", other):
                return _at("[item]", self.fault(one, other))
            case ChannelType("tx", one), ChannelType("tx", other) if self._back:
                return _at("[item]", self._back.fault(other, one))
            case ChannelType(), _:
                return _no_values(written, read)
            case one, other:
                if _is_primitive_possible(one, other):
                    return None
                return _no_values(written, read)

    def has_default(self, member: Member) -> bool:
        """Return True if a reader gets a value for a member that was not written."""
        return member.default is not UNSET or (member.computed and not self._told_only)

    def _named(self, one: str, other: str, exact: bool) -> Fault | None:
        key = one, other, exact
        if key in self._refused:
            return self._refused[key]
        if key in self._assumed:
            return None  # a type within itself, or one found possible before
        self._assumed.add(key)
        self._pairs += 1
        if self._pairs > MOST_PAIRS:
            raise too_many_pairs(one, other)
        fault = self._definitions(self._writer[one], self._reader[other], exact)
        if fault is not None:
            # What was found possible on the way may have relied on this.
            self._assumed.clear()
            self._refused[key] = fault
        return fault

    def _definitions(
        self, one: TypeSchema, other: TypeSchema, exact: bool
    ) -> Fault | None:
        if isinstance(one, StructSchema) and isinstance(other, StructSchema):
            return self._records(one, other, exact)
        if isinstance(one, StructSchema) or isinstance(other, StructSchema):
            return _no_values(NamedType(one.name), NamedType(other.name))
        known = {variant.name: variant for variant in other.variants}
        for variant in one.variants:
            step = f".{variant.name}"
            if variant.name not in known:
                return Fault(step, "the side that reads it does not have the variant")
            fault = self._records(variant, known[variant.name], exact)
            if fault is not None:
                return fault.at(step)
        return None

    def _records(
        self,
        one: StructSchema | VariantSchema,
        other: StructSchema | VariantSchema,
        exact: bool,
    ) -> Fault | None:
        written, read = members(one), members(other)
        if one.tuple_like != other.tuple_like and written and read:
            return Fault("", "its fields have names on one side only")
        return self.fault_of_members(written, read, ".{}", exact=exact)

    def fault_of_members(
        self,
        written: Mapping[str, Member],
        read: Mapping[str, Member],
        step: str,
        *,
        exact: bool = False,
    ) -> Fault | None:
        """Return None if the fields or arguments of one give those of the other.

        Args:
            written: those of the writer, by what they are matched by.
            read: those of the reader.
            step: the step to a member, with ``{}`` in place of its name.
            exact: see `fault`.
        """
        for name, member in read.items():
            if name in written:
                fault = self.fault(written[name].type, member.type, exact=exact)
                if fault is not None:
                    return fault.at(step.format(name))
            elif not self.has_default(member):
                text = "only the side that reads it has it, and tells no default for it"
                return Fault(step.format(name), text)
        for name, member in written.items():
            if name not in read and not self.may_be_left_out(member, exact=exact):
                return Fault(step.format(name), _not_left_out(exact=exact))
        return None

    def may_be_left_out(self, member: Member, *, exact: bool = False) -> bool:
        """Return True if a member of the writer need not reach the reader.

        A channel must, because its other end would wait for ever.
        """
        if exact:
            return False
        if self._with_channels is None:
            self._with_channels = types_with_channels(self._writer)
        return not has_channels(member.type, self._with_channels)


def _at(step: str, fault: Fault | None) -> Fault | None:
    return None if fault is None else fault.at(step)


def _no_values(written: Type, read: Type) -> Fault:
    return Fault(
        "",
        f"it is written as {type_text(written)} and read as {type_text(read)}, which "
        "does not have a value for each",
    )


def _not_left_out(*, exact: bool) -> str:
    if exact:
        return (
            "only the side that writes it has it, and it cannot be left out of a key "
            "or of an item of a set"
        )
    return "only the side that writes it has it, and it has a channel in it"


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


def has_channels(type: Type, with_channels: Set[str]) -> bool:
    """Return True if a value of a type can have channels.

    Args:
        type: the type.
        with_channels: what `types_with_channels` has found.
    """
    return any(
        isinstance(part, ChannelType)
        or (isinstance(part, NamedType) and part.name in with_channels)
        for part in _within(type)
    )


def types_with_channels(definitions: Definitions) -> Set[str]:
    """Return the names of the types of which a value can have channels.

    The time grows with the length of the schema only, however its types refer to one
    another.
    """
    left: list[str] = []
    users: dict[str, list[str]] = {}
    for name, definition in definitions.items():
        for part in chain.from_iterable(map(_within, _types_in(definition))):
            if isinstance(part, ChannelType):
                left.append(name)
            elif isinstance(part, NamedType):
                users.setdefault(part.name, []).append(name)
    found: set[str] = set()
    while left:
        name = left.pop()
        if name not in found:
            found.add(name)
            left.extend(users.get(name, ()))
    return found


def _within(type: Type) -> Iterator[Type]:
    """Yield a type and those that stand in it."""
    left: list[Type] = [type]
    while left:
        part = left.pop()
        yield part
        inner: tuple[Type, ...] = parts(part)
        left.extend(inner)


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
