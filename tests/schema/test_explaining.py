"""What is wrong with a refused value is looked for within bounds."""

from __future__ import annotations

import enum
import re
import struct
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import attrs
import pytest

from roam_trio import CodecError, DecodeError, EncodeError, rpc_plan
from roam_trio.codec import ChannelPlan, args_plan, result_plan
from roam_trio.codec.primitives import small_signed_numbers
from roam_trio.codec.walk import (
    BYTES_A_VISIT,
    MAX_VISITS,
    MIN_VISITS,
    SMALL,
    Walk,
)
from roam_trio.schema import char, f32, f64, i64, u8, u32, u64

from .examples import Rx


@attrs.frozen
class Record:
    number: u32
    text: str
    maybe: u8 | None


@attrs.frozen
class Left:
    left: u8


@attrs.frozen
class Right:
    right: str


class Color(enum.Enum):
    RED = 1
    GREEN = 2


@pytest.fixture
def visits(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Walk]]:
    """A walk for each part that was visited."""
    made: list[Walk] = []
    visit = Walk.visit

    def counted(self: Walk) -> None:
        made.append(self)
        visit(self)

    monkeypatch.setattr(Walk, "visit", counted)
    yield made
    made.clear()


N = 40_000

# Types, and long values of them.
LONG: dict[str, tuple[Any, Callable[[], Any]]] = {
    "texts": (list[str], lambda: ["abc"] * N),
    "bytes": (list[bytes], lambda: [b"abc"] * N),
    "chars": (tuple[char, ...], lambda: ("a",) * N),
    "large numbers": (list[u64], lambda: [1 << 40] * N),
    "options": (list[u8 | None], lambda: [1, None] * N),
    "records": (list[Record], lambda: [Record(1, "a", None)] * N),
    "tuples": (list[tuple[u8, u32]], lambda: [(1, 2)] * N),
    "unions": (list[Left | Right], lambda: [Left(1), Right("a")] * N),
    "enums": (list[Color], lambda: [Color.RED, Color.GREEN] * N),
    "UUIDs": (list[UUID], lambda: [UUID(int=1)] * N),
    "lists": (list[list[u32]], lambda: [[1, 2, 3]] * N),
    "dict": (dict[str, u32], lambda: {str(number): 1 for number in range(N)}),
    "set": (set[u64], lambda: {number << 20 for number in range(N)}),
}


