"""Long lists of records in Rust, whose fields are read in one step if that is right."""

from __future__ import annotations

from functools import partial
from typing import Any

import attrs
import msgspec
import pytest

from roam_trio.codec.native import native_codec
from roam_trio.codec.python import PythonCodec
from roam_trio.schema import register_wire_type, shape_of, u8, u16, u32
from roam_trio.schema.shape import ListShape, StructShape

from .codecs import NoCodec, native_plan, outcome, python_plan

extension: Any = pytest.importorskip("roam_trio._native")

MANY = 40
"""More records than from which their fields are read in one step."""


class Row(msgspec.Struct):
    id: u32
    name: str
    note: str | None = None


class Longer(Row):
    more: u8 = 0


class Shouting(Row):
    """A record whose attribute is not the field."""

    @property
    def name(self) -> str:  # type: ignore[override]
        return "LOUD"


class Doubling(msgspec.Struct):
    """A record that tells other attributes than its fields."""

    number: u32

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        return 2 * found if name == "number" else found


class Renamed(msgspec.Struct, rename="camel", kw_only=True):
    long_name: str
    second_name: u16


@attrs.frozen
class Plain:
    id: u32
    name: str


class Branch(msgspec.Struct):
    branches: list[Branch]


class Numbered(msgspec.Struct):
    number: u16


class Meters:
    def __init__(self, number: int) -> None:
        self.number = number


class Measured(msgspec.Struct):
    meters: Meters


MEASURED: list[Any] = []


def measure(meters: Meters) -> int:
    del MEASURED[meters.number :]
    return 7


register_wire_type(Meters, u16, unstructure=measure, structure=Meters)


@attrs.frozen
class Limited:
    """A record whose class refuses some values, not all of them by a usual error."""

    number: u16

    def __attrs_post_init__(self) -> None:
        if self.number == 500:
            raise ValueError("500 is too many")
        if self.number == 600:
            raise StopIteration


class Sparse(msgspec.Struct):
    """A class whose constructor does without any of the fields of `Row`."""

    id: u32 = 0
    name: str = ""
    note: str | None = None


class Empty(msgspec.Struct):
    pass


MADE: list[str] = []


@attrs.frozen
class Inner:
    number: u8

    def __attrs_post_init__(self) -> None:
        MADE.append(f"inner {self.number}")


@attrs.frozen
class Outer:
    inner: Inner

    def __attrs_post_init__(self) -> None:
        MADE.append(f"outer {self.inner.number}")


ROWS = [Row(number * 10_000_000, f"n{number}") for number in range(MANY)]


def same_bytes(annotation: Any, value: Any) -> bytes:
    """Encode a value in Rust alone, and in Python."""
    encoded = b"".join(native_plan(annotation, NoCodec()).encode(value))
    assert encoded == b"".join(python_plan(annotation).encode(value))
    return encoded


@pytest.mark.parametrize(
    ("annotation", "values"),
    [
        (list[Row], ROWS),
        (tuple[Row, ...], tuple(ROWS)),
        (list[Renamed], [Renamed(long_name="a", second_name=9)] * MANY),
        (list[Plain], [Plain(1, "a")] * MANY),
        (list[list[Row]], [ROWS, [], ROWS[:3]] * MANY),
    ],
)
def test_records_are_encoded_and_decoded_without_the_codec_in_python(
    annotation: Any, values: Any
) -> None:
    encoded = same_bytes(annotation, values)
    assert native_plan(annotation, NoCodec()).decode(encoded) == values


@pytest.mark.parametrize("annotation", [list[Row], tuple[Row, ...]])
@pytest.mark.parametrize("count", [0, 15, 16, 17, 1023, 1024, 1025, 3000])
def test_lists_of_any_length_are_decoded_as_they_were(
    annotation: Any, count: int
) -> None:
    rows = annotation([Row(index, f"{index}") for index in range(count)])
    encoded = same_bytes(annotation, rows)
    assert native_plan(annotation, NoCodec()).decode(encoded) == rows


@pytest.mark.parametrize("count", [15, 16, 1025])
def test_records_without_fields_are_decoded(count: int) -> None:
    empty = [Empty()] * count
    encoded = same_bytes(list[Empty], empty)
    assert native_plan(list[Empty], NoCodec()).decode(encoded) == empty


def test_records_are_made_one_after_another_with_their_parts() -> None:
    payload = bytes([MANY, *range(MANY)])
    for plan in (native_plan(list[Outer], NoCodec()), python_plan(list[Outer])):
        MADE.clear()
        plan.decode(payload)
        made = [(f"inner {n}", f"outer {n}") for n in range(MANY)]
        assert list(zip(MADE[::2], MADE[1::2], strict=True)) == made


