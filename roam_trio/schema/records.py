"""Fields of classes of msgspec, attrs and dataclasses.

A `Layout` has the names, the order and the constructor, for all three. `derive` derives
the wire types of the fields. The name of a field on the wire is its public one: the
name by which msgspec encodes it, or its alias in the constructor of an attrs class.
"""

from __future__ import annotations

import dataclasses
import inspect
import keyword
from collections.abc import Sequence
from typing import Any, ClassVar, get_origin

import attrs
import msgspec

from ..errors import SchemaError
from .annotations import field_types, normalise
from .kinds import Layout, LayoutField, kind_of

__all__ = ["is_class_variable", "layout_of"]


@attrs.frozen
class _Names:
    """The names of a field, before its type is known."""

    name: str
    attribute: str
    keyword: str
    type: Any = None


def layout_of(cls: type[Any], args: Sequence[Any], path: str) -> Layout | None:
    """Return the layout of a class, or None if its kind has no declared fields.

    Args:
        cls: any class.
        args: normal forms of its arguments, if it is generic.
        path: its place, for errors.

    Raises:
        SchemaError: its fields cannot be sent as declared.
    """
    if issubclass(cls, msgspec.Struct):
        names = _msgspec_names(cls)
    elif attrs.has(cls):
        _require_own(cls, "__attrs_attrs__", path)
        names = _attrs_names(cls, path)
    elif dataclasses.is_dataclass(cls):
        _require_own(cls, "__dataclass_fields__", path)
        names = _dataclass_names(cls, path)
    else:
        kind = kind_of(cls)
        return None if kind is None else kind.layout(cls, path)
    types = field_types(cls, args, [each.attribute for each in names], path)
    if issubclass(cls, msgspec.Struct):
        # msgspec moves keyword-only fields to the end; the wire follows the class body.
        order = list(types)
        names.sort(key=lambda each: order.index(each.attribute))
    _check_names(names, path)
    _check_constructor(cls, [each.keyword for each in names], path)
    return Layout(
        tuple(_with_type(each, types, path) for each in names),
        positional=_is_positional(cls, [each.keyword for each in names]),
        tuple_like=_is_tuple_like(cls),
        tag=_tag(cls),
    )


def _msgspec_names(cls: type[msgspec.Struct]) -> list[_Names]:
    return [
        _Names(encoded, name, name)
        for name, encoded in zip(
            cls.__struct_fields__, cls.__struct_encode_fields__, strict=True
        )
    ]


def _attrs_names(cls: type[attrs.AttrsInstance], path: str) -> list[_Names]:
    names: list[_Names] = []
    for each in attrs.fields(cls):
        _require_init(each.init, f"{path}.{each.name}")
        alias = each.alias or each.name
        names.append(_Names(alias, each.name, alias, each.type))
    return names


def _dataclass_names(cls: type[Any], path: str) -> list[_Names]:
    fields = {each.name: each for each in dataclasses.fields(cls)}
    for name in cls.__dataclass_fields__:
        parameter = inspect.signature(cls).parameters.get(name)
        if name not in fields and parameter is not None:
            raise SchemaError(
                "an InitVar is not stored, so it cannot be sent; make it a field",
                f"{path}.{name}",
            )
    for each in fields.values():
        _require_init(each.init, f"{path}.{each.name}")
    return [_Names(name, name, name) for name in fields]


def _require_init(init: bool, path: str) -> None:
    if not init:
        raise SchemaError(
            "a field with init=False cannot be given to the constructor when a value "
            "is decoded; make it a property, or add it to the constructor",
            path,
        )


def _require_own(cls: type[Any], mark: str, path: str) -> None:
    """Refuse an undecorated subclass with annotations of its own."""
    if mark in cls.__dict__:
        return
    for name, annotation in inspect.get_annotations(cls).items():
        if not is_class_variable(annotation):
            raise SchemaError(
                f"{cls.__qualname__} declares the field {name!r} but is not decorated "
                "as its base class is; decorate it too",
                path,
            )


def is_class_variable(annotation: object) -> bool:
    if isinstance(annotation, str):
        return "ClassVar" in annotation
    return annotation is ClassVar or get_origin(annotation) is ClassVar


def _check_names(names: Sequence[_Names], path: str) -> None:
    for each in names:
        for name in (each.attribute, each.keyword):
            if not name.isidentifier() or keyword.iskeyword(name):
                raise SchemaError(f"a field cannot be named {name!r}", path)


def _check_constructor(cls: type[Any], keywords: Sequence[str], path: str) -> None:
    if issubclass(cls, msgspec.Struct):
        return
    try:
        inspect.signature(cls).bind(**dict.fromkeys(keywords))
    except TypeError as error:
        raise SchemaError(
            f"the constructor of {cls.__qualname__} does not take its fields: {error}",
            path,
        ) from error


def _with_type(names: _Names, types: dict[str, Any], path: str) -> LayoutField:
    where = f"{path}.{names.attribute}"
    found = types.get(names.attribute)
    if found is None and names.type is None:
        raise SchemaError("the field has no annotation", where)
    if found is None:
        # attrs also accepts a type as an argument of the field.
        found = normalise(names.type, path=where)
    return LayoutField(names.name, names.attribute, names.keyword, found)


def _is_positional(cls: type[Any], keywords: Sequence[str]) -> bool:
    if issubclass(cls, msgspec.Struct):
        return cls.__match_args__ == tuple(keywords)
    parameters = list(inspect.signature(cls).parameters.values())[: len(keywords)]
    return [each.name for each in parameters] == list(keywords) and all(
        each.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD for each in parameters
    )


def _is_tuple_like(cls: type[Any]) -> bool:
    return issubclass(cls, msgspec.Struct) and cls.__struct_config__.array_like


def _tag(cls: type[Any]) -> str:
    if issubclass(cls, msgspec.Struct):
        tag = cls.__struct_config__.tag
        if isinstance(tag, str):
            return tag
    return cls.__name__
