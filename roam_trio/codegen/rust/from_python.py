"""Conversion of Python services to a Rust interface.

The types are made from the shapes that encode calls. A generic class becomes one
definition for each of its uses.
"""

from __future__ import annotations

import builtins
import dataclasses
import inspect
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum as PythonEnum
from types import UnionType
from typing import Any, Final, Union, assert_never, get_origin

from attrs import frozen

from ...errors import SchemaError
from ...schema import kebab
from ...schema.annotations import Applied, normalise, type_name
from ...schema.kinds import generic_of
from ...schema.shape import (
    ArrayShape,
    BoolShape,
    BytesShape,
    ChannelShape,
    CharShape,
    ConvertedShape,
    EnumShape,
    FloatShape,
    IntShape,
    ListShape,
    MapShape,
    OptionShape,
    Record,
    RefShape,
    SetShape,
    Shape,
    StrShape,
    StructShape,
    TransparentShape,
    TupleShape,
    UnionShape,
    UnitShape,
)
from ...service import MethodDescriptor, ServiceDescriptor
from .boxes import with_boxes
from .identity import rust_method_id
from .model import (
    Argument,
    Array,
    Channel,
    Definition,
    Enum,
    Field,
    Interface,
    List,
    Map,
    Method,
    Named,
    Option,
    Primitive,
    Service,
    Set,
    Slice,
    Struct,
    Style,
    Tuple,
    Type,
    Variant,
    parts,
    types_of,
)
from .names import Names, camel, is_rust_name, rust_identifier, snake, words

__all__ = ["interface_of"]

MAX_TUPLE: Final = 12
"""Length of the longest tuple that the crate facet supports."""

_U8: Final = Primitive("u8")

# Short names in the code that the macros generate, and names that a type of ours would
# hide from readers.
_TAKEN: Final = words(
    "AsMut AsRef BTreeMap BTreeSet Box Clone Copy Debug Default DoubleEndedIterator "
    "Drop Eq Err ExactSizeIterator Extend Facet Fn FnMut FnOnce From FromIterator Hash "
    "Into IntoIterator Iterator None Ok Option Ord PartialEq PartialOrd Result Rx Self "
    "Send Sized Some String Sync ToOwned ToString TryFrom TryInto Tx Unpin Vec"
)

# Methods of clients and handlers that the macro generates or requires.
_NOT_METHODS: Final = words("clone closed into is_connected new try_into")
# Variables in the code that the macro generates.
_NOT_ARGUMENTS: Final = words("method_id reply")


def interface_of(services: Sequence[ServiceDescriptor]) -> Interface:
    """Return the interface of these services, with the same ids and bytes.

    Args:
        services: descriptors, from `roam_trio.describe`.

    Raises:
        SchemaError: a part of them has no counterpart in Rust; the error has its path.
    """
    distinct = list(dict.fromkeys(services))
    made = _Maker(distinct)
    rust = [made.service(each) for each in distinct]
    made.check_keys()
    interface = with_boxes(Interface(tuple(rust), made.types))
    for descriptor, service in zip(distinct, interface.services, strict=True):
        _check_ids(descriptor, service, interface)
    return interface


def _check_ids(
    descriptor: ServiceDescriptor, service: Service, interface: Interface
) -> None:
    for python, rust in zip(descriptor.methods, service.methods, strict=True):
        if rust_method_id(interface, service, rust) != python.id:
            raise SchemaError(
                "its types are recursive in a way that Rust does "
                "not distinguish, so its id would differ; make a tuple or a generic "
                "class in them a class of its own",
                str(python),
            )


@frozen
class _Key:
    """A type that is the key of a map or the item of a set, and its place."""

    type: Type
    path: str


