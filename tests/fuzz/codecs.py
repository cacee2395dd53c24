"""Targets: values of many types in postcard, and results."""

from __future__ import annotations

import datetime
import ipaddress
import uuid
from collections.abc import Iterator
from decimal import Decimal
from typing import Annotated, Any

import attrs
import msgspec

from roam_trio import CodecError, DecodeError
from roam_trio.codec import OK, result_plan, rpc_plan
from roam_trio.codec.interpret import interpret_decode, interpret_encode
from roam_trio.codec.plan import RpcPlan
from roam_trio.schema import (
    Array,
    Length,
    char,
    f32,
    i8,
    i16,
    i32,
    i64,
    i128,
    u8,
    u16,
    u32,
    u64,
    u128,
)
from tests.schema.examples import (
    AttrsPage,
    Color,
    Drawing,
    Expr,
    MathError,
    Meters,
    Node,
    Point,
    Private,
    R,
    Tree,
)

from .checks import check_error, require
from .target import Target

__all__ = ["CODECS"]


class Row(msgspec.Struct, frozen=True):
    id: u32
    name: str
    score: float | None
    color: Color
    at: Point


@attrs.frozen
class Holder:
    rows: list[Row]
    label: str


_TYPES: tuple[tuple[Any, Any], ...] = (
    (bool, True),
    (u8, 200),
    (u16, 60_000),
    (u32, 2**31),
    (u64, 2**63),
    (u128, 2**127),
    (i8, -100),
    (i16, -30_000),
    (i32, -(2**31)),
    (i64, -(2**63)),
    (i128, -(2**127)),
    (f32, 1.5),
    (float, -0.1),
    (char, "é"),
    (str, "some text"),
    (bytes, b"\0\xff"),
    (memoryview, memoryview(b"view")),
    (None, None),
    (Annotated[bytes, Length(3)], b"abc"),
    (uuid.UUID, uuid.UUID(int=5)),
    (Decimal, Decimal("1.50")),
    (datetime.timedelta, datetime.timedelta(1, 2, 3)),
    (datetime.datetime, datetime.datetime(2024, 2, 29, tzinfo=datetime.UTC)),
    (datetime.date, datetime.date(2024, 2, 29)),
    (ipaddress.IPv4Address, ipaddress.IPv4Address("127.0.0.1")),
    (list[u32], [1, 128, 70_000]),
    (list[str], ["a", "", "ccc"]),
    (list[None], [None] * 9),
    (list[list[u8]], [[1], [], [2, 3]]),
    (tuple[bool, ...], (True, False)),
    (Array[u16, 3], [1, 2, 3]),
    (set[str], {"a", "b"}),
    (frozenset[tuple[u8, str]], frozenset([(1, "a")])),
    (dict[str, list[i32]], {"a": [1, -1], "b": []}),
    (dict[float, float], {0.5: 1.5}),
    (dict[u64, dict[str, bool]], {5: {"x": True}}),
    (tuple[u8, str | None, float], (1, None, 2.5)),
    (u32 | None, 7),
    (Color, Color.BLUE),
    (Point, Point(1, -1)),
    (Meters, Meters(2.5)),
    (Drawing, None),
    (list[Point], [Point(1, 2)] * 3),
    (Node, Node(Node())),
    (Tree, Tree(1, [Tree(2), Tree(3)])),
    (R, R((1, R((2, None))))),
    (Expr, None),
    (AttrsPage[str], AttrsPage(["a"], AttrsPage([]))),
    (Private, Private("secret", kind=3)),
    (Holder, Holder([Row(1, "a", None, Color.RED, Point(0, 0))], "l")),
)

_PLANS: list[RpcPlan[Any]] = [rpc_plan(annotation) for annotation, _ in _TYPES]
_WITHOUT_VALUE = (Drawing, Expr)


def postcard(data: bytes) -> None:
    """Decode a value, compiled and interpreted. The first byte selects its type."""
    if not data:
        return
    plan = _PLANS[data[0] % len(_PLANS)]
    payload = data[1:]
    try:
        value = plan.decode(payload)
    except DecodeError as error:
        _check_codec_error(error)
        _check_refused(plan, payload)
        return
    encoded = b"".join(plan.encode(value))
    again = interpret_decode(plan.shape, payload)
    require(interpret_encode(plan.shape, again) == encoded, "the two differ", value)
    second = plan.decode(encoded)
    # A set may have another order, and NaN is not equal to itself.
    is_same = second == value or b"".join(plan.encode(second)) == encoded
    require(is_same, "it changes", value)
    values: list[Any] = []
    plan.decode_each([payload, memoryview(payload)], values)
    borrowed = plan.borrow(memoryview(payload)).value
    for other in (*values, borrowed):
        require(b"".join(plan.encode(other)) == encoded, "another differs", other)


def _check_refused(plan: RpcPlan[Any], payload: bytes) -> None:
    try:
        interpret_decode(plan.shape, payload)
    except DecodeError as error:
        _check_codec_error(error)
        return
    raise AssertionError(f"{plan} refuses what is right when it is interpreted")


def _check_codec_error(error: CodecError) -> None:
    check_error(error)
    require(len(error.without_values) < 20_000, "a long text", error.without_values)


def _values() -> Iterator[bytes]:
    for number, (annotation, value) in enumerate(_TYPES):
        if annotation not in _WITHOUT_VALUE:
            yield bytes((number,)) + b"".join(_PLANS[number].encode(value))
    for number, (annotation, _) in enumerate(_TYPES):
        if annotation in _WITHOUT_VALUE:
            yield bytes((number, 0, 4, 5, 6))
            yield bytes((number, 1, 0, 1, 0, 2))


_RESULTS = (
    result_plan(None, None),
    result_plan(u32, None),
    result_plan(str, MathError),
    result_plan(list[Point], Color | None),
)


def results(data: bytes) -> None:
    """Decode a response. The first byte selects the method."""
    if not data:
        return
    plan = _RESULTS[data[0] % len(_RESULTS)]
    try:
        outcome = plan.decode(data, 1)
    except DecodeError as error:
        _check_codec_error(error)
        return
    repr(outcome)


def _results() -> Iterator[bytes]:
    for number, plan in enumerate(_RESULTS):
        for tail in (b"\1\1", b"\1\2", b"\1\3"):
            yield bytes((number,)) + tail
        if plan.error is not None:
            yield bytes((number,)) + b"\1\0" + bytes(3)
    yield b"\0" + OK
    yield b"\1" + OK + b"\x05"
    yield b"\2" + OK + b"\x02hi"
    yield b"\2\1\0\x05\x02hi"
    yield b"\3" + OK + b"\x01\x02\x04"


CODECS = (
    Target("postcard", postcard, _values, 512),
    Target("results", results, _results, 256),
)
