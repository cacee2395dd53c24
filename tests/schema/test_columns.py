"""Lists of records in columns: the same values as postcard, and nothing else."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import sys
import uuid
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import attrs
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roam_trio import DecodeError, EncodeError
from roam_trio.codec import RpcPlan, args_plan, rpc_plan
from roam_trio.columns import plan as columns_plan
from roam_trio.columns.derive import column_of
from roam_trio.columns.plan import FEWEST, ColumnsPlan
from roam_trio.schema import (
    Array,
    Length,
    Slice,
    char,
    f32,
    i32,
    shape_of,
    transparent,
    u8,
    u16,
    u32,
    u64,
    u128,
)

from .examples import AttrsPage, Expr, Tree, Tx
from .strategies import LEAVES, Spec, classes, enums, list_of, many_of, option_of


class Row(msgspec.Struct, frozen=True):
    id: u32
    name: str
    score: float
    active: bool
    note: str | None


@attrs.frozen
class AttrsRow:
    id: u32
    name: str
    score: float
    active: bool
    note: str | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataRow:
    id: u32
    name: str
    score: float
    active: bool
    note: str | None


@transparent
class Note(msgspec.Struct, frozen=True):
    text: str


class NotedRow(msgspec.Struct, frozen=True):
    id: u32
    name: Note
    score: float
    active: bool
    note: Note | None


def fields(number: int) -> dict[str, Any]:
    return {
        "id": number,
        "name": f"n{number}",
        "score": number / 2,
        "active": number % 2 == 0,
        "note": "é" if number % 3 else None,
    }


ROWS = [Row(**fields(number)) for number in range(FEWEST)]


def columns_of(plan: RpcPlan[Any]) -> ColumnsPlan:
    columns = columns_plan.columns_of(plan)
    assert columns is not None
    return columns


def in_columns(plan: RpcPlan[Any], value: Any) -> bytes:
    encoded = columns_of(plan).encode(value)
    assert encoded is not None
    return encoded


def postcard(plan: RpcPlan[Any], value: Any) -> bytes:
    return b"".join(plan.encode(value))


# ---------------------------------------------------------------- any type, any value


def many(spec: Spec) -> Spec:
    values = st.lists(spec.values, min_size=FEWEST, max_size=FEWEST + 3)
    return Spec(list[spec.annotation], values, hashable=False)


KNOWN = [leaf for leaf in LEAVES if column_of(shape_of(leaf.annotation)) is not None]


def lists_of_records(leaves: list[Spec]) -> st.SearchStrategy[Spec]:
    """Lists of random classes, which have lists, options and classes in them."""
    simple = st.sampled_from(leaves) | enums()
    inner = simple | classes(simple)
    wraps = st.sampled_from([list_of, many_of, option_of])
    return classes(inner | st.builds(lambda wrap, spec: wrap(spec), wraps, inner)).map(
        many
    )


def with_columns() -> st.SearchStrategy[Spec]:
    return lists_of_records(KNOWN).filter(
        lambda spec: columns_plan.columns_of(rpc_plan(spec.annotation)) is not None
    )


@given(with_columns(), st.data())
def test_a_value_comes_through_columns_as_through_postcard(
    spec: Spec, data: st.DataObject
) -> None:
    plan = rpc_plan(spec.annotation)
    value = data.draw(spec.values)
    encoded = in_columns(plan, value)
    assert columns_of(plan).decode(encoded) == value
    # By their bytes, since 0 equals False and 1 equals 1.0.
    decoded = columns_of(plan).decode(memoryview(b"..." + encoded), 3)
    assert postcard(plan, decoded) == postcard(plan, value)


@given(with_columns(), lists_of_records(LEAVES), st.data())
def test_columns_take_no_value_that_postcard_refuses(
    spec: Spec, other: Spec, data: st.DataObject
) -> None:
    plan = rpc_plan(spec.annotation)
    value = data.draw(other.values)
    encoded = columns_of(plan).encode(value)
    if encoded is not None:
        decoded = columns_of(plan).decode(encoded)
        assert postcard(plan, decoded) == postcard(plan, value)


@given(with_columns(), st.data())
def test_a_truncated_value_is_refused(spec: Spec, data: st.DataObject) -> None:
    plan = rpc_plan(spec.annotation)
    encoded = in_columns(plan, data.draw(spec.values))
    for size in range(0, len(encoded), 1 + len(encoded) // 40):
        with pytest.raises(DecodeError):
            columns_of(plan).decode(encoded[:size])


@given(with_columns(), st.data())
def test_a_corrupted_value_is_refused_or_one_that_can_be_sent(
    spec: Spec, data: st.DataObject
) -> None:
    plan = rpc_plan(spec.annotation)
    encoded = in_columns(plan, data.draw(spec.values))
    masks = data.draw(st.sets(st.integers(1, 255), min_size=1, max_size=2))
    for position in range(min(len(encoded), 40)):
        for mask in {0x01, 0x80, *masks}:
            corrupted = bytearray(encoded)
            corrupted[position] ^= mask
            check_decodes_or_refuses(plan, bytes(corrupted))


@given(with_columns(), st.binary(max_size=40))
def test_random_bytes_are_refused_or_a_value_that_can_be_sent(
    spec: Spec, given_: bytes
) -> None:
    check_decodes_or_refuses(rpc_plan(spec.annotation), given_)


def check_decodes_or_refuses(plan: RpcPlan[Any], encoded: bytes) -> None:
    try:
        value = columns_of(plan).decode(encoded)
    except DecodeError:
        return
    plan.encode(value)


# ---------------------------------------------------------------- the form


def test_the_form_is_stable() -> None:
    encoded = in_columns(rpc_plan(list[Row]), ROWS[:2] * 4)
    floats = bytes(8) + bytes.fromhex("000000000000e03f")
    assert encoded == b"".join(
        [
            b"\x92\xc4\x04\x08\x00\x00\x00\x95",
            b"\xc4\x08" + b"\x00\x01" * 4,
            b"\x98" + b"\xa2n0\xa2n1" * 4,
            b"\xc4\x40" + floats * 4,
            b"\xc4\x08" + b"\x01\x00" * 4,
            b"\x98" + b"\xc0\xa2\xc3\xa9" * 4,
        ]
    )


@pytest.mark.parametrize(
    ("type_", "low", "high", "size"),
    [
        (u8, 0, 255, 1),
        (u16, 0, 255, 1),
        (u16, 0, 256, 2),
        (u32, 0, 2**16 - 1, 2),
        (u32, 0, 2**16, 4),
        (u64, 1, 2**32 - 1, 4),
        (u64, 1, 2**32, 8),
        (u64, 0, 2**64 - 1, 8),
        (i32, -128, 127, 1),
        (i32, -129, 0, 2),
        (int, 0, 2**31 - 1, 4),
        (int, -(2**63), 2**63 - 1, 8),
    ],
)
def test_numbers_take_as_many_bytes_each_as_the_largest(
    type_: Any, low: int, high: int, size: int
) -> None:
    plan = rpc_plan(list[tuple[type_, bool]])
    value = [(low, True), (high, False)] * FEWEST
    encoded = in_columns(plan, value)
    assert columns_of(plan).decode(encoded) == value
    numbers = msgspec.msgpack.decode(encoded)[1][0]
    assert len(numbers) == size * len(value)
    if type_ not in (u64, int):
        wider = bytes(8 * len(value))
        column = msgspec.msgpack.decode(encoded)
        column[1][0] = wider
        with pytest.raises(DecodeError):
            columns_of(plan).decode(msgspec.msgpack.encode(column))


@pytest.mark.parametrize(
    "cls",
    [
        AttrsRow,
        DataRow,
        lambda **given: tuple(given.values()),
        lambda **given: NotedRow(
            **given
            | {
                "name": Note(given["name"]),
                "note": given["note"] and Note(given["note"]),
            }
        ),
    ],
)
def test_another_spelling_of_the_same_wire_type_has_the_same_form(
    cls: Callable[..., Any],
) -> None:
    value = [cls(**fields(number)) for number in range(FEWEST)]
    kinds = {tuple: tuple[u32, str, float, bool, str | None]}
    kind = type(value[0])
    plan = rpc_plan(list[kinds.get(kind, kind)])  # type: ignore[misc]
    assert in_columns(plan, value) == in_columns(rpc_plan(list[Row]), ROWS)
    assert columns_of(plan).decode(in_columns(plan, value)) == value


class Level(enum.Enum):
    LOW = "low"
    HIGH = "high"


class Inner(msgspec.Struct, frozen=True):
    small: u8
    ratio: f32 | None
    level: Level


class Everything(msgspec.Struct, frozen=True):
    inner: Inner
    inners: list[Inner]
    pairs: tuple[tuple[i32, str], ...]
    data: bytes
    key: uuid.UUID
    when: datetime.datetime
    price: Decimal
    tags: list[str] | None


def everything(number: int) -> Everything:
    inner = Inner(number, None if number % 2 else 0.5, Level.HIGH)
    return Everything(
        inner,
        [inner] * (number % 3),
        ((number, "x"),) * number,
        bytes(number),
        uuid.UUID(int=number),
        datetime.datetime(2024, 1, 1 + number),
        Decimal(number) / 4,
        None if number % 2 else ["t"] * number,
    )


def test_what_is_in_records_may_be_nested() -> None:
    plan = args_plan([list[Everything], u8], ["rows", "number"], "")
    value = ([everything(number) for number in range(9)], 7)
    assert columns_of(plan).decode(in_columns(plan, value)) == value


def test_a_page_of_records_goes_in_columns() -> None:
    page = rpc_plan(AttrsPage[Row])
    assert columns_plan.columns_of(page) is None  # it refers to itself


@dataclasses.dataclass
class Found:
    total: u64
    rows: list[Row]


def test_a_list_in_a_field_goes_in_columns() -> None:
    plan = rpc_plan(Found)
    found = Found(2**64 - 1, ROWS)
    assert columns_of(plan).decode(in_columns(plan, found)) == found


# ---------------------------------------------------------------- what has none


class WithChar(msgspec.Struct):
    letter: char


class WithView(msgspec.Struct):
    view: memoryview


class WithMap(msgspec.Struct):
    map: dict[str, u8]


class WithSet(msgspec.Struct):
    set: set[u8]


class WithBig(msgspec.Struct):
    big: u128


class WithBytesAsList(msgspec.Struct):
    data: list[u8]


class WithSlice(msgspec.Struct):
    data: Annotated[bytes, Slice()]


class WithArray(msgspec.Struct):
    data: Array[u16, Literal[2]]


class WithNothing(msgspec.Struct):
    data: Annotated[bytes, Length(0)]


class WithUnion(msgspec.Struct):
    union: Expr


class WithChannel(msgspec.Struct):
    channel: Tx[u8]


class Empty(msgspec.Struct):
    pass


Many = enum.Enum("Many", [f"M{number}" for number in range(257)])  # type: ignore[misc]


class WithMany(msgspec.Struct):
    many: Many


@pytest.mark.parametrize(
    "type_",
    [
        *(WithChar, WithView, WithMap, WithSet, WithBig, WithBytesAsList, WithSlice),
        *(WithArray, WithNothing, WithUnion, Empty, Tree, WithMany),
        tuple[()],
    ],
)
def test_other_types_have_no_columns(type_: Any) -> None:
    assert columns_plan.columns_of(rpc_plan(list[type_])) is None


@pytest.mark.parametrize(
    "type_",
    [u32, Row, list[u32], list[float], list[bool], list[list[Row]], list[Row] | None],
)
def test_what_postcard_does_well_or_may_be_short_has_no_columns(type_: Any) -> None:
    assert columns_plan.columns_of(rpc_plan(type_)) is None


def test_arguments_with_a_channel_have_no_columns() -> None:
    assert (
        columns_plan.columns_of(args_plan([list[Row], Tx[u8]], ["rows", "tx"], ""))
        is None
    )


# ---------------------------------------------------------------- what is refused


class Text(str):
    __slots__ = ()


class Member(enum.StrEnum):
    """Its value is another text than it is itself."""

    A = "a"

    def __new__(cls, text: str) -> Member:
        member = str.__new__(cls, f"text {text}")
        member._value_ = f"value {text}"
        return member


class Number(int):
    pass


class Named(NamedTuple):
    left: int
    right: int


def replaced(**changes: Any) -> list[Row]:
    return [*ROWS[:-1], msgspec.structs.replace(ROWS[-1], **changes)]


def test_few_records_are_left_to_postcard() -> None:
    columns = columns_of(rpc_plan(list[Row]))
    assert columns.encode(ROWS[1:]) is None
    assert columns.encode([]) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"id": -1},
        {"id": 2**32},
        {"id": 10**400},
        {"id": 1.0},
        {"id": "1"},
        {"id": None},
        {"name": b"n"},
        {"name": None},
        {"name": "\ud800"},
        {"score": "1"},
        {"score": 10**400},
        {"active": 1},
        {"active": None},
        {"note": 1},
        {"note": "\udfff"},
    ],
)
def test_a_wrong_value_is_left_to_postcard_which_says_where(
    changes: dict[str, Any],
) -> None:
    plan = rpc_plan(list[Row])
    assert columns_plan.columns_of(plan).encode(replaced(**changes)) is None
    with pytest.raises(EncodeError) as caught:
        plan.encode(replaced(**changes))
    assert caught.value.path == f"$[{FEWEST - 1}].{next(iter(changes))}"


@pytest.mark.parametrize(
    "value", [None, 1, "text" * 3, [1] * FEWEST, dict.fromkeys(range(FEWEST))]
)
def test_something_else_is_left_to_postcard(value: Any) -> None:
    assert columns_plan.columns_of(rpc_plan(list[Row])).encode(value) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"id": True},
        {"id": Number(7)},
        {"score": 1},
        {"score": True},
        {"score": Decimal("1.5")},
        {"score": 2**63 + 1025},
        {"name": Text("n")},
        {"note": Text("n")},
        {"name": Member.A},
        {"note": Member.A},
    ],
)
def test_an_unusual_value_comes_as_postcard_would_bring_it(
    changes: dict[str, Any],
) -> None:
    plan = rpc_plan(list[Row])
    value = replaced(**changes)
    by_postcard = plan.decode(postcard(plan, value))
    encoded = columns_of(plan).encode(value)
    if encoded is not None:
        decoded = columns_of(plan).decode(encoded)
        assert repr(decoded) == repr(by_postcard)
    assert postcard(plan, by_postcard) == postcard(plan, value)


def test_a_tuple_of_another_kind_or_length_is_left_to_postcard() -> None:
    columns = columns_of(rpc_plan(list[tuple[i32, i32]]))
    pairs: list[tuple[int, ...]] = [(1, 2)] * FEWEST
    assert columns.encode(pairs) is not None
    assert columns.encode([*pairs, Named(1, 2)]) is None
    assert columns.encode([*pairs, (1, 2, 3)]) is None
    assert columns.encode([*pairs, [1, 2]]) is None


def test_a_value_of_a_derived_class_is_taken_as_one_of_its_base() -> None:
    class Special(Row, frozen=True):
        pass

    class Files(msgspec.Struct, frozen=True):
        path: Path

    plan = rpc_plan(list[Row])
    special = [Special(**fields(number)) for number in range(FEWEST)]
    assert columns_of(plan).decode(in_columns(plan, special)) == ROWS
    files = [Files(Path("a") / str(number)) for number in range(FEWEST)]
    plan = rpc_plan(list[Files])
    assert columns_of(plan).decode(in_columns(plan, files)) == files


class Careful(msgspec.Struct):
    number: u32

    def __post_init__(self) -> None:
        if self.number > 100:
            raise ValueError("too careless")


class Careless(msgspec.Struct):
    number: u32


def test_what_a_constructor_refuses_cannot_be_decoded() -> None:
    encoded = in_columns(rpc_plan(list[Careless]), [Careless(101)] * FEWEST)
    with pytest.raises(DecodeError, match="too careless"):
        columns_of(rpc_plan(list[Careful])).decode(encoded)


class Strict(msgspec.Struct, frozen=True):
    flag: bool
    level: Level
    text: str
    maybe: u8 | None
    key: Annotated[bytes, Length(2)]


STRICT: list[Any] = [
    b"\x01\x00\x00\x00",
    [b"\x01", b"\x00", ["t"], [b"\x01", b"\x07"], b"ab"],
]


def changed(place: int, column: Any) -> list[Any]:
    columns = list(STRICT[1])
    columns[place] = column
    return [STRICT[0], columns]


def test_the_smallest_list_is_decoded_though_it_would_not_be_sent() -> None:
    decoded = columns_of(rpc_plan(list[Strict])).decode(msgspec.msgpack.encode(STRICT))
    assert decoded == [Strict(True, Level.LOW, "t", 7, b"ab")]


@pytest.mark.parametrize(
    "column",
    [
        *(None, 1, [], {}, [STRICT], msgspec.msgpack.Ext(1, b"x")),
        [STRICT[0]],
        [*STRICT, 1],
        [b"\x01\x00\x00", STRICT[1]],
        [b"\x02\x00\x00\x00", STRICT[1]],
        [b"\xff\xff\xff\xff", STRICT[1]],
        [STRICT[0], STRICT[1][:-1]],
        [STRICT[0], [*STRICT[1], b""]],
        changed(0, b"\x02"),
        changed(0, b""),
        changed(0, b"\x01\x01"),
        changed(0, True),
        changed(1, b"\x02"),
        changed(1, b""),
        changed(2, []),
        changed(2, ["t", "t"]),
        changed(2, [b"t"]),
        changed(2, [None]),
        changed(2, "t"),
        changed(3, [b"\x02", b"\x07"]),
        changed(3, [b"\x00", b"\x07"]),
        changed(3, [b"\x01", b""]),
        changed(3, [b"\x01", b"\x07\x07"]),
        changed(4, b"a"),
        changed(4, b"abc"),
    ],
)
def test_what_is_not_in_this_form_is_refused(column: Any) -> None:
    with pytest.raises(DecodeError, match="in columns"):
        columns_of(rpc_plan(list[Strict])).decode(msgspec.msgpack.encode(column))


@pytest.mark.parametrize(
    "encoded",
    [
        b"",
        b"\xc1",
        b"\x92\xc4\x04\xff\xff\xff\xff\xdd\xff\xff\xff\xff",
        b"\x92\xc6\xff\xff\xff\xff",
        b"\x91" * 10_000,
        b"\x81" * 10_000,
        msgspec.msgpack.encode(changed(2, ["??"])).replace(b"??", b"\xed\xa0"),
        msgspec.msgpack.encode(STRICT) + b"\xc0",
    ],
)
def test_what_is_no_message_pack_is_refused(encoded: bytes) -> None:
    with pytest.raises(DecodeError):
        columns_of(rpc_plan(list[Strict])).decode(encoded)


def test_numbers_are_the_same_on_a_machine_with_the_other_byte_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plan = rpc_plan(list[Row])
    encoded = in_columns(plan, ROWS)
    monkeypatch.setattr(sys, "byteorder", "big")
    assert columns_of(plan).decode(encoded) == ROWS


class Hashed(msgspec.Struct, frozen=True):
    id: u32
    name: str
    digest: Annotated[bytes, Length(4)]
    seen: u32 | None


def test_optional_values_that_are_all_there_have_a_flag_each() -> None:
    plan = rpc_plan(list[Hashed])
    rows = [Hashed(n, "n", b"1234", n) for n in range(FEWEST)]
    assert columns_of(plan).decode(in_columns(plan, rows)) == rows


def test_bytes_of_another_length_are_left_to_postcard_which_says_where() -> None:
    plan = rpc_plan(list[Hashed])
    rows = [Hashed(n, "n", b"123", n) for n in range(FEWEST)]
    assert columns_of(plan).encode(rows) is None
    with pytest.raises(EncodeError, match="4"):
        plan.encode(rows)


def test_columns_are_named_by_their_type() -> None:
    assert repr(columns_of(rpc_plan(list[Row]))) == "<ColumnsPlan list[Row]>"