class _Maker:
    def __init__(self, services: Sequence[ServiceDescriptor]) -> None:
        self.types: dict[str, Definition] = {}
        self._names = Names(_TAKEN.__contains__)
        self._given: dict[Any, str] = {}
        self._keys: list[_Key] = []
        self._traits = self._name_traits(services)
        self._unions = _UnionNames()

    # ------------------------------------------------------------ services

    def _name_traits(
        self, services: Sequence[ServiceDescriptor]
    ) -> dict[ServiceDescriptor, str]:
        traits: dict[ServiceDescriptor, str] = {}
        found: dict[str, ServiceDescriptor] = {}
        for service in services:
            other = found.setdefault(kebab(service.name), service)
            if other is not service:
                raise SchemaError(
                    f"{other.name} is the same name on the wire, "
                    f"{kebab(service.name)!r}; write them to files of their own",
                    service.name,
                )
            traits[service] = name = _trait_name(service.name)
            for taken in (name, f"{name}Client", f"{name}Dispatcher"):
                self._names.take(taken)
        return traits

    def service(self, service: ServiceDescriptor) -> Service:
        found: dict[str, MethodDescriptor] = {}
        for method in service.methods:
            other = found.setdefault(kebab(method.name), method)
            if other is not method:
                raise SchemaError(
                    f"{other.name} is the same method in Rust, {snake(method.name)}; "
                    "rename one of them",
                    str(method),
                )
        methods = tuple(map(self._method, service.methods))
        return Service(self._traits[service], methods, service.doc)

    def _method(self, method: MethodDescriptor) -> Method:
        path = str(method)
        names = _argument_names([each.name for each in method.args])
        shape = method.args_plan.shape
        assert isinstance(shape, TupleShape)
        if len(shape.items) > MAX_TUPLE:
            raise SchemaError(
                f"it has {len(shape.items)} arguments, and the crate facet knows "
                f"tuples of at most {MAX_TUPLE}; put some into a class",
                path,
            )
        scope = {shape.name: shape}
        args = tuple(
            Argument(name, self._type(item, scope, f"{path}({arg.name})"))
            for name, item, arg in zip(names, shape.items, method.args, strict=True)
        )
        result = method.result_plan
        ok = self._type(result.ok.shape, {}, f"{path} -> return")
        error = None
        if result.error is not None:
            error = self._type(result.error.shape, {}, f"{path} -> error")
        return Method(_method_name(method), args, ok, error, method.doc)

    # ------------------------------------------------------------ types

    def _type(self, shape: Shape, scope: Mapping[str, Shape], path: str) -> Type:
        match shape:
            case IntShape(name):
                return Primitive(name)
            case FloatShape(bits):
                return Primitive(f"f{bits}")
            case BoolShape():
                return Primitive("bool")
            case CharShape():
                return Primitive("char")
            case StrShape():
                return Primitive("String")
            case UnitShape():
                return Primitive("()")
            case BytesShape(_, is_slice):
                return Slice(_U8) if is_slice else List(_U8)
            case RefShape(name):
                return self._again(scope[name], path)
            case ConvertedShape(_, inner):
                return self._type(inner, scope, path)
            case TransparentShape(record):
                return self._transparent(record, scope, path)
            case StructShape():
                return self._struct(shape, scope, path)
            case EnumShape():
                return self._enum(shape, path)
            case UnionShape():
                return self._union(shape, scope, path)
            case _:
                return self._container(shape, scope, path)

    def _container(
        self,
        shape: (
            OptionShape
            | ListShape
            | ArrayShape
            | SetShape
            | MapShape
            | TupleShape
            | ChannelShape
        ),
        scope: Mapping[str, Shape],
        path: str,
    ) -> Type:
        match shape:
            case OptionShape(inner):
                return Option(self._type(inner, scope, path))
            case ListShape(item, _, is_slice):
                made = self._type(item, scope, f"{path}[0]")
                return Slice(made) if is_slice else List(made)
            case ArrayShape(item, length):
                return Array(self._type(item, scope, f"{path}[0]"), length)
            case SetShape(item):
                return Set(self._key(item, scope, f"{path}[0]"))
            case MapShape(key, value):
                return Map(
                    self._key(key, scope, f"{path}.keys()[0]"),
                    self._type(value, scope, f"{path}.values()[0]"),
                )
            case TupleShape(name, items):
                return self._tuple(items, {**scope, name: shape}, path)
            case ChannelShape(direction, item, credit):
                return Channel(direction, self._type(item, {}, f"{path}[item]"), credit)
            case _:
                assert_never(shape)

    def _key(self, shape: Shape, scope: Mapping[str, Shape], path: str) -> Type:
        type = self._type(shape, scope, path)
        self._keys.append(_Key(type, path))
        return type

    def _tuple(
        self, items: Sequence[Shape], scope: Mapping[str, Shape], path: str
    ) -> Type:
        if not items:
            return Primitive("()")
        if len(items) > MAX_TUPLE:
            raise SchemaError(
                f"the crate facet knows tuples of at most {MAX_TUPLE} items, and this "
                f"one has {len(items)}; make it a class",
                path,
            )
        return Tuple(
            tuple(
                self._type(item, scope, f"{path}[{index}]")
                for index, item in enumerate(items)
            )
        )

    def _again(self, shape: Shape, path: str) -> Type:
        """Return a level that occurs within itself."""
        match shape:
            case StructShape(_, record):
                return Named(self._given[_key_of(record)])
            case UnionShape(_, variants):
                return Named(self._given[tuple(_key_of(v.record) for v in variants)])
            case _:
                raise SchemaError(
                    "a tuple that contains itself has no counterpart in Rust; make it "
                    "a class",
                    path,
                )

    # ------------------------------------------------------------ definitions

    def _transparent(
        self, record: Record, scope: Mapping[str, Shape], path: str
    ) -> Type:
        key = _key_of(record)
        if key not in self._given:
            name = self._given[key] = self._names.give(_class_name(record))
            (field,) = record.fields
            inner = self._type(field.shape, scope, f"{path}.{field.attribute}")
            self.types[name] = Struct(
                name, "tuple", (Field("0", inner),), _doc(record.cls), transparent=True
            )
        return Named(self._given[key])

    def _struct(
        self, shape: StructShape, scope: Mapping[str, Shape], path: str
    ) -> Type:
        key = _key_of(shape.record)
        if key not in self._given:
            name = self._given[key] = self._names.give(_class_name(shape.record))
            scope = {**scope, shape.name: shape}
            fields = self._fields(shape.record, scope, path)
            style = _style(shape.record)
            self.types[name] = Struct(name, style, fields, _doc(shape.record.cls))
        return Named(self._given[key])

    def _enum(self, shape: EnumShape, path: str) -> Type:
        if shape.cls not in self._given:
            name = self._given[shape.cls] = self._names.give(
                _type_name(shape.cls.__name__)
            )
            variants = tuple(
                Variant(_wire_name(each, f"{path}.{member.name}", "variant"), "unit")
                for each, member in zip(shape.variants, shape.members, strict=True)
            )
            self.types[name] = Enum(name, variants, _doc(shape.cls))
        return Named(self._given[shape.cls])

    def _union(self, shape: UnionShape, scope: Mapping[str, Shape], path: str) -> Type:
        key = tuple(_key_of(each.record) for each in shape.variants)
        if key not in self._given:
            records = [each.record for each in shape.variants]
            name = self._given[key] = self._names.give(self._unions.name(records))
            scope = {**scope, shape.name: shape}
            variants = tuple(
                Variant(
                    _wire_name(
                        each.name, f"{path}.{each.record.cls.__name__}", "variant"
                    ),
                    _style(each.record),
                    self._fields(
                        each.record, scope, f"{path}.{each.record.cls.__name__}"
                    ),
                    _doc(each.record.cls),
                )
                for each in shape.variants
            )
            self.types[name] = Enum(name, variants)
        return Named(self._given[key])

    def _fields(
        self, record: Record, scope: Mapping[str, Shape], path: str
    ) -> tuple[Field, ...]:
        fields: list[Field] = []
        for index, each in enumerate(record.fields):
            where = f"{path}.{each.attribute}"
            name = str(index)
            if not record.tuple_like:
                name = _wire_name(each.name, where, "field")
            fields.append(Field(name, self._type(each.shape, scope, where)))
        return tuple(fields)

    # ------------------------------------------------------------ keys

    def check_keys(self) -> None:
        """Refuse keys without an order, which maps and sets in Rust need."""
        for key in self._keys:
            if any(
                isinstance(each, Primitive) and each.name in ("f32", "f64")
                for each in _closure(key.type, self.types)
            ):
                raise SchemaError(
                    "floats have no order in Rust, so they cannot be in the key of a "
                    "map or the item of a set; use a list of pairs, or an integer",
                    key.path,
                )


