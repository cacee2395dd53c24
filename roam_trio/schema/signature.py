"""The canonical bytes of a signature, and the method id made from them.

Two peers agree on a method exactly if its name, its service's name and the wire types
of its arguments and result agree; the id is a digest of the three
(`method.identity.computation`).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from blake3 import blake3

from .shape import (
    ArrayShape,
    BoolShape,
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
    StrShape,
    StructShape,
    TransparentShape,
    TupleShape,
    UnionShape,
    UnitShape,
)

__all__ = ["FALLIBLE_SIGNATURE", "kebab", "method_id", "signature_of"]

# The tags of the primitives (`signature.primitive`).
_BOOL, _CHAR, _STR, _UNIT, _BYTES = b"\x01", b"\x0e", b"\x0f", b"\x10", b"\x11"
_INTEGERS = {
    (False, 8): b"\x02",
    (False, 16): b"\x03",
    (False, 32): b"\x04",
    (False, 64): b"\x05",
    (False, 128): b"\x06",
    (True, 8): b"\x07",
    (True, 16): b"\x08",
    (True, 32): b"\x09",
    (True, 64): b"\x0a",
    (True, 128): b"\x0b",
}
_FLOATS = {32: b"\x0c", 64: b"\x0d"}
# The tags of the containers (`signature.container`).
_LIST, _OPTION, _ARRAY, _MAP, _SET, _TUPLE = (
    bytes((tag,)) for tag in range(0x20, 0x26)
)
_CHANNELS = {"tx": b"\x26", "rx": b"\x27"}
_STRUCT, _ENUM, _BACK_REFERENCE = b"\x30", b"\x31", b"\x32"
_UNIT_VARIANT, _NEWTYPE_VARIANT, _STRUCT_VARIANT = b"\x00", b"\x01", b"\x02"

FALLIBLE_SIGNATURE: Final = _UNIT
"""The result of a fallible method: neither its type nor its error takes part."""


def signature_of(shape: Shape) -> bytes:
    """The canonical bytes of a type (`signature.hash.algorithm`)."""
    return _signature(shape, [])


def method_id(service: str, method: str, signature: bytes) -> int:
    """The id by which requests name a method (`rpc.method-id.algorithm`).

    Args:
        service: the name of the service, in any case.
        method: the name of the method, in any case.
        signature: the canonical bytes of the argument tuple, followed by those of the
            result (`signature.method`).
    """
    identity = blake3(f"{kebab(service)}.{kebab(method)}".encode())
    identity.update(blake3(signature).digest())
    return int.from_bytes(identity.digest(length=8), "little")


# ---------------------------------------------------------------- types


def _signature(shape: Shape, stack: list[str]) -> bytes:
    match shape:
        case IntShape(_, bits, signed):
            return _INTEGERS[signed, bits]
        case FloatShape(bits):
            return _FLOATS[bits]
        case BoolShape():
            return _BOOL
        case CharShape():
            return _CHAR
        case StrShape():
            return _STR
        case UnitShape():
            return _UNIT
        case RefShape(name):
            # 0 is the innermost level (`signature.recursive.stack`).
            return _BACK_REFERENCE + _varint(stack[::-1].index(name))
        case TransparentShape() | ConvertedShape():
            return _signature(shape.inner, stack)
        case TupleShape() | StructShape() | EnumShape() | UnionShape():
            stack.append(shape.name)
            encoded = _level(shape, stack)
            stack.pop()
            return encoded
        case _:
            return _container(shape, stack)


def _container(
    shape: (
        BytesShape
        | OptionShape
        | ListShape
        | ArrayShape
        | MapShape
        | SetShape
        | ChannelShape
    ),
    stack: list[str],
) -> bytes:
    match shape:
        case BytesShape():
            return _LIST + _INTEGERS[False, 8] if shape.slice else _BYTES
        case ListShape(item):
            # A list of u8 is bytes, but a slice is not (`signature.bytes.equivalence`).
            encoded = _signature(item, stack)
            is_bytes = isinstance(item, IntShape) and encoded == _INTEGERS[False, 8]
            return _BYTES if is_bytes and not shape.slice else _LIST + encoded
        case OptionShape(inner):
            return _OPTION + _signature(inner, stack)
        case ArrayShape(item, length):
            return _ARRAY + _varint(length) + _signature(item, stack)
        case MapShape(key, value):
            return _MAP + _signature(key, stack) + _signature(value, stack)
        case SetShape(item):
            return _SET + _signature(item, stack)
        case ChannelShape(direction, item):
            return _CHANNELS[direction] + _signature(item, stack)


def _level(shape: Level, stack: list[str]) -> bytes:
    match shape:
        case TupleShape(_, items):
            return _tuple(items, stack)
        case StructShape(_, record):
            if not record.fields:
                return _UNIT
            if record.tuple_like:
                return _tuple([each.shape for each in record.fields], stack)
            return _STRUCT + _fields(record.fields, stack)
        case EnumShape(_, _, _, variants):
            units = b"".join(_name(name) + _UNIT_VARIANT for name in variants)
            return _ENUM + _varint(len(variants)) + units
        case UnionShape(_, variants):
            payloads = [
                _name(each.name) + _variant(each.record, stack) for each in variants
            ]
            return _ENUM + _varint(len(variants)) + b"".join(payloads)


def _tuple(items: Sequence[Shape], stack: list[str]) -> bytes:
    if not items:
        return _UNIT
    encoded = b"".join(_signature(item, stack) for item in items)
    return _TUPLE + _varint(len(items)) + encoded


def _fields(fields: Sequence[Field], stack: list[str]) -> bytes:
    encoded = [_name(each.name) + _signature(each.shape, stack) for each in fields]
    return _varint(len(fields)) + b"".join(encoded)


def _variant(record: Record, stack: list[str]) -> bytes:
    if not record.fields:
        return _UNIT_VARIANT
    if not record.tuple_like:
        return _STRUCT_VARIANT + _fields(record.fields, stack)
    shapes = [each.shape for each in record.fields]
    if len(shapes) == 1:
        return _NEWTYPE_VARIANT + _signature(shapes[0], stack)
    encoded = [
        _name(str(index)) + _signature(shape, stack)
        for index, shape in enumerate(shapes)
    ]
    return _STRUCT_VARIANT + _varint(len(shapes)) + b"".join(encoded)


def _name(name: str) -> bytes:
    encoded = name.encode()
    return _varint(len(encoded)) + encoded


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


# ---------------------------------------------------------------- names


def kebab(name: str) -> str:
    """A name in kebab-case, split into words as Rust's ``heck`` does it.

    >>> kebab("TemplateHost"), kebab("getHTTPSUrl"), kebab("V2Api")
    ('template-host', 'get-https-url', 'v2-api')
    """
    cleaned = "".join(c if c.isalnum() else " " for c in name)
    words = [word for part in cleaned.split() for word in _words(part)]
    return "-".join(word.lower() for word in words)


def _words(part: str) -> list[str]:
    words: list[str] = []
    start = 0
    case = ""  # "upper" or "lower", of the last cased letter; "" at a word's start
    for index, (char, following) in enumerate(pairwise(part)):
        now = "upper" if char.isupper() else "lower" if char.islower() else case
        if now == "lower" and following.isupper():
            words.append(part[start : index + 1])
            start, case = index + 1, ""
        elif case == "upper" and char.isupper() and following.islower():
            # The last capital of a run begins the next word: XMLParser, xml-parser.
            words.append(part[start:index])
            start, case = index, ""
        else:
            case = now
    words.append(part[start:])
    return words
