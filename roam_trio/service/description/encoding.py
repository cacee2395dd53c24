"""Schemas as bytes, and the checks of those that a peer sends.

A schema from a peer is data that a peer has chosen, so everything about it is bounded
and checked before anything is made of it: its size, names, counts, depth, references,
and characters that a terminal would obey.
"""

from __future__ import annotations

import json
import re
import zlib
from collections import Counter
from collections.abc import Generator, Iterable
from typing import Any, Final

import msgspec

from ...errors import SchemaError
from ...legible import legible
from ..steps import run_through
from .json_text import json_text
from .model import (
    ArgSchema,
    ArrayType,
    ChannelType,
    FieldSchema,
    MethodSchema,
    NamedType,
    ServiceSchema,
    StructSchema,
    Type,
    TypeSchema,
    parts,
)

__all__ = [
    "MOST_BYTES",
    "MOST_DEFLATED",
    "MOST_METHODS",
    "MOST_TYPES",
    "check_count",
    "check_name",
    "checked_schema",
    "schema_from_json",
    "schema_from_wire",
    "schema_to_wire",
    "unchecked_schema",
]

MOST_DEFLATED: Final = 64 * 1024
"""Length, in bytes, of the longest schema in metadata."""

MOST_BYTES: Final = 1024 * 1024
"""Length, in bytes, of the longest schema in JSON."""

MOST_METHODS: Final = 4096
MOST_TYPES: Final = 4096
MOST_PARTS: Final = 4096
"""Maximum number of arguments, fields or variants of one method or type."""

MOST_DEPTH: Final = 64
"""Maximum depth to which types are nested without a name in between."""

MOST_NAME: Final = 256
"""Length, in characters, of the longest name."""


def schema_to_wire(schema: ServiceSchema) -> bytes:
    """Return a schema as it stands in metadata: deflated JSON.

    Raises:
        SchemaError: it is longer than metadata may be.
    """
    text = json_text(schema).encode()
    deflated = zlib.compress(text, 9)
    if len(text) > MOST_BYTES or len(deflated) > MOST_DEFLATED:
        raise SchemaError(
            f"the schema has {len(text)} bytes, and {len(deflated)} deflated; at most "
            f"{MOST_BYTES} and {MOST_DEFLATED} fit into metadata, so that a larger one "
            "has to be fetched by reflection",
            schema.name,
        )
    return deflated


def schema_from_wire(
    data: bytes | memoryview, *, most_bytes: int = MOST_BYTES
) -> ServiceSchema:
    """Return the schema that `schema_to_wire` has encoded, checked.

    Args:
        data: the bytes of a peer.
        most_bytes: maximum length, in bytes, after inflating.

    Raises:
        SchemaError: the bytes are no schema, or exceed a bound.
    """
    if len(data) > MOST_DEFLATED:
        raise _refused(f"expected at most {MOST_DEFLATED} bytes, got {len(data)}")
    inflater = zlib.decompressobj()
    try:
        text = inflater.decompress(data, most_bytes + 1)
    except zlib.error as cause:
        raise _refused(f"expected deflated JSON: {cause}") from cause
    if len(text) > most_bytes:
        raise _refused(f"it inflates to more than most_bytes ({most_bytes})")
    if not inflater.eof or inflater.unused_data:
        raise _refused("expected one deflated stream, got a part of one, or more")
    return schema_from_json(text, most_bytes=most_bytes)


def schema_from_json(
    text: str | bytes, *, most_bytes: int = MOST_BYTES
) -> ServiceSchema:
    """Return the schema that `ServiceSchema.to_json` has written, checked.

    Control characters in docstrings are replaced by escapes.

    Args:
        text: JSON that a peer or a file has.
        most_bytes: maximum length, in bytes.

    Raises:
        SchemaError: the text is no schema, or exceeds a bound.
    """
    if len(text) > most_bytes:
        raise _refused(f"it is longer than most_bytes ({most_bytes})")
    return run_through(checked_schema(unchecked_schema(text)))


def unchecked_schema(text: str | bytes) -> ServiceSchema:
    """Return a schema in JSON, or a part of one, which is of the right types.

    Raises:
        SchemaError: it is not.
    """
    try:
        found = json.loads(text, parse_constant=_no_constant)
        schema: ServiceSchema = msgspec.convert(found, ServiceSchema)
    except RecursionError as cause:
        raise _refused("it is nested too deeply") from cause
    except (ValueError, msgspec.ValidationError) as cause:
        raise _refused(f"expected a schema in JSON: {cause}") from cause
    return schema


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _refused(problem: str, path: str = "schema") -> SchemaError:
    return SchemaError(problem, path)


# ---------------------------------------------------------------- checks


