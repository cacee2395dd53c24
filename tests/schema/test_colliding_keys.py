"""Keys whose hashes collide are refused before they take long to add."""

from __future__ import annotations

import dataclasses
import enum
import itertools
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from uuid import UUID

import attrs
import msgspec
import pytest

from benchmarks.colliding import equal_hashes, one_probe_sequence
from roam_trio import DecodeError, register_wire_type
from roam_trio.codec import rpc_plan
from roam_trio.codec.interpret import interpret_decode
from roam_trio.schema import char, filling, u8, u64, u128
from roam_trio.schema.filling import MOST_STEPS, CollidingKeys, count_steps
from roam_trio.schema.hashing import is_seeded


@attrs.frozen
class Attrs:
    number: u128
    name: str


@dataclasses.dataclass(frozen=True)
class Data:
    number: u128
    name: str


class Struct(msgspec.Struct, frozen=True):
    number: u128
    name: str


class Other(msgspec.Struct, frozen=True):
    name: str


@attrs.frozen
class Own:
    """A type with a wire form that was registered for it."""

    number: int


register_wire_type(
    Own, u128, unstructure=lambda value: value.number, structure=lambda n: Own(n)
)


class Color(enum.Enum):
    RED = 1


def _of(make: Callable[[int], Any]) -> list[Any]:
    return [make(number) for number in equal_hashes(600)]


# The type of the keys, and keys of one hash.
KEYS: dict[str, tuple[Any, Callable[[int], Any]]] = {
    "u128": (u128, int),
    "option": (u128 | None, int),
    "UUID": (UUID, lambda number: UUID(int=number)),
    "Decimal": (Decimal, Decimal),
    "tuple": (tuple[u128, str], lambda number: (number, "a")),
    "tuple[T, ...]": (tuple[u128, ...], lambda number: (number, 1)),
    "tuple in a tuple": (
        tuple[str, tuple[UUID, u8]],
        lambda number: ("a", (UUID(int=number), 1)),
    ),
    "frozenset": (frozenset[u128], lambda number: frozenset([number])),
    "frozen attrs": (Attrs, lambda number: Attrs(number, "a")),
    "frozen dataclass": (Data, lambda number: Data(number, "a")),
    "frozen Struct": (Struct, lambda number: Struct(number, "a")),
    "union": (Struct | Other, lambda number: Struct(number, "a")),
    "registered type": (Own, Own),
}


@pytest.fixture
def suspicious(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything seems to take long, and so all steps are counted."""
    monkeypatch.setattr(filling, "_clock", itertools.count().__next__)
    monkeypatch.setattr(filling, "_SHARE", 0.0)


@pytest.mark.usefixtures("suspicious")
@pytest.mark.parametrize("name", KEYS)
def test_keys_of_one_hash_are_refused(name: str) -> None:
    key, make = KEYS[name]
    keys = _of(make)
    assert len({hash(each) for each in keys}) == 1
    listed = b"".join(rpc_plan(list[key]).encode(keys))
    pairs = b"".join(rpc_plan(list[tuple[key, u8]]).encode([(k, 1) for k in keys]))
    for kind, payload in (
        (set[key], listed),
        (frozenset[key], listed),
        (dict[key, u8], pairs),
        (dict[u8, set[key]], b"\x01\x07" + listed),
        (list[frozenset[key]], b"\x01" + listed),
    ):
        with pytest.raises(DecodeError, match="hashes of"):
            rpc_plan(kind).decode(payload)


def test_crafted_keys_are_refused_by_the_clock_that_is_there() -> None:
    crafted = [UUID(int=number) for number in equal_hashes(16_000)]
    payload = b"".join(rpc_plan(list[UUID]).encode(crafted))
    with pytest.raises(DecodeError, match="hashes of"):
        rpc_plan(set[UUID]).decode(payload)


@pytest.mark.usefixtures("suspicious")
@pytest.mark.parametrize(
    "keys",
    [
        pytest.param([], id="none"),
        pytest.param(list(range(1000)), id="one after another"),
        pytest.param([number << 20 for number in range(1000)], id="low bits zero"),
        pytest.param([number << 44 for number in range(1000)], id="few bits"),
        pytest.param([number * 1000 for number in range(1000)], id="thousands"),
        pytest.param([number * number for number in range(1000)], id="squares"),
        pytest.param([number // 100 for number in range(1000)], id="many twice"),
        pytest.param([7] * 1000, id="one again and again"),
    ],
)
def test_keys_that_nobody_has_crafted_are_taken_however_slow(keys: list[int]) -> None:
    kept = dict.fromkeys(keys, 0)
    assert filling.fill_set(keys, -1e9) == set(keys)
    assert filling.fill_frozenset(keys, -1e9) == frozenset(keys)
    made = filling.fill_dict(keys, [0] * len(keys), -1e9)
    assert list(made.items()) == list(kept.items())


@pytest.mark.usefixtures("suspicious")
def test_keys_that_only_probe_the_same_places_are_refused() -> None:
    keys = one_probe_sequence(2700, 4096)
    assert len({hash(each) for each in keys}) == len(keys)
    with pytest.raises(CollidingKeys, match=f"takes more than {MOST_STEPS} steps"):
        filling.fill_dict(keys, keys, -1e9)


@pytest.mark.usefixtures("suspicious")
def test_a_key_that_is_far_behind_others_is_not_sent_again_and_again() -> None:
    crafted = [UUID(int=number) for number in equal_hashes(100)]
    keys = [*crafted, *([crafted[-1]] * 10_000)]
    with pytest.raises(CollidingKeys):
        filling.fill_set(keys, -1e9)


@pytest.mark.usefixtures("suspicious")
def test_both_codecs_refuse_with_the_place() -> None:
    plan = rpc_plan(dict[str, set[u128]])
    payload = b"\x01\x01a" + b"".join(rpc_plan(list[u128]).encode(equal_hashes(600)))
    with pytest.raises(DecodeError, match="keys collide") as caught:
        interpret_decode(plan.shape, payload)
    assert caught.value.path == "$['a']"
    with pytest.raises(DecodeError, match="keys collide") as caught:
        plan.decode(payload)
    assert caught.value.path == "$['a']"


def test_steps_are_those_of_the_tables_of_python() -> None:
    keys = equal_hashes(100)
    for found in (set(keys), dict.fromkeys(keys)):
        # Each is compared with half of the others, on average.
        assert count_steps(found, keys) == 100 * 99 * 2
    assert count_steps(dict.fromkeys(range(10)), range(10)) == 0
    # Of a table of eight places, the first and the second one tried.
    assert count_steps(dict.fromkeys([0, 8]), [0, 8]) == 1


@pytest.mark.parametrize("amount", [1, 5, 6, 10, 11, 21, 22, 43, 1000, 30_000, 90_000])
def test_the_size_of_a_table_is_known(amount: int) -> None:
    made: set[int] = set()
    for number in range(amount):
        made.add(number)
    # Entries of 16 bytes, of which the first eight are in the object itself.
    entries = (made.__sizeof__() - set[int]().__sizeof__()) // 16
    assert filling._mask(amount, is_set=True) + 1 == (entries or 8)


def test_seeded_keys_are_not_watched() -> None:
    seeded: list[Any] = [str, bytes, char, u8, bool, Color, str | None]
    assert all(is_seeded(rpc_plan(each).shape) for each in seeded)
    crafted: list[Any] = [u64, float, UUID, tuple[str, str], Attrs, u64 | None]
    assert not any(is_seeded(rpc_plan(each).shape) for each in crafted)
