"""The codec in Rust does what the codec in Python does, byte for byte."""

from __future__ import annotations

import enum
import gc
import struct
import subprocess
import sys
import weakref
from array import array
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Annotated, Any

import attrs
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roam_trio import DecodeError, EncodeError, native
from roam_trio.codec.native import codec_of, native_codec
from roam_trio.codec.python import PythonCodec
from roam_trio.schema import (
    Array,
    Length,
    char,
    f32,
    i8,
    i16,
    i64,
    i128,
    shape_of,
    u8,
    u16,
    u32,
    u64,
    u128,
)
from roam_trio.schema.shape import ListShape, UnitShape
from roam_trio.wire.frames import PASSED_BY_REFERENCE, Frames, PayloadRun, framed

from .codecs import NoCodec, agree, native_plan, outcome, python_plan
from .examples import Color, Drawing, Expr, Node, Point, Private, R, Tree
from .strategies import Spec, specs

extension: Any = pytest.importorskip("roam_trio._native")


class Row(msgspec.Struct, frozen=True):
    id: u32
    name: str
    score: float | None
    color: Color
    at: Point


@attrs.frozen(kw_only=True)
class Named:
    rows: list[Row]
    label: str


ROW = Row(70_000, "näme", 0.5, Color.BLUE, Point(-1, 2**30))

VALUES: list[tuple[Any, Any]] = [
    (bool, True),
    (u8, 255),
    (u16, 2**16 - 1),
    (u32, 2**32 - 1),
    (u64, 2**64 - 1),
    (u128, 2**128 - 1),
    (i8, -128),
    (i16, -(2**15)),
    (i64, -(2**63)),
    (i128, -(2**127)),
    (f32, 1.5),
    (f32, float("inf")),
    (float, -0.1),
    (char, "é"),
    (str, "x" * 5000 + "é"),
    (str, "\0\N{SNOWMAN}"),
    (bytes, bytes(127)),
    (bytes, bytes(128)),
    (bytes, bytearray(b"abc")),
    (memoryview, memoryview(b"view")),
    (memoryview, memoryview(b"abcdef")[::2]),
    (None, None),
    (Annotated[bytes, Length(3)], b"abc"),
    (list[u32], [1, 128, 70_000]),
    (list[u32], (1, 2)),
    (list[u8], [0, 255]),
    (list[int], [True, 5, -64, 64]),
    (list[float], [0.5, 1, False]),
    (list[bool], [True, False]),
    (list[None], [None] * 65_536),
    (tuple[bool, ...], [True, False]),
    (Array[u16, 3], [1, 2, 3]),
    (set[str], {"a", "b"}),
    (frozenset[tuple[u8, str]], frozenset([(1, "a")])),
    (set[u64], set(range(100))),
    (dict[u64, str], {number: "" for number in range(100)}),
    (dict[str, list[i64]], {"a": [1, -1], "b": []}),
    (tuple[u8, str | None, float], (1, None, 2.5)),
    (Color, Color.GREEN),
    (list[Row], [ROW, ROW]),
    (list[Row], [ROW] * 20),
    (Named, Named(rows=[ROW], label="l")),
    (Expr | None, None),
    (Node, Node(Node())),
    (Tree, Tree(1, [Tree(2), Tree(3)])),
    (R, R((1, R((2, None))))),
    (Private, Private("secret", kind=3)),
]


@pytest.mark.parametrize("number", range(len(VALUES)))
def test_values_are_encoded_and_decoded_without_the_codec_in_python(
    number: int,
) -> None:
    annotation, value = VALUES[number]
    plan, python = native_plan(annotation, NoCodec()), python_plan(annotation)
    encoded = b"".join(python.encode(value))
    assert b"".join(plan.encode(value)) == encoded
    found = plan.decode(encoded)
    expected = python.decode(encoded)
    assert (type(found), found) == (type(expected), expected)
    assert plan.decode(memoryview(b"..." + encoded)[1:], 2) == expected
    assert plan.decode(memoryview(bytearray(encoded))) == expected


