"""The postcard encoding of every kind of type, byte by byte."""

from __future__ import annotations

import datetime
import decimal
import ipaddress
import pathlib
import uuid
from typing import Annotated, Any, Literal

import pytest

from roam_trio import DecodeError, EncodeError
from roam_trio.codec import RpcPlan, rpc_plan
from roam_trio.codec.interpret import interpret_decode, interpret_encode
from roam_trio.schema import (
    Array,
    Length,
    Slice,
    char,
    f32,
    f64,
    i8,
    i16,
    i32,
    i64,
    i128,
    isize,
    u8,
    u16,
    u32,
    u64,
    u128,
    usize,
)

from .examples import (
    A,
    Add,
    AttrsPage,
    AttrsPoint,
    B,
    Circle,
    Color,
    DataPage,
    DataPoint,
    Drawing,
    Empty,
    Expr,
    MathError,
    Meters,
    MsgspecPage,
    Neg,
    Node,
    Nothing,
    Num,
    Pair,
    Point,
    Private,
    R,
    Renamed,
    Rx,
    Square,
    Tree,
    Tx,
    UserId,
    Wrapped,
)

TABLE: list[tuple[Any, Any, str]] = [
    (bool, False, "00"),
    (bool, True, "01"),
    (u8, 0, "00"),
    (u8, 255, "ff"),
    (i8, -1, "ff"),
    (i8, -128, "80"),
    (i8, 127, "7f"),
    (u16, 127, "7f"),
    (u16, 128, "80 01"),
    (u16, 16384, "80 80 01"),
    (u16, 65535, "ff ff 03"),
    (u32, 2097151, "ff ff 7f"),
    (u32, 2097152, "80 80 80 01"),
    (u32, 2**32 - 1, "ff ff ff ff 0f"),
    (u64, 2**64 - 1, "ff ff ff ff ff ff ff ff ff 01"),
    (u128, 2**128 - 1, "ff " * 18 + "03"),
    (usize, 300, "ac 02"),
    (i16, -1, "01"),
    (i16, 63, "7e"),
    (i16, -64, "7f"),
    (i16, 64, "80 01"),
    (i16, 32767, "fe ff 03"),
    (i16, -32768, "ff ff 03"),
    (i32, -(2**31), "ff ff ff ff 0f"),
    (i64, 2**63 - 1, "fe ff ff ff ff ff ff ff ff 01"),
    (int, -(2**63), "ff ff ff ff ff ff ff ff ff 01"),
    (i128, -(2**127), "ff " * 18 + "03"),
    (isize, -2, "03"),
    (f32, 1.5, "00 00 c0 3f"),
    (f64, -1.0, "00 00 00 00 00 00 f0 bf"),
    (float, 0.25, "00 00 00 00 00 00 d0 3f"),
    (float, 1, "00 00 00 00 00 00 f0 3f"),
    (char, "a", "01 61"),
    (char, "€", "03 e2 82 ac"),
    (str, "", "00"),
    (str, "hello", "05 68 65 6c 6c 6f"),
    (str, "é" * 64, "80 01" + " c3 a9" * 64),
    (bytes, b"\xde\xad", "02 de ad"),
    (bytes, b"\x00" * 200, "c8 01" + " 00" * 200),
    (memoryview, b"\xde\xad", "02 de ad"),
    (u32 | None, None, "00"),
    (u32 | None, 42, "01 2a"),
    (list[u32], [], "00"),
    (list[u32], [1, 2, 300], "03 01 02 ac 02"),
    (list[i32], [-1, 0, 1], "03 01 00 02"),
    (list[i32], [-65, 64], "02 81 01 80 01"),
    (list[u8], [1, 255], "02 01 ff"),
    (list[i8], [1, -1], "02 01 ff"),
    (list[bool], [True, False], "02 01 00"),
    (list[char], ["a", "b"], "02 01 61 01 62"),
    (list[f32], [1.5], "01 00 00 c0 3f"),
    (list[f64], [1.0], "01 00 00 00 00 00 00 f0 3f"),
    (list[str], ["a", "bc"], "02 01 61 02 62 63"),
    (list[Color], [Color.BLUE, Color.RED], "02 02 00"),
    (list[Point], [Point(1, -1)], "01 02 01"),
    (list[None], [None] * 3, "03"),
    (list[u8] | None, [7], "01 01 07"),
    (list[list[list[u16]]], [[[1]], []], "02 01 01 01 00"),
    (tuple[u16, ...], (1, 128), "02 01 80 01"),
    (set[u16], {5}, "01 05"),
    (frozenset[str], frozenset({"x"}), "01 01 78"),
    (dict[str, u32], {"a": 1, "b": 2}, "02 01 61 01 01 62 02"),
    (dict[u8, list[bool]], {3: [True]}, "01 03 01 01"),
    (tuple[u8, str], (1, "a"), "01 01 61"),
    (tuple[u8], (9,), "09"),
    (tuple[()], (), ""),
    (tuple[f32, u8, f64], (1.5, 2, 1.0), "00 00 c0 3f 02 00 00 00 00 00 00 f0 3f"),
    (Array[u16, Literal[3]], [1, 2, 128], "01 02 80 01"),
    (Array[u8, Literal[0]], [], ""),
    (Annotated[bytes, Length(4)], b"\x01\x02\x03\x04", "01 02 03 04"),
    (Annotated[memoryview, Length(2)], b"\x01\x02", "01 02"),
    (Annotated[list[u8], Length(2)], [1, 2], "01 02"),
    (Annotated[tuple[bool, ...], Length(2)], (True, False), "01 00"),
    (Annotated[bytes, Slice()], b"\x07", "01 07"),
    (Annotated[list[u8], Slice()], [7], "01 07"),
    (None, None, ""),
    (Nothing, Nothing(), ""),
    (Empty, Empty(), ""),
    (Point, Point(1, -1), "02 01"),
    (AttrsPoint, AttrsPoint(1, -1), "02 01"),
    (DataPoint, DataPoint(1, -1), "02 01"),
    (Pair, Pair(1, 128), "01 80 01"),
    (Wrapped, Wrapped(128), "80 01"),
    (Meters, Meters(1.5), "00 00 c0 3f"),
    (UserId, 5, "0a"),
    (Private, Private("s", kind=1), "01 73 01"),
    (Renamed, Renamed("s", "a"), "01 73 01 61"),
    (Color, Color.RED, "00"),
    (Color, Color.GREEN, "01"),
    (Drawing, Empty(), "00"),
    (Drawing, Wrapped(128), "01 80 01"),
    (Drawing, Pair(1, 2), "02 01 02"),
    (Drawing, Circle(1.0), "03 00 00 00 00 00 00 f0 3f"),
    (Drawing, Square(3, "a"), "04 03 01 61"),
    (Drawing | None, None, "00"),
    (Drawing | None, Empty(), "01 00"),
    (Node, Node(Node(Node())), "01 01 00"),
    (Tree, Tree(1, [Tree(2), Tree(3, [Tree(4)])]), "01 02 02 00 03 01 04 00"),
    (A, A(B(A())), "01 01 00"),
    (R, R((1, R((2, None)))), "01 01 02 00"),
    (Expr, Add(Num(1), Neg(Num(-1))), "01 00 02 02 00 01"),
    (MsgspecPage[u16], MsgspecPage([128], MsgspecPage([])), "01 80 01 01 00 00"),
    (AttrsPage[str], AttrsPage(["a"]), "01 01 61 00"),
    (DataPage[Point], DataPage([Point(1, 2)]), "01 02 04 00"),
    (Tx[u32], Tx(), ""),
    (Rx[str], Rx(), ""),
    (uuid.UUID, uuid.UUID(int=1), "00 " * 15 + "01"),
    (datetime.date, datetime.date(2024, 2, 29), "0a " + b"2024-02-29".hex(" ")),
    (datetime.timedelta, datetime.timedelta(microseconds=-1), "01"),
    (decimal.Decimal, decimal.Decimal("1.50"), "04 31 2e 35 30"),
    (pathlib.Path, pathlib.Path("a/b"), "03 61 2f 62"),
    (pathlib.PurePath, pathlib.PurePath("a"), "01 61"),
    (ipaddress.IPv4Address, ipaddress.IPv4Address("127.0.0.1"), "7f 00 00 01"),
    (ipaddress.IPv6Address, ipaddress.IPv6Address("::1"), "00 " * 15 + "01"),
]


