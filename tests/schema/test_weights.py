"""How much memory values take, known before and after they are decoded."""

from __future__ import annotations

import enum
import gc
import tracemalloc
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

import attrs
import msgspec
import pytest

from roam_trio import Length, Rx, Tx, i8, transparent, u8, u32
from roam_trio.codec import rpc_plan
from roam_trio.codec.weights import Weights

SLACK = 20_000
"""Bytes that this test and the interpreter take."""


@dataclass
class WithDict:
    key: u8


@attrs.define
class Slotted:
    key: u8


@attrs.define
class Empty:
    pass


class Struct(msgspec.Struct):
    key: u8


@attrs.define
class Leaf:
    key: u8


@attrs.define
class Branch:
    items: list[Leaf | Branch]


@attrs.define
class Named:
    name: str
    tags: list[str]
    more: Named | None


@attrs.define
class Other:
    key: u8


@transparent
@attrs.define
class Wrapped:
    inner: list[u8]


@attrs.define
class Level:
    inner: Level | None


class Kind(enum.Enum):
    A = 1


MANY = 20_000

VALUES: dict[str, tuple[Any, Any]] = {
    "sets": (list[set[u8]], [set[int]()] * MANY),
    "full sets": (list[frozenset[u8]], [frozenset(range(5))] * MANY),
    "a set": (set[u32], set(range(MANY))),
    "lists": (list[list[u8]], [[]] * MANY),
    "lists of one": (list[list[u8]], [[1]] * MANY),
    "tuples": (list[tuple[u8, str]], [(1, "x" * 20)] * MANY),
    "dicts": (list[dict[u8, u8]], [{}] * MANY),
    "dicts of one": (list[dict[u8, u8]], [{1: 1}] * MANY),
    "a dict": (dict[str, list[u8]], {str(n): [1, 2] for n in range(MANY)}),
    "dict of sets": (dict[u32, set[u8]], {n: {1} for n in range(MANY)}),
    "records": (list[WithDict], [WithDict(1)] * MANY),
    "records with slots": (list[Slotted], [Slotted(1)] * MANY),
    "structs": (list[Struct], [Struct(1)] * MANY),
    "records without fields": (list[Empty], [Empty()] * MANY),
    "union": (list[Leaf | Branch], [Leaf(1), Branch([Leaf(2)] * 3)] * (MANY // 4)),
    "levels": (list[Level], [Level(Level(None))] * MANY),
    "recursive": (list[Named], [Named("abc", ["x", "yz"], Named("", [], None))] * MANY),
    "numbers": (list[u32], [300] * MANY),
    "signed bytes": (list[i8], [-100] * MANY),
    "large numbers": (list[int], [2**62] * MANY),
    "floats": (list[float], [1.5] * MANY),
    "matrix": (list[list[float]], [[1.5] * 100] * (MANY // 100)),
    "short texts": (list[str], ["ab", "\u0100"] * MANY),
    "long texts": (list[str], ["x" * 1000] * 100),
    "wide text": (str, "x" * MANY + "\U0001f600"),
    "bytes": (list[bytes], [b"ab"] * MANY),
    "one bytes": (bytes, bytes(MANY)),
    "views": (list[memoryview], [b""] * MANY),
    "options": (list[str | None], ["abcd", None] * MANY),
    "options of lists": (list[list[u8] | None], [[1], None] * MANY),
    "arrays": (list[Annotated[list[float], Length(3)]], [[1.5] * 3] * MANY),
    "arrays of texts": (Annotated[list[str], Length(3)], ["abc"] * 3),
    "arrays of lists": (list[Annotated[list[list[u8]], Length(2)]], [[[], []]] * MANY),
    "arrays of bytes": (list[Annotated[bytes, Length(40)]], [bytes(40)] * MANY),
    "views of arrays": (list[Annotated[memoryview, Length(9)]], [bytes(9)] * MANY),
    "converted": (list[datetime], [datetime(2026, 1, 1, tzinfo=UTC)] * MANY),
    "transparent": (list[Wrapped], [Wrapped([1])] * MANY),
    "variants of one size": (list[Leaf | Other], [Leaf(1), Other(2)] * MANY),
    "options of flags": (list[bool | None], [True, None] * MANY),
    "options without bytes": (list[Empty | None], [Empty(), None] * MANY),
    "a dict of numbers": (dict[u32, u32], {n: n for n in range(MANY)}),
    "tuples of numbers": (list[tuple[u8, u8]], [(1, 2)] * MANY),
    "tuples of lists": (list[tuple[list[u8], u8]], [([1], 2)] * MANY),
    "empty tuple": (tuple[()], ()),
    "enums": (list[Kind], [Kind.A] * MANY),
    "flags": (list[bool], [True] * MANY),
}


@pytest.mark.parametrize("name", VALUES)
def test_memory_of_values_is_known_before_and_after_they_are_decoded(name: str) -> None:
    annotation, value = VALUES[name]
    plan = rpc_plan(annotation)
    data = b"".join(plan.encode(value))
    plan.decode(data)  # compiled now
    gc.collect()
    tracemalloc.start()
    decoded = plan.decode(data)
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    weights = plan.weights
    assert taken <= weights.of(decoded, len(data)) + SLACK
    assert taken <= weights.at_most(len(data)) + SLACK
    assert weights.of(decoded, len(data)) <= 9 * taken + SLACK


@pytest.mark.parametrize(
    ("annotation", "rate"),
    [(list[set[u8]], 233), (list[list[u8]], 73), (bytes, 1), (str, 4), (list[u8], 9)],
)
def test_rate_is_what_the_densest_values_take(annotation: Any, rate: int) -> None:
    assert rpc_plan(annotation).weights.rate == rate


def test_items_without_bytes_are_counted_once() -> None:
    weights = rpc_plan(list[None]).weights
    assert weights.rate == 1
    assert 65_536 * 9 < weights.at_most(0) < 65_536 * 200
    assert weights.length_of(4096) < 0
    assert rpc_plan(dict[None, None]).weights.at_most(0) > 65_536 * 50


def test_channels_weigh_nothing_here() -> None:
    plan = rpc_plan(tuple[Rx[u8], Tx[u8]])
    assert plan.weights.at_most(0) < 200


def test_value_of_very_many_levels_is_taken_for_the_largest() -> None:
    nested = Named("", [], None)
    for _ in range(5000):
        nested = Named("", [], nested)
    weights = Weights(rpc_plan(Named).shape)
    assert weights.of(nested, 10_000) == weights.at_most(10_000)