def _closure(root: Type, types: Mapping[str, Definition]) -> Iterable[Type]:
    """Yield a type, and every type that its values contain."""
    left, seen = [root], set[str]()
    while left:
        type = left.pop()
        yield type
        left.extend(parts(type))
        if isinstance(type, Named) and type.name not in seen:
            seen.add(type.name)
            left.extend(types_of(types[type.name]))


# ---------------------------------------------------------------- names


def _trait_name(name: str) -> str:
    """Return a name for a trait that equals that of the service on the wire."""
    words = camel(kebab(name))
    for wish in (name, words, f"{words}_"):
        if is_rust_name(wish) and wish not in _TAKEN and kebab(wish) == kebab(name):
            return wish
    raise SchemaError(
        f"no name of a trait in Rust is {kebab(name)!r} on the wire; rename the "
        "service, at its peers too: its name is part of the ids of its methods",
        name,
    )


def _method_name(method: MethodDescriptor) -> str:
    name = snake(method.name)
    if not is_rust_name(name) or kebab(name) != kebab(method.name):
        raise SchemaError(
            f"no method in Rust can be named {name!r}, and the service macro of roam "
            "takes no other name with the same id; rename the method",
            str(method),
        )
    if name in _NOT_METHODS:
        raise SchemaError(
            f"what the service macro of roam makes has a method {name!r} already; "
            "rename the method",
            str(method),
        )
    return name


