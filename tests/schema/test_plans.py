"""Plans: buffers in and out, errors with their place, and source in tracebacks."""

from __future__ import annotations

import array
import enum
import gc
import linecache
import mmap
import re
import traceback
from functools import partial
from typing import Annotated, Any, Literal

import attrs
import msgspec
import pytest

from roam_trio import CodecError, DecodeError, EncodeError
from roam_trio.codec import RpcPlan, args_plan, rpc_plan
from roam_trio.codec.compile import compile_encoder
from roam_trio.codec.interpret import (
    explain_decode,
    explain_encode,
    interpret_decode,
    interpret_encode,
)
from roam_trio.codec.source import Module
from roam_trio.schema import Array, Length, u8, u16, u32

from .codecs import python_plan
from .examples import Circle, Drawing, Point, Square, Tree, hexed

LARGE = bytes(range(256)) * 64


class Blob(msgspec.Struct):
    name: str
    data: bytes
    tail: u8


class View(msgspec.Struct):
    name: str
    data: memoryview


# ---------------------------------------------------------------- buffers


def mapped(data: bytes) -> mmap.mmap:
    memory = mmap.mmap(-1, len(data))
    memory[:] = data
    return memory


@pytest.mark.rule("conduit.typeplan")
def test_a_type_is_planned_and_compiled_once() -> None:
    assert rpc_plan(list[Blob]) is rpc_plan(list[Blob])
    plan = python_plan(list[Blob])
    codec = plan.__dict__["_codec"]
    plan.encode([])
    encoder = codec.__dict__["_encoder"]
    plan.encode([Blob("", b"", 0)])
    assert codec.__dict__["_encoder"] is encoder


@pytest.mark.rule("zerocopy.scatter", "zerocopy.scatter.plan")
@pytest.mark.parametrize("wrap", [bytes, memoryview])
def test_large_bytes_are_passed_along_uncopied(wrap: Any) -> None:
    data = wrap(LARGE)
    pieces = rpc_plan(Blob).encode(Blob("n", data, 7))
    # A view may be another one, of the same memory.
    held = data.obj if isinstance(data, memoryview) else data
    found = [p.obj if isinstance(p, memoryview) else p for p in pieces]
    assert sum(each is held for each in found) == 1
    assert b"".join(pieces) == b"\x01n\x80\x80\x01" + LARGE + b"\x07"


@pytest.mark.rule("zerocopy.scatter.plan.size")
def test_the_size_is_the_sum_of_the_pieces() -> None:
    pieces = rpc_plan(Blob).encode(Blob("n", LARGE, 7))
    assert sum(map(len, pieces)) == len(b"".join(pieces)) == 2 + 3 + len(LARGE) + 1


def test_a_bytearray_is_copied_so_that_changing_it_does_no_harm() -> None:
    data: Any = bytearray(LARGE)
    for type_, value in [
        (Blob, Blob("n", data, 7)),
        (Annotated[bytes, Length(len(LARGE))], data),
    ]:
        pieces = rpc_plan(type_).encode(value)
        data[:] = bytes(len(LARGE))
        assert LARGE in b"".join(pieces)
        data[:] = LARGE


@pytest.mark.rule("zerocopy.scatter.lifetime")
@pytest.mark.parametrize(
    "type_", [bytes, memoryview, Annotated[bytes, Length(len(LARGE))]]
)
@pytest.mark.parametrize("owner", [bytearray, partial(array.array, "B"), mapped])
def test_a_read_only_view_of_memory_that_changes_is_copied(
    type_: Any, owner: Any
) -> None:
    data = owner(LARGE)
    view = memoryview(data)
    pieces = rpc_plan(type_).encode(view.toreadonly())
    view[:] = bytes(len(LARGE))
    assert LARGE in b"".join(pieces)


