"""Numbers of other classes arrive as the same numbers, wherever they stand."""

from __future__ import annotations

import enum
from fractions import Fraction
from typing import Annotated, Any

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from roam_trio import EncodeError
from roam_trio.codec import rpc_plan
from roam_trio.codec.interpret import interpret_encode
from roam_trio.schema import (
    Length,
    f32,
    i8,
    i16,
    i32,
    i64,
    i128,
    isize,
    transparent,
    u8,
    u16,
    u32,
    u64,
    u128,
    usize,
)

from .numberlike import KINDS, Indexed, Symbol, fixed_width, number_of

TYPES: list[Any] = [
    u8, u16, u32, u64, u128, usize, i8, i16, i32, i64, i128, isize
]  # fmt: skip


@attrs.frozen
class Mixed:
    """Numbers in places that have source of their own."""

    small: u8
    number: i64
    wide: u128 | None
    level: i8
    share: float
    rest: tuple[u16, ...] = ()


@transparent
@attrs.frozen
class Wrapped:
    number: i32


class Level(enum.IntEnum):
    LOW = 40_000


def encodings(type_: Any, value: Any) -> tuple[bytes | str, bytes | str]:
    """What the codec and the interpreter make of a value: bytes, or an error."""
    plan = rpc_plan(type_)
    found: list[bytes | str] = []
    for encode in (
        lambda: b"".join(plan.encode(value)),
        lambda: interpret_encode(plan.shape, value),
    ):
        try:
            found.append(encode())
        except EncodeError as error:
            found.append(str(error))
    return found[0], found[1]


def check(type_: Any, wrapped: Any, plain: Any, name: str) -> None:
    """The bytes of the plain number, or an error that names the class."""
    expected = encodings(type_, plain)[0]
    compiled, interpreted = encodings(type_, wrapped)
    assert compiled == interpreted
    if isinstance(expected, bytes):
        assert compiled == expected
    else:
        assert isinstance(compiled, str)
        assert name in compiled


numbers = st.integers(-300, 300) | st.integers(-(2**127), 2**128 - 1)
kinds = st.sampled_from(KINDS)


@given(st.sampled_from(TYPES), kinds, numbers)
@example(int, fixed_width(16, False), 40_000)
@example(int, fixed_width(32, False), 3_000_000_000)
@example(int, fixed_width(8, True), 100)
@example(u32, Symbol, 200)
@example(u32, Symbol, -1)
def test_a_number_of_another_class_arrives_as_that_number(
    type_: Any, kind: type[Any], number: int
) -> None:
    value = kind(number)
    plain = number_of(value)
    check(type_, value, plain, kind.__name__)
    check(list[type_], [value, value], [plain, plain], kind.__name__)
    check(tuple[type_, ...], (value, 1), (plain, 1), kind.__name__)
    check(Annotated[list[type_], Length(1)], [value], [plain], kind.__name__)
    check(tuple[type_, type_], (value, 1), (plain, 1), kind.__name__)
    check(type_ | None, value, plain, kind.__name__)
    check(set[type_], {value}, {plain}, kind.__name__)
    check(dict[type_, type_], {value: value}, {plain: plain}, kind.__name__)


@given(st.lists(numbers, min_size=1, max_size=6), kinds)
def test_numbers_in_fields_arrive_as_those_numbers(
    given_: list[int], kind: type[Any]
) -> None:
    each = [kind(number) for number in given_]
    plain = [number_of(value) for value in each]
    share = float(plain[-1])

    def mixed(values: list[Any]) -> Mixed:
        return Mixed(values[0], values[-1], values[0], values[-1], share, tuple(values))

    check(Mixed, mixed(each), mixed(plain), kind.__name__)
    check(Wrapped, Wrapped(each[0]), Wrapped(plain[0]), kind.__name__)


@pytest.mark.parametrize("type_", [*TYPES, int])
def test_what_is_no_whole_number_is_refused_by_its_class(type_: Any) -> None:
    for value in (1.0, "1", Fraction(1), None, object()):
        compiled, interpreted = encodings(type_, value)
        assert compiled == interpreted
        assert isinstance(compiled, str)
        assert value is None or type(value).__name__ in compiled


def test_a_member_of_an_enum_of_numbers_arrives_as_its_number() -> None:
    for type_ in (u16, i32, u128):
        check(type_, Level.LOW, 40_000, "Level")
        check(list[type_], [Level.LOW], [40_000], "Level")


class Ratio:
    def __float__(self) -> float:
        return 0.5


@pytest.mark.parametrize("type_", [f32, float])
@pytest.mark.parametrize("value", [Ratio(), Indexed(3), Fraction(1, 2), True])
def test_a_float_takes_what_can_be_one(type_: Any, value: Any) -> None:
    plain = float(value)
    check(type_, value, plain, type(value).__name__)
    check(list[type_], [value], [plain], type(value).__name__)
    check(tuple[type_, u8], (value, Indexed(7)), (plain, 7), type(value).__name__)


@pytest.mark.parametrize("value", [1, 0, Indexed(1), fixed_width(8, False)(1), "x"])
def test_a_bool_is_true_or_false_only(value: Any) -> None:
    compiled, interpreted = encodings(bool, value)
    assert compiled == interpreted
    assert str(compiled).startswith("expected bool, got ")
    if type(value) is not int:
        assert type(value).__name__ in str(compiled)


def test_a_class_with_the_name_of_a_built_in_one_is_told_apart() -> None:
    namesake = type("bool", (Indexed,), {})
    for text in encodings(bool, namesake(1)):
        assert text == f"expected bool, got bool(1) ({__name__}.bool) - at $"


class Yielding:
    """Says something else of its items than what it holds."""

    def __iter__(self) -> Any:
        return iter([1, 2, 3])

    def __len__(self) -> int:
        return 7

    def __bytes__(self) -> bytes:
        return b"\x09"


class OddList(Yielding, list[int]):
    pass


class OddTuple(Yielding, tuple[int, ...]):
    __slots__ = ()


class OddSet(Yielding, frozenset[int]):
    pass


class OddDict(dict[int, int]):
    def items(self) -> Any:
        return [(1, 2), (1, 3)]


@pytest.mark.parametrize("type_", [u8, i8, u32, i32, float])
def test_a_collection_of_a_derived_class_is_what_it_yields(type_: Any) -> None:
    check(list[type_], OddList([4]), [1, 2, 3], "OddList")
    check(list[type_], OddTuple([4]), [1, 2, 3], "OddTuple")
    check(Annotated[list[type_], Length(3)], OddList([4]), [1, 2, 3], "OddList")
    check(tuple[type_, type_, type_], OddTuple([4]), (1, 2, 3), "OddTuple")


@pytest.mark.parametrize("type_", [u8, i8, u32, i32])
def test_a_set_or_dict_of_a_derived_class_is_what_it_yields(type_: Any) -> None:
    check(set[type_], OddSet([4]), {1, 2, 3}, "OddSet")
    check(dict[type_, type_], OddDict(), {1: 3}, "OddDict")