@given(specs(), st.data())
def test_both_codecs_agree_on_values_and_on_corrupted_encodings(
    spec: Spec, data: st.DataObject
) -> None:
    python, plan = python_plan(spec.annotation), native_plan(spec.annotation)
    value = data.draw(spec.values)
    encoded = b"".join(python.encode(value))
    assert b"".join(plan.encode(value)) == encoded
    assert plan.decode(encoded) == value
    for position in range(min(len(encoded), 40)):
        agree(python, plan, encoded[:position])
        for mask in (0x01, 0x80, 0xFF):
            corrupted = bytearray(encoded)
            corrupted[position] ^= mask
            agree(python, plan, bytes(corrupted))
    agree(python, plan, data.draw(st.binary(max_size=30)))


@given(specs(), specs(), st.data())
def test_both_codecs_agree_on_values_of_other_types(
    spec: Spec, other: Spec, data: st.DataObject
) -> None:
    python, plan = python_plan(spec.annotation), native_plan(spec.annotation)
    value = data.draw(other.values)
    assert outcome(lambda: b"".join(plan.encode(value))) == outcome(
        lambda: b"".join(python.encode(value))
    )


WRONG: list[tuple[Any, Any]] = [
    (u8, 256),
    (u8, -1),
    (i8, 128),
    (i16, 2**15),
    (u64, 2**64),
    (u128, -1),
    (u32, "1"),
    (u32, 1.0),
    (bool, 1),
    (f32, 1e300),
    (float, "1"),
    (char, "ab"),
    (char, ""),
    (str, "\ud800"),
    (str, b""),
    (bytes, "text"),
    (bytes, array("H", [1])),
    (None, 0),
    (Annotated[bytes, Length(3)], b"ab"),
    (list[u32], [1, 2**32]),
    (list[u32], {1}),
    (list[None], [None] * 65_537),
    (Array[u16, 3], [1, 2]),
    (set[str], ["a"]),
    (dict[str, u8], {"a": 256}),
    (tuple[u8, u8], (1,)),
    (tuple[u8, u8], [1, 2]),
    (Color, "RED"),
    (list[Row], [ROW, None]),
    (Row, Point(1, 2)),
    (Drawing, Point(1, 2)),
]


@pytest.mark.parametrize("number", range(len(WRONG)))
def test_wrong_values_raise_the_errors_of_the_codec_in_python(number: int) -> None:
    annotation, value = WRONG[number]
    expected = outcome(lambda: python_plan(annotation).encode(value))
    assert expected[1] is not None
    assert outcome(lambda: native_plan(annotation).encode(value)) == expected


REFUSED: list[tuple[Any, str]] = [
    (bool, "02"),
    (u8, ""),
    (u16, "80 80 04"),
    (u16, "80 80 80 00"),
    (u32, "ff ff ff ff 1f"),
    (u64, "80 80 80 80 80 80 80 80 80 80 00"),
    (u128, "ff" * 18 + "04"),
    (float, "00" * 7),
    (char, "02 61 62"),
    (str, "01 ff"),
    (str, "03 ed a0 80"),
    (str, "02 61"),
    (bytes, "ff ff ff ff ff ff ff ff ff 01"),
    (list[u64], "ff ff ff ff ff ff ff ff ff 01"),
    (list[None], "81 80 04"),
    (list[float], "02" + "00" * 15),
    (set[str], "05 01 61"),
    (u8 | None, "02 00"),
    (Color, "03"),
    (Drawing, "09"),
    (Row, "00"),
    (u8, "00 00"),
]


@pytest.mark.parametrize("number", range(len(REFUSED)))
def test_wrong_bytes_raise_the_errors_of_the_codec_in_python(number: int) -> None:
    annotation, given_ = REFUSED[number]
    payload = bytes.fromhex(given_)
    expected = outcome(lambda: python_plan(annotation).decode(payload))
    assert expected[1] is not None
    assert outcome(lambda: native_plan(annotation).decode(payload)) == expected


def nested(depth: int) -> Node:
    node = Node()
    for _ in range(depth):
        node = Node(node)
    return node