@pytest.mark.rule("zerocopy.framing.value", "rpc.channel.payload-encoding")
@pytest.mark.parametrize(("type_", "value", "expected"), TABLE)
def test_values_have_the_bytes_of_postcard(
    type_: Any, value: Any, expected: str
) -> None:
    plan = rpc_plan(type_)
    encoded = b"".join(plan.encode(value))
    assert encoded.hex(" ") == expected.strip()
    assert interpret_encode(plan.shape, value) == encoded
    for buffer in (encoded, memoryview(encoded)):
        assert plan.decode(buffer) == value
        assert interpret_decode(plan.shape, buffer) == value


def test_a_decoded_exception_has_the_same_class_and_fields() -> None:
    plan = rpc_plan(MathError)
    encoded = b"".join(plan.encode(MathError(7, "no")))
    assert encoded.hex(" ") == "07 02 6e 6f"
    decoded = plan.decode(encoded)
    assert isinstance(decoded, MathError)
    assert (decoded.code, decoded.message) == (7, "no")


@pytest.mark.parametrize(
    "moment",
    [
        datetime.datetime(2024, 1, 2, 3, 4, 5, 6),
        datetime.datetime(2024, 1, 2, tzinfo=datetime.UTC),
        datetime.datetime(
            2024, 1, 2, tzinfo=datetime.timezone(datetime.timedelta(hours=-3.5))
        ),
    ],
)
def test_a_datetime_keeps_its_offset(moment: datetime.datetime) -> None:
    plan = rpc_plan(datetime.datetime)
    decoded = plan.decode(b"".join(plan.encode(moment)))
    assert decoded == moment
    assert decoded.utcoffset() == moment.utcoffset()