@pytest.mark.parametrize("name", [each for each in LONG if each != "UUIDs"])
def test_a_long_payload_is_refused_after_so_many_parts(
    name: str, visits: list[Walk]
) -> None:
    type_, make = LONG[name]
    plan = rpc_plan(type_)
    good = b"".join(plan.encode(make()))
    # Not by its length, if that would tell at once.
    wrong = good[:-1] + (b"\xff" if name in ("enums", "tuples") else b"")
    with pytest.raises(DecodeError) as caught:
        plan.decode(wrong)
    # As many as its size allows, which is at most so many.
    allowed = len(visits) - 1
    assert allowed == min(len(wrong) // BYTES_A_VISIT, MAX_VISITS)
    text = str(caught.value)
    assert type(caught.value.__cause__).__name__ in text
    assert f"the first {allowed} parts" in text
    position, size = map(int, re.findall(r"at byte (\d+) of (\d+)", text)[0])
    assert size == len(wrong)
    assert len(wrong) - 4 <= position <= len(wrong)


@pytest.mark.parametrize("name", [each for each in LONG if each != "set"])
def test_a_long_value_is_refused_after_so_many_parts(
    name: str, visits: list[Walk]
) -> None:
    type_, make = LONG[name]
    value = make()
    wrong: Any = object()
    if isinstance(value, dict):
        value["last"] = wrong
    else:
        value = type(value)([*value, wrong])
    with pytest.raises(EncodeError):
        rpc_plan(type_).encode(value)
    assert len(visits) <= MAX_VISITS + 1
    visits.clear()
    pieces: list[bytes | memoryview] = [b"before"]
    with pytest.raises(EncodeError):
        rpc_plan(type_).encode_into(value, pieces)
    assert len(visits) <= MAX_VISITS + 1
    assert pieces == [b"before"]


def test_an_encoder_says_after_how_many_bytes_it_stopped() -> None:
    wrong: Any = object()
    with pytest.raises(EncodeError, match="after 200003 bytes; the first 2000 parts"):
        rpc_plan(list[str]).encode(["abcd"] * N + [wrong])


@pytest.mark.parametrize(
    ("type_", "good", "wrong"),
    [
        (list[u64], 5, 2**64),
        (list[u64], 5, -1),
        (tuple[i64, ...], -3, 2**63),
        (list[i64], 5, "a"),
        (list[u8], 5, 256),
        (list[f64], 1.5, "a"),
        (list[f32], 1.5, 1e300),
        (set[u64], None, -1),
    ],
)
def test_a_wrong_number_is_found_wherever_it_is(
    type_: Any, good: int | None, wrong: Any, visits: list[Walk]
) -> None:
    value = list(range(50_000)) if good is None else [good] * 50_000
    value[43_210] = wrong
    made = set(value) if good is None else value
    if type_ == tuple[i64, ...]:
        made = tuple(value)
    with pytest.raises(EncodeError) as caught:
        rpc_plan(type_).encode(made)
    assert caught.value.path == f"$[{list(made).index(wrong)}]"
    assert len(visits) < MIN_VISITS


@pytest.mark.parametrize(
    ("type_", "good", "wrong"),
    [
        (list[u64], 5, b"\xff"),
        (tuple[i64, ...], -3, b"\xff"),
        (list[bool], True, b"\x02"),
        (list[tuple[list[float], bool]], ([1.5] * 50_000, True), b"\x02"),
        (list[tuple[list[u8], u32]], ([1] * 50_000, 7), b"\xff"),
    ],
)
def test_a_payload_of_many_numbers_is_explained_to_its_end(
    type_: Any, good: Any, wrong: bytes, visits: list[Walk]
) -> None:
    count = 2 if isinstance(good, tuple) else 50_000
    value = [good] * count
    plan = rpc_plan(type_)
    encoded = b"".join(plan.encode(tuple(value) if good == -3 else value))
    with pytest.raises(DecodeError) as caught:
        plan.decode(encoded[:-1] + wrong)
    assert caught.value.path.startswith(f"$[{count - 1}]")
    assert len(visits) < MIN_VISITS


def test_small_payloads_are_explained_to_their_ends(visits: list[Walk]) -> None:
    plan = rpc_plan(list[Record])
    good = b"".join(plan.encode([Record(1, "a", None)] * (MIN_VISITS // 5)))
    with pytest.raises(DecodeError) as caught:
        plan.decode(good[:-1] + b"\x07")
    assert caught.value.path == f"$[{MIN_VISITS // 5 - 1}].maybe"
    assert len(visits) < MIN_VISITS


@pytest.mark.parametrize("size", [SMALL, 16 * 1024, 64 * 1024, 256 * 1024])
def test_larger_payloads_are_explained_in_parts_by_their_size(
    size: int, visits: list[Walk]
) -> None:
    plan = rpc_plan(list[list[u64]])
    good = b"".join(plan.encode([[1] * 49] * (size // 50 + 1)))
    with pytest.raises(DecodeError):
        plan.decode(good[:-1] + b"\xff")
    assert len(visits) - 1 == len(good) // BYTES_A_VISIT


def test_what_is_no_number_ends_the_encoding_of_many_at_once() -> None:
    wrong: Any = [-7] * 5000 + [None]
    with pytest.raises(struct.error):
        small_signed_numbers(wrong)
    assert small_signed_numbers([-7] * 5000 + [2**62]) is None
    with pytest.raises(EncodeError) as caught:
        rpc_plan(list[i64]).encode(wrong)
    assert caught.value.path == "$[5000]"


def _refuse(decode: Callable[[bytes], Any], payload: bytes) -> None:
    with pytest.raises(CodecError):
        decode(payload)


def test_calls_answers_and_items_are_explained_within_the_bound(
    visits: list[Walk],
) -> None:
    good = b"".join(rpc_plan(list[Record]).encode([Record(1, "a", None)] * N))
    wrong = good[:-1] + b"\x07"
    args = args_plan([list[Record]], ["records"], "S.take")
    _refuse(args.decode, wrong)
    assert len(visits) <= MAX_VISITS + 1
    result = result_plan(list[Record], list[Record], "S.take")
    for begin in (b"\x00", b"\x01\x00"):
        visits.clear()
        _refuse(result.decode, begin + wrong)
        assert 0 < len(visits) <= MAX_VISITS + 1
    visits.clear()
    (channel,) = args_plan([Rx[list[Record]]], ["items"], "S.take").channels
    _refuse(ChannelPlan.of(channel.channel).items.decode, wrong)
    assert 0 < len(visits) <= MAX_VISITS + 1