def _argument_names(names: Sequence[str]) -> list[str]:
    free = Names(lambda name: not is_rust_name(name) or name in _NOT_ARGUMENTS)
    return [free.give(snake(name), f"{snake(name) or 'the'}_arg") for name in names]


def _wire_name(name: str, path: str, what: str) -> str:
    if rust_identifier(name) is None:
        raise SchemaError(
            f"the {what} is named {name!r} on the wire, which no {what} in Rust can "
            "be; rename it, at its peers too",
            path,
        )
    return name


def _type_name(name: str) -> str:
    found = camel(name)
    return found if is_rust_name(found) else f"Type{found}"


def _class_name(record: Record) -> str:
    cls, args = generic_of(record.cls) or (record.cls, record.args)
    return _type_name("_".join([cls.__name__, *map(type_name, args)]))


def _key_of(record: Record) -> Any:
    return Applied(record.cls, record.args) if record.args else record.cls


class _UnionNames:
    """Finds the names of unions, which are those of their aliases."""

    def __init__(self) -> None:
        self._aliases: dict[str, dict[Any, str]] = {}

    def name(self, records: Sequence[Record]) -> str:
        closed = Applied(Union, tuple(map(_key_of, records)))
        for record in records:
            module = record.cls.__module__
            if module not in self._aliases:
                self._aliases[module] = _aliases_in(module)
            if closed in self._aliases[module]:
                return _type_name(self._aliases[module][closed])
        names = list(map(_class_name, records))
        return "Or".join(names if len(names) <= 3 else [*names[:2], "Other"])


def _aliases_in(module: str) -> dict[Any, str]:
    found: dict[Any, str] = {}
    for name, value in vars(sys.modules.get(module, builtins)).items():
        if get_origin(value) in (Union, UnionType):
            found.setdefault(normalise(value), name)
    return found


# ---------------------------------------------------------------- classes


def _style(record: Record) -> Style:
    if not record.fields:
        return "unit"
    return "tuple" if record.tuple_like else "named"


def _doc(cls: type[Any]) -> str:
    doc = vars(cls).get("__doc__")
    if not isinstance(doc, str) or _is_made_up(cls, doc):
        return ""
    return inspect.cleandoc(doc)


def _is_made_up(cls: type[Any], doc: str) -> bool:
    """Return True if a docstring is generated by a decorator of Python."""
    if issubclass(cls, PythonEnum):
        return doc == "An enumeration."
    return dataclasses.is_dataclass(cls) and bool(
        re.match(rf"{re.escape(cls.__name__)}\(.*\)", doc)
    )