def test_a_field_of_64_items_and_more_is_packed_and_looped_over() -> None:
    plan: RpcPlan[list[int]] = rpc_plan(list[u16])
    value = [*range(100), *range(60000, 60100)]
    assert plan.decode(b"".join(plan.encode(value))) == value


# ---------------------------------------------------------------- what is refused

BAD_BYTES: list[tuple[Any, str, str]] = [
    (bool, "02", "expected bool (00 or 01), got 02"),
    (u32 | None, "02 00", "expected option (00 or 01), got 02"),
    (u8, "", "the bytes end early"),
    (u32, "", "the bytes end early"),
    (u32, "80", "the bytes end early"),
    (u16, "80 80 80 00", "expected the varint of u16, got too many bytes"),
    (u16, "80 80 04", "expected u16 (0 to 65535), got a larger number"),
    (u32, "80 80 80 80 80 00", "expected the varint of u32, got too many bytes"),
    (u32, "ff ff ff ff 10", "expected u32 (0 to 4294967295), got a larger number"),
    (u64, "ff " * 10 + "00", "expected the varint of u64, got too many bytes"),
    (u64, "ff " * 9 + "02", "got a larger number"),
    (u128, "ff " * 19 + "00", "expected the varint of u128, got too many bytes"),
    (u128, "ff " * 18 + "04", "got a larger number"),
    (i16, "80 80 04", "expected i16 (-32768 to 32767), got a larger number"),
    (f32, "00 00 00", "expected f32, 4 bytes from byte 0, got 3"),
    (f64, "00", "the bytes end early"),
    (str, "02 61", "expected str, 2 bytes from byte 1, got 1"),
    (str, "01 ff", "expected str, got invalid UTF-8"),
    (str, "03 ed a0 80", "expected str, got invalid UTF-8"),
    (char, "00", "expected one character, got 0 characters"),
    (char, "02 61 62", "expected one character, got 2 characters"),
    (bytes, "02 00", "the bytes end early"),
    (bytes, "ff " * 9 + "01", "the bytes end early"),
    (memoryview, "02 00", "the bytes end early"),
    (Annotated[bytes, Length(4)], "00 00 00", "the bytes end early"),
    (Annotated[memoryview, Length(4)], "00 00 00", "the bytes end early"),
    (Array[u16, Literal[3]], "00 00", "expected 3 items of at least 1 bytes"),
    (
        list[u16],
        "03 00 00",
        "expected 3 items of at least 1 bytes each, got only 2 more",
    ),
    (list[f64], "ff ff ff ff 0f", "expected 4294967295 items of at least 8 bytes"),
    (list[None], "81 80 04", "expected at most 65536 items without bytes, got 65537"),
    (set[u16], "02 00", "expected 2 items of at least 1 bytes"),
    (dict[str, str], "02 00 00 00", "expected 2 items of at least 2 bytes"),
    (Color, "03", "expected a variant of Color (0 to 2), got 3"),
    (Drawing, "05", "got 5"),
    (Drawing, "80 80 80 80 10", "got a larger number"),
    (None, "00", "1 bytes are left after the value"),
    (u8, "00 00 00", "2 bytes are left after the value"),
]