def checked_schema(
    schema: ServiceSchema,
) -> Generator[None, None, ServiceSchema]:
    """Return a schema with harmless docstrings; yield after each method and type.

    Raises:
        SchemaError: a name, a count or a reference in it is wrong.
    """
    check_name(schema.name, "schema")
    check_count("methods", len(schema.methods), MOST_METHODS, schema.name)
    check_count("types", len(schema.types), MOST_TYPES, schema.name)
    _check_distinct((each.name for each in schema.methods), "methods", schema.name)
    _check_distinct((each.id for each in schema.methods), "ids", schema.name)
    _check_distinct((each.name for each in schema.types), "types", schema.name)
    types = {each.name for each in schema.types}
    methods: list[MethodSchema] = []
    for method in schema.methods:
        _check_method(method, f"{schema.name}.{legible(method.name)}", types)
        methods.append(_with_legible_doc(method))
        yield
    definitions: list[TypeSchema] = []
    for type in schema.types:
        _check_type_schema(type, f"{schema.name}: {legible(type.name)}", types)
        definitions.append(_with_legible_type_docs(type))
        yield
    return msgspec.structs.replace(
        schema,
        methods=tuple(methods),
        types=tuple(definitions),
        doc=_legible_doc(schema.doc),
    )


def _check_method(method: MethodSchema, path: str, types: set[str]) -> None:
    check_name(method.name, path)
    if not 0 <= method.id < 1 << 64:
        raise _refused(f"an id has 64 bits, got {method.id}", path)
    _check_fields(method.args, "arguments", path, types)
    _check_type(method.returns, f"{path} -> return", types, channels=False)
    if method.fails is not None:
        _check_type(method.fails, f"{path} -> error", types, channels=False)


def _check_type_schema(type: TypeSchema, path: str, types: set[str]) -> None:
    check_name(type.name, path)
    if isinstance(type, StructSchema):
        _check_fields(type.fields, "fields", path, types)
        return
    if not type.variants:
        raise _refused("an enum has at least one variant", path)
    check_count("variants", len(type.variants), MOST_PARTS, path)
    _check_distinct((each.name for each in type.variants), "variants", path)
    for variant in type.variants:
        where = f"{path}.{legible(variant.name)}"
        check_name(variant.name, where, least=0)
        _check_fields(variant.fields, "fields", where, types)


def _check_fields(
    fields: tuple[FieldSchema, ...] | tuple[ArgSchema, ...],
    what: str,
    path: str,
    types: set[str],
) -> None:
    check_count(what, len(fields), MOST_PARTS, path)
    _check_distinct((each.name for each in fields), what, path)
    for field in fields:
        where = f"{path}.{legible(field.name)}"
        check_name(field.name, where)
        if _UNSUITABLE.search(field.name):
            raise _refused("a field has no quotes or backslashes in its name", where)
        _check_type(field.type, where, types)


def _check_type(
    type: Type, path: str, types: set[str], *, channels: bool = True
) -> None:
    left: list[tuple[Type, int]] = [(type, 0)]
    while left:
        outer, depth = left.pop()
        if depth > MOST_DEPTH:
            raise _refused(f"types are nested more than {MOST_DEPTH} deep", path)
        match outer:
            case NamedType(name) if name not in types:
                raise _refused(f"there is no type '{legible(name)}'", path)
            case ArrayType(_, length) if not 0 <= length < 1 << 64:
                raise _refused(f"a length has 64 bits, got {length}", path)
            case ChannelType(_, _, credit) if not 0 <= credit < 1 << 32:
                raise _refused(f"the credit has 32 bits, got {credit}", path)
            case ChannelType() if not channels:
                raise _refused("a channel can only be in an argument", path)
            case _:
                pass
        inner: tuple[Type, ...] = parts(outer)
        left.extend((each, depth + 1) for each in inner)


def check_count(what: str, count: int, most: int, path: str) -> None:
    """Check the number of something in a schema.

    Raises:
        SchemaError: there are too many.
    """
    if count > most:
        raise _refused(f"expected at most {most} {what}, got {count}", path)


def _check_distinct(names: Iterable[Any], what: str, path: str) -> None:
    for name, count in Counter(names).items():
        if count > 1:
            raise _refused(f"two {what} are {legible(repr(name))}", path)


_UNSUITABLE: Final = re.compile(r"[\"\\]")
"""Characters that msgspec does not allow in names of fields."""


def check_name(name: str, path: str, *, least: int = 1) -> None:
    """Check a name that a peer has chosen.

    Raises:
        SchemaError: it is too long, shorter than `least`, or has control characters.
    """
    if not least <= len(name) <= MOST_NAME:
        raise _refused(
            f"a name has {least} to {MOST_NAME} characters, got {len(name)}", path
        )
    if legible(name) != name:
        raise _refused(f"a name has no control characters, got {legible(name)}", path)


# ---------------------------------------------------------------- docstrings


def _legible_doc(doc: str) -> str:
    """Return a docstring whose only control characters are line breaks."""
    lines = doc.replace("\t", "    ").split("\n")
    return "\n".join(legible(line, len(line) * 10) for line in lines)


def _with_legible_doc(method: MethodSchema) -> MethodSchema:
    doc = _legible_doc(method.doc)
    if doc == method.doc:
        return method
    return msgspec.structs.replace(method, doc=doc)


def _with_legible_type_docs(type: TypeSchema) -> TypeSchema:
    doc = _legible_doc(type.doc)
    if isinstance(type, StructSchema):
        return msgspec.structs.replace(type, doc=doc)
    variants = tuple(
        msgspec.structs.replace(each, doc=_legible_doc(each.doc))
        for each in type.variants
    )
    return msgspec.structs.replace(type, variants=variants, doc=doc)