@pytest.mark.parametrize("kept", [(0, 1, 2), (0, 2), (1,), ()])
def test_fields_that_only_the_peer_has_are_skipped(kept: tuple[int, ...]) -> None:
    shape = shape_of(Row)
    assert isinstance(shape, StructShape)
    fields = [
        each if index in kept else attrs.evolve(each, attribute="", keyword="")
        for index, each in enumerate(shape.record.fields)
    ]
    made = Sparse if len(kept) < 3 else Row
    record = attrs.evolve(shape.record, cls=made, fields=tuple(fields))
    sparse = ListShape(attrs.evolve(shape, record=record))
    encoded = b"".join(python_plan(list[Row]).encode(ROWS))
    codec = native_codec(extension, sparse, NoCodec())
    assert codec is not None
    found = codec.decode(encoded)
    assert found == PythonCodec(sparse, "rows").decode(encoded)
    assert len(found) == len(ROWS)
    assert len(kept) < 3 or found == ROWS


@pytest.mark.parametrize("number", [500, 600])
@pytest.mark.parametrize("before", [0, 20, 1050])
def test_record_that_its_class_refuses_ends_as_in_the_codec_in_python(
    number: int, before: int
) -> None:
    numbers = [*range(1000, 1000 + before), number, *range(20)]
    encoded = b"".join(python_plan(list[u16]).encode(numbers))

    def result(plan: Any) -> Any:
        try:
            return outcome(lambda: plan.decode(encoded))
        except Exception as exc:
            return type(exc), str(exc)

    found = result(native_plan(list[Limited]))
    assert found[0] is None or issubclass(found[0], RuntimeError)
    assert found == result(python_plan(list[Limited]))


@pytest.mark.parametrize("count", [20, 1024])
def test_list_that_ends_early_raises_the_error_of_the_codec_in_python(
    count: int,
) -> None:
    rows = [Row(index, f"{index}") for index in range(count)]
    encoded = b"".join(python_plan(list[Row]).encode(rows))
    for end in (3, len(encoded) // 2, len(encoded) - 1):
        cut = encoded[:end]
        _, error = outcome(partial(native_plan(list[Row]).decode, cut))
        assert error is not None
        assert outcome(partial(python_plan(list[Row]).decode, cut)) == (None, error)


def test_record_of_a_derived_class_is_encoded_by_its_attributes() -> None:
    loud = [*ROWS[:20], Shouting(5, "quiet"), *ROWS[20:]]
    decoded = python_plan(list[Row]).decode(same_bytes(list[Row], loud))
    assert [row.name for row in decoded[19:22]] == ["n19", "LOUD", "n20"]


def test_attributes_that_are_not_the_fields_are_what_is_sent() -> None:
    loud = [Shouting(1, "quiet")] * MANY
    decoded = python_plan(list[Row]).decode(same_bytes(list[Shouting], loud))
    assert {row.name for row in decoded} == {"LOUD"}
    doubled = [Doubling(4)] * MANY
    (first, *_) = python_plan(list[Numbered]).decode(
        same_bytes(list[Doubling], doubled)
    )
    assert first == Numbered(8)


@pytest.mark.parametrize("wrong", [Longer(1, "a"), Plain(1, "a"), None, Row(-1, "a")])
def test_wrong_record_among_others_raises_the_error_of_the_codec_in_python(
    wrong: Any,
) -> None:
    values = [*ROWS[:20], wrong, *ROWS[20:]]
    _, error = outcome(lambda: native_plan(list[Row]).encode(values))
    assert "$[20]" in error[1]
    assert outcome(lambda: python_plan(list[Row]).encode(values)) == (None, error)


def test_record_without_a_value_raises_the_error_of_the_codec_in_python() -> None:
    empty = Row(1, "a")
    del empty.name
    values = [*ROWS, empty]
    _, error = outcome(lambda: native_plan(list[Row]).encode(values))
    assert error is not None
    assert outcome(lambda: python_plan(list[Row]).encode(values)) == (None, error)


def test_list_that_loses_records_while_it_is_encoded_is_left_to_python() -> None:
    MEASURED[:] = [Measured(Meters(30))] * MANY
    encoded = b"".join(native_plan(list[Measured]).encode(MEASURED))
    assert encoded == b"\x1e" + b"\x07" * 30


def nested(depth: int) -> Branch:
    branch = Branch([])
    for _ in range(depth):
        branch = Branch([branch, *[Branch([])] * MANY])
    return branch


def test_records_that_are_nested_deeply_are_left_to_the_codec_in_python() -> None:
    encoded = same_bytes(Branch, nested(90))
    assert native_plan(Branch, NoCodec()).decode(encoded) == nested(90)
    with pytest.raises(AssertionError, match="left to Python"):
        native_plan(Branch, NoCodec()).encode(nested(110))
    encoded = b"".join(python_plan(Branch).encode(nested(110)))
    assert b"".join(native_plan(Branch).encode(nested(110))) == encoded
    with pytest.raises(AssertionError, match="left to Python"):
        native_plan(Branch, NoCodec()).decode(encoded)
    assert native_plan(Branch).decode(encoded) == nested(110)