@pytest.mark.parametrize(("type_", "given", "problem"), BAD_BYTES)
def test_malformed_bytes_are_one_decode_error(
    type_: Any, given: str, problem: str
) -> None:
    plan = rpc_plan(type_)
    encoded = bytes.fromhex(given)
    for buffer in (encoded, memoryview(encoded)):
        with pytest.raises(DecodeError) as caught:
            plan.decode(buffer)
        assert problem in str(caught.value)
        with pytest.raises(DecodeError) as interpreted:
            interpret_decode(plan.shape, buffer)
        assert str(interpreted.value) == str(caught.value)


@pytest.mark.parametrize(
    ("type_", "given", "value"),
    [
        (u16, "81 80 00", 1),
        (u32, "80 00", 0),
        (i32, "83 80 00", -2),
        (str, "81 00 61", "a"),
        (bytes, "81 00 61", b"a"),
        (list[u16], "81 00 05", [5]),
        (list[u16], "02 85 00 01", [5, 1]),
        (Color, "82 00", Color.BLUE),
        (Drawing, "80 00", Empty()),
    ],
)
def test_varints_longer_than_needed_are_accepted(
    type_: Any, given: str, value: Any
) -> None:
    plan = rpc_plan(type_)
    assert plan.decode(bytes.fromhex(given)) == value
    assert interpret_decode(plan.shape, bytes.fromhex(given)) == value


