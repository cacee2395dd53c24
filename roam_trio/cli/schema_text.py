"""Descriptions of services as text for people, as Python would write them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from msgspec import UNSET

from ..legible import legible
from ..service.description.model import (
    ArgSchema,
    EnumSchema,
    FieldSchema,
    MethodSchema,
    NamedType,
    ServiceSchema,
    Type,
    TypeSchema,
    VariantSchema,
    parts,
)
from ..service.description.type_text import result_text, type_text
from .json_text import json_text

__all__ = ["method_text", "service_text", "types_of"]


def service_text(name: str, schema: ServiceSchema) -> str:
    """Return a service with its methods and types, on legible lines."""
    lines = [f"service {legible(name)}", *_doc(schema.doc, "    ")]
    for method in schema.methods:
        lines += ["", *_method(method, "    ")]
    for type in schema.types:
        lines += ["", *_type(type)]
    return "\n".join(lines)


def method_text(schema: ServiceSchema, method: MethodSchema) -> str:
    """Return a method, and the types that it uses."""
    lines = list(_method(method, ""))
    for type in types_of(schema, method):
        lines += ["", *_type(type)]
    return "\n".join(lines)


def types_of(schema: ServiceSchema, method: MethodSchema) -> list[TypeSchema]:
    """Return the types that a method uses, in the order of the service."""
    known = {each.name: each for each in schema.types}
    found: set[str] = set()
    todo: list[Type] = [*(arg.type for arg in method.args), method.returns]
    if method.fails is not None:
        todo.append(method.fails)
    while todo:
        type = todo.pop()
        todo += parts(type)
        if isinstance(type, NamedType) and type.name not in found:
            found.add(type.name)
            within: list[Type] = [each.type for each in _fields(known[type.name])]
            todo += within
    return [each for each in schema.types if each.name in found]


def _fields(type: TypeSchema) -> Iterable[FieldSchema]:
    if isinstance(type, EnumSchema):
        return (field for variant in type.variants for field in variant.fields)
    return type.fields


def _method(method: MethodSchema, indent: str) -> Iterator[str]:
    args = [_field(arg) for arg in method.args]
    returns = legible(result_text(method))
    line = f"{indent}{legible(method.name)}({', '.join(args)}) -> {returns}"
    if len(line) <= 88 or not args:
        yield line
    else:
        yield f"{indent}{legible(method.name)}("
        yield from (f"{indent}    {arg}," for arg in args)
        yield f"{indent}) -> {returns}"
    yield from _doc(method.doc, f"{indent}    ")


def _type(type: TypeSchema) -> Iterator[str]:
    kind = "enum" if isinstance(type, EnumSchema) else "struct"
    yield f"{kind} {legible(type.name)}"
    yield from _doc(type.doc, "    ")
    if isinstance(type, EnumSchema):
        yield from (f"    {_variant(each)}" for each in type.variants)
    else:
        yield from (f"    {_field(each)}" for each in type.fields)


def _variant(variant: VariantSchema) -> str:
    if not variant.fields:
        return legible(variant.name)
    if variant.tuple_like:
        inner = ", ".join(_type_text(field.type) for field in variant.fields)
    else:
        inner = ", ".join(map(_field, variant.fields))
    return f"{legible(variant.name)}({inner})"


def _field(field: FieldSchema | ArgSchema) -> str:
    default = field.default
    shown = "" if default is UNSET else f" = {legible(_default(default), 60)}"
    if field.computed:
        shown = " = ..."
    return f"{legible(field.name)}: {_type_text(field.type)}{shown}"


def _default(default: Any) -> str:
    return json_text(default)


def _type_text(type: Type) -> str:
    return legible(type_text(type))


def _doc(doc: str, indent: str) -> Iterator[str]:
    return (f"{indent}{legible(line)}".rstrip() for line in doc.splitlines())