def test_values_that_are_nested_deeply_are_left_to_the_codec_in_python() -> None:
    plan, python = native_plan(Node), python_plan(Node)
    for depth in (90, 110):
        encoded = b"".join(python.encode(nested(depth)))
        assert b"".join(plan.encode(nested(depth))) == encoded
        assert plan.decode(encoded) == nested(depth)
    with pytest.raises(AssertionError, match="left to Python"):
        native_plan(Node, NoCodec()).encode(nested(110))
    endless = b"\x01" * 100_000
    with pytest.raises(DecodeError, match="nested too deeply"):
        plan.decode(endless)


@pytest.mark.parametrize("quiet", [True, False])
def test_nan_keeps_its_bits_as_the_interpreter_does(quiet: bool) -> None:
    payload = struct.pack("<I", 0x7FC00001 if quiet else 0x7F800001)
    for annotation in (f32, list[f32]):
        given_ = payload if annotation is f32 else b"\x01" + payload
        python, plan = python_plan(annotation), native_plan(annotation)
        assert plan.encode(python.decode(given_)) == python.encode(
            python.decode(given_)
        )
        agree(python, plan, given_)


def test_large_bytes_are_passed_along_uncopied() -> None:
    large = bytes(1000)
    pieces = native_plan(list[bytes], NoCodec()).encode([b"a", large, b"b", large])
    assert [piece is large for piece in pieces] == [False, True, False, True]


def test_views_borrow_from_what_was_given() -> None:
    memory = bytearray(b"\x03abc")
    view = native_plan(memoryview, NoCodec()).decode(memoryview(memory))
    memory[1:2] = b"z"
    assert view == b"zbc"
    assert view.obj is memory


def test_a_list_that_changes_while_it_is_encoded_is_left_to_python() -> None:
    values: list[Any] = []

    class Odd:
        def __index__(self) -> int:
            if len(values) > 2:
                values.pop()
            return 1

    values[:] = [Odd(), Odd(), Odd(), Odd()]
    encoded = b"".join(native_plan(list[u16]).encode(values))
    assert encoded == b"\x02\x01\x01"


def failing(error: BaseException) -> Any:
    class Failing:
        def __index__(self) -> int:
            raise error

    return Failing()


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_what_ends_a_program_is_raised_at_once(error: type[BaseException]) -> None:
    with pytest.raises(error):
        native_plan(u16, NoCodec()).encode(failing(error()))


def test_an_error_of_the_program_is_the_reason_to_refuse_a_value() -> None:
    problem = OSError("gone")
    with pytest.raises(EncodeError) as caught:
        native_plan(u16).encode(failing(problem))
    with pytest.raises(EncodeError) as expected:
        python_plan(u16).encode(failing(problem))
    assert str(caught.value) == str(expected.value)
    assert caught.value.__cause__ is problem


class Once(msgspec.Struct):
    number: u8

    def __post_init__(self) -> None:
        if ONCE:
            raise ONCE.pop()


ONCE: list[Exception] = []


def test_a_failure_that_does_not_happen_again_is_none() -> None:
    ONCE.append(LookupError("only once"))
    assert native_plan(Once).decode(b"\x01") == Once(1)
    assert not ONCE


def test_a_shape_without_a_size_is_left_to_python() -> None:
    huge = Array[Array[Array[float, 2**31], 2**31], 2**31]  # type: ignore[valid-type]
    shape = shape_of(huge)
    assert native_codec(extension, shape, PythonCodec(shape, "huge")) is None


def test_a_part_that_only_the_peer_has_is_skipped() -> None:
    shape = UnitShape(b"\x00", ListShape(shape_of(str)))
    python = PythonCodec(shape, "a part")
    codec = native_codec(extension, shape, NoCodec())
    assert codec is not None
    assert codec.encode(None) == python.encode(None) == [b"\x00"]
    payload = b"\x02\x01a\x01b"
    assert codec.decode(payload) is python.decode(payload) is None


LONG = PASSED_BY_REFERENCE


