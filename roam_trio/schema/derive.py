"""Derivation of the `Shape` of a type annotation.

All checks are made here, when a service is defined. A type that passes can be encoded,
decoded and hashed; any other is a `SchemaError` with its path.
"""

from __future__ import annotations

import enum
import math
from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any, ForwardRef, TypeVar, Union

from attrs import evolve, frozen

from ..errors import SchemaError
from .annotations import Applied, normalise, type_name, unresolved
from .convert import converter, wire_type_of
from .finished import FinishedLevels
from .hashing import why_unhashable
from .kinds import Layout
from .places import Place, advice_on_variant, class_and_args, no_wire_form
from .scalars import MARKED, PLAIN, U8
from .shape import (
    ArrayShape,
    BytesShape,
    ChannelShape,
    ConvertedShape,
    EnumShape,
    Field,
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
    Variant,
    count_channels,
    has_channels,
    repeated_levels,
)
from .shared_work import SharedWork
from .signature import signature_of
from .sizes import MAX_ZERO_SIZED, Sizes
from .types import DEFAULT_CREDIT, Credit, ErrorType, Length, Slice, Wire, WireForm

__all__ = ["arguments_shape", "shape_of"]

MAX_DEPTH = 64
MAX_CHANNELS = 4096


def shape_of(
    annotation: Any,
    path: str = "",
    *,
    no_channels: str | None = None,
    work: SharedWork | None = None,
) -> Shape:
    """Return the shape of a type.

    Args:
        annotation: the annotation.
        path: the place of the annotation, with which the paths of errors begin; by
            default the type itself.
        no_channels: if channels are forbidden in it, the reason, such as ``"in a return
            type"`` (`rpc.channel.placement`).
        work: what it shares with other derivations.

    Raises:
        SchemaError: the type, or a part of it, has no wire form, or the work has too
            many steps.
    """
    closed = normalise(annotation, path=path)
    place = Place(path or type_name(closed), no_channels)
    deriver = _Deriver(work or SharedWork())
    shape = deriver.shape(closed, place)
    deriver.check(shape, place)
    return shape


def arguments_shape(
    annotations: Sequence[Any],
    names: Sequence[str],
    path: str,
    work: SharedWork | None = None,
) -> TupleShape:
    """Return the shape of a method's argument tuple.

    Args:
        annotations: the types of the arguments.
        names: their names, for errors.
        path: the method.
        work: what it shares with other derivations.

    Raises:
        SchemaError: an argument cannot go on the wire, or the work has too many steps.
    """
    places = [Place(f"{path}({name})", None, depth=1) for name in names]
    closed = tuple(
        normalise(annotation, path=place.path)
        for annotation, place in zip(annotations, places, strict=True)
    )
    deriver = _Deriver(work or SharedWork())
    # The argument tuple is a tuple type, and has the key of one.
    key = Applied(tuple, closed)
    name = deriver.enter(key, "arguments")
    items = tuple(map(deriver.shape, closed, places))
    shape = TupleShape(name, items, labels=tuple(names))
    place = Place(path, None)
    deriver.leave(key, shape, place)
    deriver.check(shape, place)
    return shape


@frozen
class _Collection:
    """A collection, whose items may turn out to have no bytes.

    Attributes:
        length: number of items of an array.
        level: the innermost level around it, if any.
    """

    items: tuple[Shape, ...]
    length: int
    place: Place
    level: str | None