BAD_VALUES: list[tuple[Any, Any, str]] = [
    (bool, 1, "expected bool, got 1"),
    (u8, 256, "expected u8 (0 to 255), got 256"),
    (u8, -1, "expected u8 (0 to 255), got -1"),
    (i8, 128, "expected i8 (-128 to 127), got 128"),
    (i8, -129, "expected i8 (-128 to 127), got -129"),
    (u16, -1, "expected u16 (0 to 65535), got -1"),
    (u16, 65536, "expected u16 (0 to 65535), got 65536"),
    (u32, "x", "expected u32 (0 to 4294967295), got 'x' (str)"),
    (u32, 1.0, "expected u32 (0 to 4294967295), got 1.0 (float)"),
    (u32, 300.0, "got 300.0 (float)"),
    (u32, None, "expected u32 (0 to 4294967295), got None"),
    (u64, 2**64, "got 18446744073709551616"),
    (i32, 2**31, "expected i32 (-2147483648 to 2147483647), got 2147483648"),
    (int, 2**63, "expected i64"),
    (u128, 2**128, "expected u128"),
    (i128, -(2**127) - 1, "expected i128"),
    (f32, "1", "expected f32, got '1' (str)"),
    (f32, 1e300, "expected f32, got 1e+300 (float)"),
    (f64, None, "expected f64, got None"),
    (f64, 10**400, "expected f64, got 1000"),
    (char, "", "expected one character, got '' (str)"),
    (char, "ab", "expected one character, got 'ab' (str)"),
    (char, 5, "expected one character, got 5"),
    (str, b"a", "expected str, got b'a' (bytes)"),
    (str, "\ud800", "expected str without lone surrogates"),
    (bytes, "a", "expected bytes, got 'a' (str)"),
    (bytes, [1], "expected bytes, got [1] (list)"),
    (None, 0, "expected None, got 0"),
    (u32 | None, "x", "expected u32"),
    (list[u8], b"ab", "expected list, got b'ab' (bytes)"),
    (list[u8], 5, "expected list, got 5"),
    (list[u8], [256], "expected u8 (0 to 255), got 256 - at $[0]"),
    (list[str], "ab", "expected list, got 'ab' (str)"),
    (list[u16], [1, -1], "got -1 - at $[1]"),
    (list[f64], [1.0, "a"], "expected f64, got 'a' (str) - at $[1]"),
    (list[bool], [True, 0], "expected bool, got 0 - at $[1]"),
    (list[None], [None] * 65537, "expected at most 65536 items without bytes"),
    (tuple[u8, ...], {1}, "expected tuple, got {1} (set)"),
    (tuple[u8, u8], (1,), "expected 2 items, got 1"),
    (tuple[u8, u8], "ab", "expected tuple, got 'ab' (str)"),
    (tuple[()], (1,), "expected 0 items, got 1"),
    (set[u8], [1], "expected set, got [1] (list)"),
    (dict[str, u8], [("a", 1)], "expected dict"),
    (dict[str, u8], {"a": 256}, "got 256 - at $['a']"),
    (dict[u8, u8], {256: 1}, "got 256 - at $.keys()[0]"),
    (Array[u8, Literal[2]], [1], "expected 2 items, got 1"),
    (Annotated[bytes, Length(2)], b"abc", "expected 2 bytes, got 3"),
    (Annotated[bytes, Length(2)], "ab", "expected bytes, got 'ab' (str)"),
    (Point, (1, 2), "expected Point, got (1, 2) (tuple)"),
    (Point, AttrsPoint(1, 2), "expected Point"),
    (Point, Point(1, 2**31), "expected i32"),
    (Meters, 1.5, "expected Meters, got 1.5 (float)"),
    (Color, "Red", "expected Color, got 'Red' (str)"),
    (Drawing, Point(1, 2), "expected Empty | Wrapped | Pair | Circle | Square"),
    (Tx[u32], Rx(), "expected Tx"),
]


@pytest.mark.parametrize(("type_", "value", "problem"), BAD_VALUES)
def test_values_of_another_type_are_one_encode_error(
    type_: Any, value: Any, problem: str
) -> None:
    plan = rpc_plan(type_)
    with pytest.raises(EncodeError) as caught:
        plan.encode(value)
    assert problem in str(caught.value)
    with pytest.raises(EncodeError) as interpreted:
        interpret_encode(plan.shape, value)
    assert str(interpreted.value) == str(caught.value)


def test_a_bool_is_an_int_as_for_type_checkers() -> None:
    for type_ in (u8, i8, u32, i64):
        assert b"".join(rpc_plan(type_).encode(True)) in (b"\x01", b"\x02")