def payloads_of(values: Sequence[Any], head: bytes) -> list[bytes]:
    return [b"".join(pieces) for pieces in PayloadRun(head, values)]


def test_several_values_are_encoded_up_to_a_size() -> None:
    for plan in (native_plan(list[bytes]), python_plan(list[bytes])):
        values = iter([[b"ab"], [bytes(200)], [b"c"], [b"d"]])
        encoded, is_cut, failure = plan.encode_run(values, b"head", 200)
        assert (is_cut, failure) == (True, None)
        short, long = payloads_of(encoded, b"head")
        assert short == b"head\x01\x02ab"
        assert long == b"head\x01\xc8\x01" + bytes(200)
        encoded, is_cut, failure = plan.encode_run(values, b"", 200)
        assert (len(encoded), is_cut, failure) == (2, False, None)
        assert list(values) == []


def test_several_values_are_encoded_or_decoded_up_to_a_wrong_one() -> None:
    for plan in (native_plan(u8), python_plan(u8)):
        encoded, is_cut, failure = plan.encode_run([1, 2, 256, 3], b"h", 100)
        assert payloads_of(encoded, b"h") == [b"h\x01", b"h\x02"]
        assert not is_cut
        assert isinstance(failure, EncodeError)
        assert "256" in str(failure)
        values: list[Any] = []
        with pytest.raises(DecodeError, match="1 bytes are left"):
            plan.decode_each([b"\x01", memoryview(b"\x02"), b"\x03\x04"], values)
        assert values == [1, 2]


def test_several_values_end_with_the_exception_of_their_iterator() -> None:
    def values(error: BaseException) -> Iterator[int]:
        yield 1
        raise error

    for plan in (native_plan(u8), python_plan(u8)):
        wrong = ValueError("no more")
        encoded, is_cut, failure = plan.encode_run(values(wrong), b"", 100)
        assert (len(encoded), is_cut, failure) == (1, False, wrong)
        with pytest.raises(KeyboardInterrupt):
            plan.encode_run(values(KeyboardInterrupt()), b"", 100)


@pytest.mark.parametrize("size", [LONG - 3, LONG, 2 * LONG])
def test_long_byte_strings_among_several_values_are_pieces_of_their_own(
    size: int,
) -> None:
    values = [b"ab", bytes(size), memoryview(b"cd"), b"", memoryview(bytes(size))]
    of_python = python_plan(bytes).encode_run(values, b"head", 10**6)
    of_native = native_plan(bytes).encode_run(values, b"head", 10**6)
    expected = payloads_of(of_python[0], b"head")
    assert payloads_of(of_native[0], b"head") == expected
    assert of_native[1:] == of_python[1:] == (False, None)
    is_long = size >= LONG
    assert isinstance(of_native[0], list) is is_long
    if is_long:
        assert any(piece is values[1] for piece in of_native[0][1])


@pytest.mark.parametrize("item", [["x" * 300] * 200, "\N{SNOWMAN}" * 20_000, 2**127])
def test_values_of_every_size_are_framed_alike(item: Any) -> None:
    annotation = {list: list[str], str: str, int: u128}[type(item)]
    head = b"\x00\x08\x01\x00"
    of_python = python_plan(annotation).encode_run([item] * 3, head, 10**6)
    of_native = native_plan(annotation).encode_run([item] * 3, head, 10**6)
    expected = payloads_of(of_python[0], head)
    assert payloads_of(of_native[0], head) == expected
    if isinstance(of_native[0], Frames):
        frames = framed(head, of_python[0])
        assert frames is not None
        assert len(of_native[0]) == len(frames) == 3
        for name in ("data", "longest", "last"):
            assert getattr(of_native[0], name) == getattr(frames, name)


def test_values_that_only_python_takes_are_framed_as_well() -> None:
    deep = nested(110)  # more than the extension encodes
    for values in ([Node(None), deep, Node(None)], [deep]):
        of_python, _, _ = python_plan(Node).encode_run(values, b"h", 10**6)
        found, _, _ = native_plan(Node).encode_run(values, b"h", 10**6)
        assert isinstance(found, Frames)
        assert found.payloads() == payloads_of(of_python, b"h")