class _Deriver:
    """Derives one shape, and keeps the levels around the present type."""

    def __init__(self, work: SharedWork) -> None:
        self._work = work
        self._open: dict[Any, str] = {}
        self._names: dict[Any, str] = {}
        self._same_label: dict[str, int] = {}
        self._finished = FinishedLevels()
        self._referenced: set[str] = set()
        self._level_places: dict[str, Place] = {}
        self._collections: list[_Collection] = []

    # ------------------------------------------------------------ levels

    def enter(self, key: Any, label: str) -> str:
        name = self._names.get(key)
        if name is None:
            number = self._same_label[label] = self._same_label.get(label, 0) + 1
            # The names of types do not contain this character.
            name = label if number == 1 else f"{label} #{number}"
            self._names[key] = name
        self._open[key] = name
        self._finished.enter(name)
        return name

    def leave(self, key: Any, level: Level, place: Place) -> None:
        del self._open[key]
        try:
            self._finished.leave(_context(key, place), level)
        except SchemaError as error:
            raise place.refuse(error.problem) from None
        self._level_places.setdefault(level.name, place)
        if level.name in self._referenced and has_channels(level):
            raise place.refuse(
                f"{type_name(key)} refers to itself and holds channels, but channels "
                "are found at its outermost occurrence only; move them out of it"
            )

    def known(self, key: Any, place: Place) -> Shape | None:
        """Return the shape of an enclosing level, or of a level derived before."""
        name = self._open.get(key)
        if name is None:
            return self._finished.get(_context(key, place))
        self._finished.refer(name)
        self._referenced.add(name)
        return RefShape(name)

    def check(self, root: Shape, place: Place) -> None:
        """Check that values of a shape are finite, and that its signature is."""
        # Each of the checks walks through it.
        self._work.count_parts(root)
        try:
            signature_of(root)
        except SchemaError as error:
            raise place.refuse(error.problem) from None
        channels = count_channels(root)
        if channels > MAX_CHANNELS:
            raise place.refuse(
                f"a value of it could hold {channels} channels, and at most "
                f"{MAX_CHANNELS} may be in one call"
            )
        self._check_sizes(root)

    def _check_sizes(self, root: Shape) -> None:
        sizes = Sizes(root)
        for name, place in self._level_places.items():
            if sizes.of(RefShape(name)) == math.inf:
                raise place.refuse(
                    "the type contains itself, so its values would be infinite; "
                    "make the inner one optional, or put it in a list"
                )
        zero_sized = [
            each for each in self._collections if sum(map(sizes.of, each.items)) == 0
        ]
        if zero_sized:
            repeated = repeated_levels(root)
            for each in zero_sized:
                self._check_zero_sized(each, repeated)

    def _check_zero_sized(self, collection: _Collection, repeated: set[str]) -> None:
        """Bound the objects that a few bytes can make the decoder build."""
        if collection.place.repeated or collection.level in repeated:
            raise collection.place.refuse(
                "items without bytes cannot be in a collection that is repeated, "
                "because nothing would bound their number; send their count instead"
            )
        if collection.length > MAX_ZERO_SIZED:
            raise collection.place.refuse(
                f"an array of items without bytes has at most {MAX_ZERO_SIZED}"
            )

    def _collect(self, place: Place, *items: Shape, length: int = 0) -> None:
        level = next(reversed(self._open.values()), None)
        self._collections.append(_Collection(items, length, place, level))

    # ------------------------------------------------------------ types

    def shape(self, closed: Any, place: Place) -> Shape:
        self._work.count(1)
        if place.depth > MAX_DEPTH:
            raise place.refuse(
                f"types are nested more than {MAX_DEPTH} deep; a type that refers to "
                "itself must do so through a struct, an enum or a tuple"
            )
        match closed:
            case Applied(origin, (inner, *markers)) if origin is Annotated:
                return self._annotated(inner, markers, place)
            case Applied(origin, args):
                return self._applied(closed, origin, args, place)
            case str() | ForwardRef():
                raise unresolved(f"the name {type_name(closed)} is open", place.path)
            case TypeVar():
                raise place.refuse(
                    f"the type variable {closed} has no value here; give the generic "
                    "class its parameters, as in Page[u32]"
                )
            case type():
                return self._class(closed, place)
            case _:
                raise no_wire_form(closed, place)

    def _annotated(self, inner: Any, markers: Sequence[Any], place: Place) -> Shape:
        shape: Shape | None = None
        for marker in markers:
            match marker:
                case Wire(name):
                    shape = _marked(inner, name, place)
                case Length(items):
                    shape = self._array(shape or self.shape(inner, place), items, place)
                case Slice():
                    shape = _slice(shape or self.shape(inner, place), place)
                case Credit(items):
                    shape = _with_credit(
                        shape or self.shape(inner, place), items, place
                    )
                case WireForm():
                    shape = self._by_marker(marker, inner, place)
                case ErrorType():
                    raise place.refuse(
                        "Fallible may only be the return type of a method"
                    )
                case _:  # pragma: no cover - normalise lets no other marker through
                    raise AssertionError(marker)
        assert shape is not None
        return shape

    def _by_marker(self, marker: WireForm, inner: Any, place: Place) -> ConvertedShape:
        try:
            found = marker.conversion(inner)
        except SchemaError as error:
            raise place.refuse(error.problem) from None
        closed = normalise(found.wire_type, path=place.path)
        shape = self.shape(closed, place.at("", "in the wire type of another type"))
        return ConvertedShape(found.cls, shape, found.unstructure, found.structure)

    def _array(self, shape: Shape, length: int, place: Place) -> Shape:
        match shape:
            case BytesShape(view):
                array = ArrayShape(U8, length, "memoryview" if view else "bytes")
            case ListShape(item, python):
                array = ArrayShape(item, length, python)
            case _:
                raise place.refuse("Length is for list, tuple[T, ...] and bytes")
        self._collect(place, array.item, length=length)
        return array

    def _applied(
        self, closed: Applied, origin: Any, args: tuple[Any, ...], place: Place
    ) -> Shape:
        match origin, args:
            case _ if origin is Union:
                return self._union(closed, args, place)
            case type(), (item,) if origin is list:
                return ListShape(self._item(item, place, "in a list"))
            case type(), (item,) if origin in (set, frozenset):
                shape = self._item(item, place, "in a set")
                _require_hashable(shape, place.at("[0]"), "an item of a set")
                return SetShape(shape, frozen=origin is frozenset)
            case type(), (key, value) if origin is dict:
                return self._map(key, value, place)
            case type(), (item, end) if origin is tuple and end is Ellipsis:
                return ListShape(self._item(item, place, "in a tuple[T, ...]"), "tuple")
            case type(), _ if origin is tuple:
                return self._tuple(closed, place)
            case type(), (item,) if hasattr(origin, "__roam_channel__"):
                return self._channel(origin, item, place)
            case type(), _:
                return self._class(origin, place, args)
            case _:
                raise no_wire_form(closed, place)

    def _item(self, item: Any, place: Place, where: str) -> Shape:
        shape = self.shape(item, place.item("[0]", where))
        self._collect(place, shape)
        return shape

    def _map(self, key: Any, value: Any, place: Place) -> Shape:
        key_place = place.item(".keys()[0]", "in a dict")
        key_shape = self.shape(key, key_place)
        _require_hashable(key_shape, key_place, "a key of a dict")
        value_shape = self.shape(value, place.item(".values()[0]", "in a dict"))
        self._collect(place, key_shape, value_shape)
        return MapShape(key_shape, value_shape)

    def _tuple(self, closed: Applied, place: Place) -> Shape:
        if known := self.known(closed, place):
            return known
        name = self.enter(closed, "tuple")
        items = tuple(
            self.shape(item, place.at(f"[{index}]"))
            for index, item in enumerate(closed.args)
        )
        shape = TupleShape(name, items)
        self.leave(closed, shape, place)
        return shape

    def _channel(self, handle: type[Any], item: Any, place: Place) -> Shape:
        if place.no_channels is not None:
            raise place.refuse(
                f"a channel cannot be {place.no_channels}; pass it as an argument of "
                "a method, or in a field of one"
            )
        # An item is a separate payload, so nothing encloses it.
        deriver = _Deriver(self._work)
        shape = deriver.shape(item, place.at("[item]", "in the items of a channel"))
        deriver.check(shape, place)
        return ChannelShape(
            handle.__roam_channel__, shape, DEFAULT_CREDIT, handle, item
        )

    # ------------------------------------------------------------ unions

    def _union(self, closed: Applied, args: tuple[Any, ...], place: Place) -> Shape:
        members = tuple(arg for arg in args if arg is not type(None))
        if len(members) == len(args):
            return self._enum_with_data(closed, place)
        rest = members[0] if len(members) == 1 else Applied(Union, members)
        return OptionShape(self.shape(rest, place.at("")))

    def _enum_with_data(self, closed: Applied, place: Place) -> Shape:
        if known := self.known(closed, place):
            return known
        name = self.enter(closed, type_name(closed))
        variants = tuple(self._variant(member, place) for member in closed.args)
        _require_distinct([each.name for each in variants], "variants", place)
        shape = UnionShape(name, variants)
        self.leave(closed, shape, place)
        return shape

    def _variant(self, member: Any, place: Place) -> Variant:
        cls, args = class_and_args(member)
        layout = None
        if isinstance(cls, type) and wire_type_of(cls) is None:
            layout = self._work.layout(cls, args, place.path)
        if layout is None:
            raise place.refuse(
                "a union is one of classes with fields, each a variant, and "
                f"{type_name(member)} is none; {advice_on_variant(cls)}"
            )
        record = self._record(cls, args, layout, place.at(f".{cls.__name__}"))
        if _is_transparent(cls, layout, place):
            record = evolve(record, tuple_like=True)
        return Variant(layout.tag, record)

    # ------------------------------------------------------------ classes

    def _class(self, cls: type[Any], place: Place, args: tuple[Any, ...] = ()) -> Shape:
        wire_type = wire_type_of(cls)
        if wire_type is not None:
            return self._converted(cls, wire_type, place)
        if not args and cls in PLAIN:
            return PLAIN[cls]
        if issubclass(cls, enum.Enum) and cls is not enum.Enum:
            return self._enum(cls, place)
        layout = self._work.layout(cls, args, place.path)
        key = Applied(cls, args) if args else cls
        if layout is None:
            raise no_wire_form(key, place)
        if _is_transparent(cls, layout, place):
            return TransparentShape(self._record(cls, args, layout, place))
        if known := self.known(key, place):
            return known
        name = self.enter(key, type_name(key))
        shape = StructShape(name, self._record(cls, args, layout, place))
        self.leave(key, shape, place)
        return shape

    def _converted(self, cls: type[Any], wire_type: Any, place: Place) -> Shape:
        closed = normalise(wire_type, path=place.path)
        inner = self.shape(closed, place.at("", "in the wire type of another type"))
        return ConvertedShape(
            cls,
            inner,
            converter().get_unstructure_hook(cls),
            converter().get_structure_hook(cls),
        )

    def _enum(self, cls: type[enum.Enum], place: Place) -> Shape:
        if issubclass(cls, enum.Flag):
            raise place.refuse(
                "a combination of flags is not a variant of an enum; send the integer"
            )
        members = tuple(cls)
        if not members:
            raise place.refuse(f"the enum {cls.__qualname__} has no members")
        variants = tuple(
            each.value if isinstance(each.value, str) else each.name for each in members
        )
        _require_distinct(variants, "members", place)
        name = self.enter(cls, type_name(cls))
        shape = EnumShape(name, cls, members, variants)
        self.leave(cls, shape, place)
        return shape

    def _record(
        self, cls: type[Any], args: tuple[Any, ...], layout: Layout, place: Place
    ) -> Record:
        fields = tuple(
            Field(
                each.name,
                each.attribute,
                each.keyword,
                self.shape(each.type, place.at(f".{each.attribute}")),
            )
            for each in layout.fields
        )
        return Record(cls, fields, layout.positional, layout.tuple_like, args)


