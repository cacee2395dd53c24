"""Canonical signatures, and the method ids made from them.

Two peers have the same id for a method exactly if its name, the name of its service and
the wire types of its arguments and result agree; the id is a digest of the three
(`method.identity.computation`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import pairwise
from typing import Final, assert_never

from blake3 import blake3

from ..errors import SchemaError
from ..wire.ids import MethodId
from ..wire.varint import BYTE, varint
from . import sig
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
    circles,
    levels,
)

__all__ = ["FALLIBLE_SIGNATURE", "kebab", "method_id", "signature_of"]

# The tags of the primitives (`signature.primitive`).
_BOOL, _CHAR, _STR = BYTE[sig.BOOL], BYTE[sig.CHAR], BYTE[sig.STRING]
_UNIT, _BYTES = BYTE[sig.UNIT], BYTE[sig.BYTES]
_INTEGERS = {
    (False, 8): BYTE[sig.U8],
    (False, 16): BYTE[sig.U16],
    (False, 32): BYTE[sig.U32],
    (False, 64): BYTE[sig.U64],
    (False, 128): BYTE[sig.U128],
    (True, 8): BYTE[sig.I8],
    (True, 16): BYTE[sig.I16],
    (True, 32): BYTE[sig.I32],
    (True, 64): BYTE[sig.I64],
    (True, 128): BYTE[sig.I128],
}
_FLOATS = {32: BYTE[sig.F32], 64: BYTE[sig.F64]}
# The tags of the containers (`signature.container`).
_LIST, _OPTION, _ARRAY = BYTE[sig.LIST], BYTE[sig.OPTION], BYTE[sig.ARRAY]
_MAP, _SET, _TUPLE = BYTE[sig.MAP], BYTE[sig.SET], BYTE[sig.TUPLE]
_CHANNELS = {"tx": BYTE[sig.TX], "rx": BYTE[sig.RX]}
_STRUCT, _ENUM, _BACK_REFERENCE = BYTE[sig.STRUCT], BYTE[sig.ENUM], BYTE[sig.BACKREF]
_UNIT_VARIANT = BYTE[sig.VARIANT_UNIT]
_NEWTYPE_VARIANT, _STRUCT_VARIANT = BYTE[sig.VARIANT_NEWTYPE], BYTE[sig.VARIANT_STRUCT]

MAX_SIGNATURE: Final = 16 * 1024 * 1024
"""Maximum length of a signature, in bytes; far more than real types need."""

MAX_LEVELS: Final = 200
"""Maximum depth of nested levels."""

_MOST_NAMES: Final = 10

FALLIBLE_SIGNATURE: Final = _UNIT
"""The signature of a fallible result, which depends on neither of its types."""


def signature_of(shape: Shape) -> bytes:
    """Return the canonical bytes of a type (`signature.hash.algorithm`).

    Raises:
        SchemaError: the signature is too long, or the levels are nested too deeply.
    """
    return _Writer(shape).written()


def method_id(service: str, method: str, signature: bytes) -> MethodId:
    """Return the id by which requests name a method (`rpc.method-id.algorithm`).

    Args:
        service: the name of the service, in any case.
        method: the name of the method, in any case.
        signature: the canonical bytes of the argument tuple, followed by those of the
            result (`signature.method`).
    """
    identity = blake3(f"{kebab(service)}.{kebab(method)}".encode())
    identity.update(blake3(signature).digest())
    return MethodId(int.from_bytes(identity.digest(length=8), "little"))


# ---------------------------------------------------------------- levels


class _Writer:
    """Writes the levels of a shape.

    Each level is written out wherever it occurs outside itself (`signature.recursive`),
    so a signature can be much longer than its types. The bytes of a level depend only
    on the enclosing levels that it refers to.
    """

    def __init__(self, root: Shape) -> None:
        self._levels = levels(root)
        self._root = _joined(_parts(root))
        self._programs: dict[str, list[bytes | str]] = {}
        self._circles = circles(root)
        self._open_in: Counter[int] = Counter()
        self._open: dict[str, int] = {}
        self._done: dict[str, tuple[int, int]] = {}
        self._out = bytearray()

    def written(self) -> bytes:
        self._write_all(self._root)
        self._check()
        return bytes(self._out)

    def _write_all(self, program: list[bytes | str]) -> None:
        out, around = self._out, self._open
        innermost = len(around) - 1
        for part in program:
            if isinstance(part, bytes):
                out += part
            elif (index := around.get(part)) is not None:
                # 0 is the innermost level (`signature.recursive.stack`).
                out += _BACK_REFERENCE + varint(innermost - index)
            else:
                self._write(part)

    def _write(self, name: str) -> None:
        circle = self._circles[name]
        is_alone = not self._open_in[circle]
        if is_alone and name in self._done:
            start, end = self._done[name]
            self._out += self._out[start:end]
            self._check()
            return
        start = len(self._out)
        self._open[name] = len(self._open)
        self._open_in[circle] += 1
        self._write_all(self._program(name))
        self._check()
        self._open_in[circle] -= 1
        del self._open[name]
        if is_alone:
            self._done[name] = start, len(self._out)

    def _program(self, name: str) -> list[bytes | str]:
        program = self._programs.get(name)
        if program is None:
            program = self._programs[name] = _joined(_level(self._levels[name]))
        return program

    def _check(self) -> None:
        if len(self._open) > MAX_LEVELS:
            raise SchemaError(f"types are nested more than {MAX_LEVELS} deep")
        if len(self._out) > MAX_SIGNATURE:
            raise SchemaError(self._what_grew())

    def _what_grew(self) -> str:
        too_long = (
            f"its signature, in which each type is written out wherever it stands, has "
            f"more than {MAX_SIGNATURE} bytes"
        )
        sizes = Counter(self._circles.values())
        largest, size = max(sizes.items(), key=lambda item: item[1])
        if size == 1:
            return (
                f"{too_long}: its types hold one another more than once, level by "
                "level; make some of them hold another only once"
            )
        names = [name for name, number in self._circles.items() if number == largest]
        shown = ", ".join(names[:_MOST_NAMES]) + (", …" if size > _MOST_NAMES else "")
        return (
            f"{too_long}: {size} types refer to one another ({shown}); let fewer of "
            "them do so, for example by ids instead of values"
        )


def _joined(parts: Iterable[bytes | str]) -> list[bytes | str]:
    """Return the parts, with adjacent bytes joined."""
    found: list[bytes | str] = []
    together = bytearray()
    for part in parts:
        if isinstance(part, bytes):
            together += part
        else:
            found += [bytes(together), part]
            together.clear()
    return [*found, bytes(together)]


# ---------------------------------------------------------------- types


def _parts(shape: Shape) -> Iterator[bytes | str]:
    """Yield the bytes of a type, and the names of the levels in between."""
    match shape:
        case IntShape(_, bits, signed):
            yield _INTEGERS[signed, bits]
        case FloatShape(bits):
            yield _FLOATS[bits]
        case BoolShape():
            yield _BOOL
        case CharShape():
            yield _CHAR
        case StrShape():
            yield _STR
        case UnitShape():
            yield _UNIT
        case TransparentShape() | ConvertedShape():
            yield from _parts(shape.inner)
        case (
            RefShape(name)
            | TupleShape(name)
            | StructShape(name)
            | EnumShape(name)
            | UnionShape(name)
        ):
            yield name
        case _:
            yield from _container(shape)


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
) -> Iterator[bytes | str]:
    match shape:
        case BytesShape():
            yield _LIST + _INTEGERS[False, 8] if shape.slice else _BYTES
        case ListShape(IntShape(bits=8, signed=False)) if not shape.slice:
            # A list of u8 is bytes, but a slice is not (`signature.bytes.equivalence`).
            yield _BYTES
        case ListShape(item):
            yield _LIST
            yield from _parts(item)
        case OptionShape(inner):
            yield _OPTION
            yield from _parts(inner)
        case ArrayShape(item, length):
            yield _ARRAY + varint(length)
            yield from _parts(item)
        case MapShape(key, value):
            yield _MAP
            yield from _parts(key)
            yield from _parts(value)
        case SetShape(item):
            yield _SET
            yield from _parts(item)
        case ChannelShape(direction, item):
            # An item is a separate payload, with no references to levels around the
            # channel.
            yield _CHANNELS[direction] + signature_of(item)
        case _:
            assert_never(shape)


def _level(shape: Level) -> Iterator[bytes | str]:
    match shape:
        case TupleShape(_, items):
            yield from _tuple(items)
        case StructShape(_, record):
            if not record.fields:
                yield _UNIT
            elif record.tuple_like:
                yield from _tuple([each.shape for each in record.fields])
            else:
                yield _STRUCT
                yield from _fields(record.fields)
        case EnumShape(_, _, _, variants):
            yield _ENUM + varint(len(variants))
            for name in variants:
                yield _name(name) + _UNIT_VARIANT
        case UnionShape(_, variants):
            yield _ENUM + varint(len(variants))
            for each in variants:
                yield _name(each.name)
                yield from _variant(each.record)
        case _:
            assert_never(shape)


def _tuple(items: Sequence[Shape]) -> Iterator[bytes | str]:
    if not items:
        yield _UNIT
        return
    yield _TUPLE + varint(len(items))
    for item in items:
        yield from _parts(item)


def _fields(fields: Sequence[Field]) -> Iterator[bytes | str]:
    yield varint(len(fields))
    for each in fields:
        yield _name(each.name)
        yield from _parts(each.shape)


def _variant(record: Record) -> Iterator[bytes | str]:
    shapes = [each.shape for each in record.fields]
    if not shapes:
        yield _UNIT_VARIANT
    elif not record.tuple_like:
        yield _STRUCT_VARIANT
        yield from _fields(record.fields)
    elif len(shapes) == 1:
        yield _NEWTYPE_VARIANT
        yield from _parts(shapes[0])
    else:
        yield _STRUCT_VARIANT + varint(len(shapes))
        for index, shape in enumerate(shapes):
            yield _name(str(index))
            yield from _parts(shape)


def _name(name: str) -> bytes:
    encoded = name.encode()
    return varint(len(encoded)) + encoded


@cache
# ---------------------------------------------------------------- names


def kebab(name: str) -> str:
    """Return a name in kebab-case, split into words as Rust's ``heck`` does it.

    >>> kebab("TemplateHost"), kebab("getHTTPSUrl"), kebab("V2Api")
    ('template-host', 'get-https-url', 'v2-api')
    """
    cleaned = "".join(c if c.isalnum() else " " for c in name)
    words = [word for part in cleaned.split() for word in _words(part)]
    return "-".join(word.lower() for word in words)


def _words(part: str) -> list[str]:
    words: list[str] = []
    start = 0
    case = ""  # "upper" or "lower", of the last cased letter; "" at the start of a word
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