@pytest.mark.parametrize(
    "view",
    [
        memoryview(LARGE),
        memoryview(LARGE).toreadonly(),
        memoryview(memoryview(LARGE)),
        memoryview(LARGE).cast("H"),
        memoryview(LARGE).cast("B", [2, len(LARGE) // 2]),
    ],
)
def test_a_view_of_bytes_is_passed_along_uncopied(view: Any) -> None:
    piece = rpc_plan(bytes).encode(view)[-1]
    assert isinstance(piece, memoryview)
    assert piece.obj is LARGE
    assert piece == LARGE


@pytest.mark.parametrize("type_", [bytes, memoryview, Annotated[bytes, Length(0)]])
@pytest.mark.parametrize("owner", [bytes, bytearray])
@pytest.mark.parametrize("read_only", [False, True])
def test_an_empty_view_of_any_layout_is_no_bytes(
    type_: Any, owner: Any, read_only: bool
) -> None:
    plane = memoryview(owner(b"abcdef")).cast("B", [2, 3])[:0]
    numbers = memoryview(owner(b"abcd")).cast("I")[:0]
    for view in (plane, numbers):
        given: Any = view.toreadonly() if read_only else view
        plan = rpc_plan(type_)
        encoded = b"".join(plan.encode(given))
        assert encoded == interpret_encode(plan.shape, given)
        assert plan.decode(encoded) == b""


def test_bytes_of_a_derived_class_are_sent_as_what_they_hold() -> None:
    class Odd(bytes):
        def __bytes__(self) -> bytes:
            return b"other"

        def __len__(self) -> int:
            return 1

    plan = rpc_plan(list[bytes])
    assert hexed(plan.encode([Odd(b"abc")])) == "01 03 61 62 63"


def test_views_of_any_layout_are_sent_as_their_bytes() -> None:
    plan = rpc_plan(bytes)
    every_other: Any = memoryview(b"abcdef")[::2]
    assert hexed(plan.encode(every_other)) == "03 61 63 65"
    numbers: Any = memoryview(b"\x01\x00\x02\x00").cast("H")
    assert hexed(plan.encode(numbers)) == "04 01 00 02 00"
    released: Any = memoryview(b"a")
    released.release()
    with pytest.raises(EncodeError, match="expected bytes"):
        plan.encode(released)


@pytest.mark.rule("zerocopy.backing", "zerocopy.recv.selfref")
def test_a_decoded_view_borrows_from_the_buffer_and_keeps_it() -> None:
    encoded = b"".join(rpc_plan(View).encode(View("n", memoryview(LARGE))))
    for buffer in (encoded, memoryview(encoded)):
        value = rpc_plan(View).decode(buffer)
        assert isinstance(value.data, memoryview)
        assert value.data == LARGE
        assert value.data.obj is encoded
    fixed: RpcPlan[Any] = rpc_plan(Annotated[memoryview, Length(4)])
    assert fixed.decode(encoded[5:9]).obj is not None


def test_decoded_bytes_are_copied() -> None:
    buffer = bytearray(b"\x01n\x02ab\x07")
    value = rpc_plan(Blob).decode(memoryview(buffer))
    buffer[:] = bytes(len(buffer))
    assert value == Blob("n", b"ab", 7)
    assert type(value.data) is bytes


def test_decoding_may_begin_within_the_buffer() -> None:
    assert rpc_plan(u16).decode(b"xx\x80\x01", 2) == 128
    with pytest.raises(DecodeError, match="2 bytes are left"):
        rpc_plan(u8).decode(b"xx\x01\x02\x03", 2)
    with pytest.raises(DecodeError):
        rpc_plan(u8).decode(b"xx", 2)


def test_a_list_is_as_it_was_after_a_failed_encoding() -> None:
    pieces: list[bytes | memoryview] = [b"before"]
    plan = rpc_plan(tuple[str, u8])
    with pytest.raises(EncodeError, match=r"got 256 - at \$\[1\]"):
        plan.encode_into(("a", 256), pieces)
    assert pieces == [b"before"]
    plan.encode_into(("a", 255), pieces)
    assert b"".join(pieces) == b"before\x01a\xff"


def test_a_list_without_a_bound_on_its_bytes_has_one_on_its_items() -> None:
    plan = rpc_plan(list[None])
    most = [None] * 65536
    assert plan.decode(b"".join(plan.encode(most))) == most
    empty: RpcPlan[Any] = rpc_plan(Array[None, Literal[65536]])
    assert empty.decode(b"") == most
    keyed = rpc_plan(dict[None, None])
    assert keyed.decode(b"\x02") == {None: None}
    with pytest.raises(DecodeError, match="at most 65536 items without bytes"):
        keyed.decode(b"\x81\x80\x04")


def test_types_are_nested_deeper_than_blocks_of_source() -> None:
    type_: Any = u16
    value: Any = 300
    for _ in range(30):
        type_, value = list[type_ | None], [None, value]
    plan = rpc_plan(type_)
    encoded = b"".join(plan.encode(value))
    assert plan.decode(encoded) == value
    assert interpret_encode(plan.shape, value) == encoded


# ---------------------------------------------------------------- errors


def test_an_error_says_what_was_expected_what_came_and_where() -> None:
    plan = args_plan([u32, list[Drawing]], ["l", "shapes"], "Service.draw")
    bad: list[tuple[Any, str, str]] = [
        ((-1, []), "argument 'l': expected u32 (0 to 4294967295), got -1", "$.l"),
        (
            (1, [Circle(1.0), Square(-3, "x")]),
            "argument 'shapes': expected u32 (0 to 4294967295), got -3",
            "$.shapes[1].side",
        ),
        ((1, 2), "argument 'shapes': expected list, got 2", "$.shapes"),
        ((1,), "expected 2 items, got 1", "$"),
    ]
    for value, problem, path in bad:
        with pytest.raises(EncodeError) as caught:
            plan.encode(value)
        assert (caught.value.problem, caught.value.path) == (problem, path)
        assert str(caught.value) == f"{problem} - at {path}"
        assert isinstance(caught.value.__cause__, Exception)


def test_a_decode_error_names_the_argument_and_the_byte() -> None:
    plan = args_plan([u32, list[Drawing]], ["l", "shapes"], "Service.draw")
    with pytest.raises(DecodeError) as caught:
        plan.decode(bytes.fromhex("01 02 00 04 05 02 61"))
    assert str(caught.value) == (
        "argument 'shapes': expected str, 2 bytes from byte 6, got 1: the bytes end "
        "early - at $.shapes[1].label"
    )
    with pytest.raises(
        DecodeError, match=r"^3 bytes are left after the value - at \$$"
    ):
        plan.decode(b"\x00\x00\x00\x00\x00")


def test_keys_and_values_of_a_dict_have_paths_of_their_own() -> None:
    plan = rpc_plan(dict[str, dict[u8, bool]])
    with pytest.raises(DecodeError, match=r"got 02 at byte 6 - at \$\['ab'\]\[7\]$"):
        plan.decode(b"\x01\x02ab\x01\x07\x02")
    with pytest.raises(DecodeError, match=r"invalid UTF-8 .* - at \$\.keys\(\)\[0\]$"):
        plan.decode(b"\x01\x01\xff\x00")


def test_long_values_are_cut_short_in_errors() -> None:
    for type_, value in [
        (u8, "x" * 1000),
        (u8, [1] * 1000),
        (str, b"x" * 100000),
        (u8, 10**1000),
    ]:
        with pytest.raises(EncodeError) as caught:
            rpc_plan(type_).encode(value)
        assert len(str(caught.value)) < 150


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError("no")


def test_a_value_that_cannot_be_printed_is_still_refused() -> None:
    plan: RpcPlan[Any] = rpc_plan(u8)
    with pytest.raises(EncodeError, match=r"got <repr raised RuntimeError> \(Unprint"):
        plan.encode(Unprintable())


@attrs.define
class Even:
    number: u8 = attrs.field()

    @number.validator
    def _check(self, attribute: Any, value: int) -> None:
        if value % 2:
            raise ValueError(f"{value} is odd")


class Positive(msgspec.Struct):
    number: int

    def __post_init__(self) -> None:
        if self.number < 0:
            raise ValueError("negative")


class Broken(msgspec.Struct):
    x: u8

    def __getattribute__(self, name: str) -> Any:
        if name == "x":
            raise KeyError(name)
        return super().__getattribute__(name)


def test_a_constructor_that_refuses_is_a_decode_error_with_its_cause() -> None:
    with pytest.raises(DecodeError) as caught:
        rpc_plan(list[Even]).decode(b"\x02\x02\x03")
    assert str(caught.value) == (
        "Even refused its fields: ValueError: 3 is odd - at $[1]"
    )
    assert isinstance(caught.value.__cause__, ValueError)
    with pytest.raises(DecodeError, match="Positive refused its fields: ValueError"):
        rpc_plan(tuple[str, Positive]).decode(b"\x00\x01")


def test_a_field_that_cannot_be_read_is_an_encode_error() -> None:
    with pytest.raises(EncodeError, match="field 'x' could not be read: KeyError"):
        rpc_plan(Broken).encode(Broken(1))
    unset = Even.__new__(Even)
    with pytest.raises(EncodeError, match="'number' could not be read: AttributeErr"):
        rpc_plan(Even).encode(unset)


@attrs.frozen
class Holder:
    values: list[int]


def test_an_item_that_turns_out_unhashable_is_refused() -> None:
    # The class has a hash, which fails on what it holds.
    with pytest.raises(DecodeError, match="unhashable: TypeError") as caught:
        rpc_plan(set[Holder]).decode(b"\x01\x00")
    assert caught.value.path == "$"
    with pytest.raises(DecodeError, match="unhashable: TypeError"):
        rpc_plan(dict[Holder, u8]).decode(b"\x01\x00\x00")


@pytest.mark.parametrize("error", [MemoryError, KeyboardInterrupt, SystemExit])
def test_what_is_no_fault_of_the_value_passes_through(
    error: type[BaseException],
) -> None:
    plan = rpc_plan(list[Once])
    value = [Once(1)]
    runs: list[Any] = [
        lambda: plan.encode(value),
        lambda: plan.encode_into(value, []),
        lambda: plan.decode(b"\x01\x01"),
        lambda: interpret_encode(plan.shape, value),
        lambda: interpret_decode(plan.shape, b"\x01\x01"),
    ]
    for run in runs:
        ONCE.append(error())
        with pytest.raises(error):
            run()
        assert not ONCE


def test_values_nested_too_deeply_are_refused() -> None:
    plan = rpc_plan(Tree)
    deep = Tree(0)
    for _ in range(5000):
        deep = Tree(0, [deep])
    with pytest.raises(EncodeError, match="nested too deeply") as caught:
        plan.encode(deep)
    assert "…" in caught.value.path
    assert len(caught.value.path) < 1000
    with pytest.raises(DecodeError, match="nested too deeply"):
        plan.decode(b"\x00\x01" * 5000 + b"\x00\x00")
    while deep.children:  # what is nested deeply is let go of bit by bit
        deep = deep.children.pop()


def test_a_value_that_contains_itself_is_refused() -> None:
    tree = Tree(0)
    tree.children.append(tree)
    with pytest.raises(EncodeError, match="nested too deeply"):
        rpc_plan(Tree).encode(tree)
    tree.children.clear()


class Once(msgspec.Struct):
    """Fails on one reading only, so that going over it again finds nothing wrong."""

    x: u8

    def __getattribute__(self, name: str) -> Any:
        if name == "x" and ONCE:
            raise ONCE.pop()
        return super().__getattribute__(name)

    def __post_init__(self) -> None:
        if ONCE:
            raise ONCE.pop()


ONCE: list[BaseException] = []


def test_a_failure_that_cannot_be_found_again_is_still_a_codec_error() -> None:
    plan = python_plan(Once)
    value = Once(1)
    for run, kind in (
        (lambda: plan.encode(value), EncodeError),
        (lambda: plan.decode(b"\x01"), DecodeError),
    ):
        ONCE.append(LookupError("only once"))
        with pytest.raises(kind, match="LookupError: only once") as caught:
            run()
        assert isinstance(caught.value.__cause__, LookupError)


def test_the_interpreter_explains_what_it_did_not_expect() -> None:
    class Odd(dict[str, int]):
        def items(self) -> Any:
            raise OSError("gone")

    with pytest.raises(EncodeError, match=r"OSError: gone - at \$$"):
        rpc_plan(dict[str, int]).encode(Odd(a=1))
    shape = rpc_plan(u8).shape
    assert isinstance(explain_encode(shape, 256, ValueError()), CodecError)
    assert isinstance(explain_decode(shape, b"", 0, ValueError()), CodecError)


# ---------------------------------------------------------------- source


def test_a_traceback_shows_the_generated_source() -> None:
    plan = rpc_plan(list[Point])
    with pytest.raises(EncodeError) as caught:
        plan.encode([Point("x", 1)])  # type: ignore[arg-type]
    cause = caught.value.__cause__
    shown = "".join(traceback.format_exception(cause))
    assert re.search(r'File "<roam_trio encoder of list\[Point\] #\d+>"', shown)
    assert "(ZIGZAG[x] if x >= -64 and x < 64 else write_i32(x))" in shown


def test_names_and_literals_cannot_break_out_of_the_source() -> None:
    hostile = 'x"]\nraise SystemExit #'
    cls = msgspec.defstruct(hostile, [("x", u8)])
    other = msgspec.defstruct("class", [("x", u8)])
    color: Any = enum.Enum("Color", [("A", hostile), ("B", "'")])
    plan = rpc_plan(tuple[cls, other, cls | other, color])
    value = (cls(1), other(2), cls(3), color("'"))
    assert hexed(plan.encode(value)) == "01 02 00 03 01"
    assert plan.decode(b"\x01\x02\x00\x03\x01") == value


def test_names_in_source_are_told_apart() -> None:
    names = [
        *("value", "append", "buf", "pos", "size", "BYTE", "refuse", "n", "n_2"),
        *("Point", "len", "list", "range", "_", "__", "id", "encode", "utf8"),
    ]
    many = msgspec.defstruct("Many", [(name, list[str]) for name in names])
    point = msgspec.defstruct("Point", [(name, u16) for name in names])
    plan = rpc_plan(tuple[many, point, Point])
    value = (
        many(*([name] for name in names)),
        point(*range(1000, 1000 + len(names))),
        Point(1, 2),
    )
    assert plan.decode(b"".join(plan.encode(value))) == value


def test_one_object_has_one_name_in_a_module() -> None:
    module = Module("test")
    assert module.bind("Point", Point) == module.bind("Point", Point) == "Point"
    assert module.bind("Point", Circle) == "Point_2"
    assert module.bind("Point", Circle) == "Point_2"
    function = module.function("Point", "Circle")
    assert function.name == "Point_3"
    assert function.local("Point") == "Point_4"
    assert module.bind("Circle", Circle) == "Circle_2"
    assert module.bind("3 a-b", 1) == "x3_a_b"
    assert module.bind("", 2) == "x"


def test_an_encoder_can_be_compiled_apart() -> None:
    pieces: list[Any] = []
    compile_encoder(rpc_plan(Drawing).shape, "test")(Square(1, "a"), pieces.append)
    assert hexed(pieces) == "04 01 01 61"


def test_source_goes_with_what_was_compiled_of_it() -> None:
    module = Module("test")
    function = module.function("double", "value")
    function.line("return value * 2")
    double = module.compile(function.name)
    filename = double.__code__.co_filename
    assert double(2) == 4
    assert linecache.getline(filename, 2) == "    return value * 2\n"
    del module, function, double
    gc.collect()
    assert filename not in linecache.cache