def _context(key: Any, place: Place) -> tuple[Any, bool, bool]:
    """Return the key of a type: the type and the conditions on its place."""
    return key, place.repeated, place.no_channels is None


def _is_transparent(cls: type[Any], layout: Layout, place: Place) -> bool:
    if "__roam_transparent__" not in cls.__dict__:
        return layout.transparent
    if len(layout.fields) != 1:
        raise place.refuse(
            f"a transparent class has exactly one field, and {cls.__qualname__} has "
            f"{len(layout.fields)}"
        )
    return True


def _require_distinct(names: Sequence[str], what: str, place: Place) -> None:
    for name, count in Counter(names).items():
        if count > 1:
            raise place.refuse(f"two {what} are named {name!r} on the wire")


def _require_hashable(shape: Shape, place: Place, what: str) -> None:
    reason = why_unhashable(shape)
    if reason is not None:
        raise place.refuse(f"{what} must be hashable: {reason}")


def _marked(inner: Any, name: str, place: Place) -> Shape:
    python, shape = MARKED[name]
    if inner is not python:
        raise place.refuse(f"{name} is a {python.__name__}, not {type_name(inner)}")
    return shape


def _slice(shape: Shape, place: Place) -> Shape:
    if isinstance(shape, BytesShape | ListShape):
        return evolve(shape, slice=True)
    raise place.refuse("Slice is for list, tuple[T, ...] and bytes")


def _with_credit(shape: Shape, credit: int, place: Place) -> Shape:
    if isinstance(shape, ChannelShape):
        return evolve(shape, credit=credit)
    raise place.refuse("Credit is for channels, Tx[T] and Rx[T]")