def test_pieces_go_to_the_end_of_a_list_that_an_error_leaves_as_it_was() -> None:
    large = bytes(500)
    for plan in (native_plan(list[bytes | None]), python_plan(list[bytes | None])):
        pieces: list[Any] = [b"before"]
        plan.encode_into([large, b"a"], pieces)
        plan.encode_into([b"b"], pieces)
        expected = b"\x02\x01\xf4\x03" + large + b"\x01\x01a" + b"\x01\x01\x01b"
        assert b"".join(pieces) == b"before" + expected
        before = list(pieces)
        with pytest.raises(EncodeError):
            plan.encode_into([large, 5], pieces)  # type: ignore[list-item]
        assert pieces == before


@pytest.mark.parametrize(
    "told",
    [
        [("what",)],
        [("int", 7, False)],
        [("option", 1, False)],
        [("list", 0, -1, False)],
        [()],
        [],
    ],
)
def test_parts_that_make_no_sense_are_refused(told: list[Any]) -> None:
    from roam_trio.codec.native import _Helpers

    with pytest.raises((ValueError, IndexError, OverflowError)):
        extension.Codec(told, 0, _Helpers, NoCodec())


@pytest.mark.parametrize("number", range(len(VALUES)))
def test_nothing_is_kept_of_what_was_encoded_and_decoded(number: int) -> None:
    annotation, value = VALUES[number]
    plan = native_plan(annotation)
    encoded = b"".join(plan.encode(value))

    def run(times: int) -> int:
        for _ in range(times):
            plan.encode(value)
            plan.decode(encoded)
            for payload in (encoded[:-1], encoded + b"\x00"):
                outcome(partial(plan.decode, payload))
        gc.collect()
        return sys.getallocatedblocks()

    times = 2 if len(encoded) > 1000 or value == [None] * 65_536 else 20
    run(times)
    # Caches of the interpreter grow at times, but not each time.
    assert any(run(times) - run(times) > -times for _ in range(10))


def test_a_codec_goes_with_the_class_that_it_is_for() -> None:
    def make() -> weakref.ref[type[Any]]:
        cls = msgspec.defstruct("Gone", [("number", int)])
        kind = enum.Enum("Kind", ["ONE"])  # type: ignore[misc]
        plan = native_plan(tuple[cls, kind, set[int]])  # type: ignore[valid-type]
        cls.plan = plan  # type: ignore[attr-defined]
        plan.decode(b"\x02\x00\x00")
        return weakref.ref(cls)

    gone = make()
    gc.collect()
    assert gone() is None


# ---------------------------------------------------------------- which one is used


def test_the_environment_switches_the_extension_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for value in ("", "0"):
        monkeypatch.setenv("ROAM_TRIO_PURE", value)
        assert native.load() == (extension, "")
    monkeypatch.setenv("ROAM_TRIO_PURE", "1")
    assert native.load() == (None, "ROAM_TRIO_PURE is set")


def test_an_extension_that_is_not_there_or_too_old_is_not_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("ROAM_TRIO_PURE", raising=False)
    assert native.load("roam_trio._none") == (None, "the extension was not built")
    monkeypatch.setattr(extension, "INTERFACE", 0)
    found, why = native.load()
    assert found is None
    assert "another version" in why


@pytest.mark.parametrize("found", [None, extension])
def test_a_codec_is_in_rust_if_the_extension_is_used(
    found: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("roam_trio.codec.native.NATIVE", found)
    kind = PythonCodec if found is None else extension.Codec
    assert type(codec_of(shape_of(u8), "u8")) is kind


@pytest.mark.parametrize(
    ("pure", "told"), [("", "codec in Rust"), ("1", "codec in Python: ROAM_TRIO_PURE")]
)
def test_the_program_tells_which_codec_is_in_use(pure: str, told: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "roam_trio", "--version"],
        env={"ROAM_TRIO_PURE": pure},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("roam-trio ")
    assert told in done.stdout
