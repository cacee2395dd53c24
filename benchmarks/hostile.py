"""What payloads cost that a peer has made to cost much, beside honest ones.

    python -m benchmarks.hostile [--quick]

For each kind of type: a payload that is wrong in its last byte beside one that is
right, a value that is wrong in its last part beside one that is right, and a payload of
keys that get in one another's way beside one of as many others. Each hostile payload is
also the argument of a call, and the longest time is taken that calls of another session
in the same process wait meanwhile.
"""

from __future__ import annotations

import argparse
import dataclasses
import enum
import gc
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from decimal import Decimal
from random import Random
from typing import Any, Final
from uuid import UUID

import attrs
import msgspec
import trio

from roam_trio import (
    CodecError,
    char,
    describe,
    f64,
    i64,
    rpc_plan,
    service,
    u8,
    u32,
    u64,
    u128,
)
from roam_trio.rpc.caller import Caller
from roam_trio.testing import connected_pair

from .colliding import equal_hashes, one_probe_sequence
from .markdown import table

__all__ = [
    "KEYS",
    "MOST_FOR_KEYS",
    "MOST_FOR_WRONG",
    "VALUES",
    "Cost",
    "Effort",
    "main",
    "measure_keys",
    "measure_wrong",
]

MOST_FOR_WRONG: Final = 3.0
"""A wrong payload may take so many times as long as one that is right."""

MOST_FOR_KEYS: Final = 20.0
"""Crafted keys may take so many times as long as others."""


@attrs.frozen
class Record:
    number: u32
    text: str
    share: f64
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


@attrs.frozen
class AttrsKey:
    number: u128
    text: str


@dataclasses.dataclass(frozen=True)
class DataKey:
    number: u128
    text: str


class StructKey(msgspec.Struct, frozen=True):
    number: u128
    text: str


VALUES: Final[dict[str, tuple[Any, Callable[[int], Any]]]] = {
    "list[u64], small": (list[u64], lambda size: [7] * size),
    "list[u64], large": (list[u64], lambda size: [1 << 40] * (size // 6)),
    "list[i64]": (list[i64], lambda size: [-7] * size),
    "list[bool]": (list[bool], lambda size: [True] * size),
    "list[char]": (list[char], lambda size: ["a"] * (size // 2)),
    "list[str]": (list[str], lambda size: ["abc"] * (size // 4)),
    "list[bytes]": (list[bytes], lambda size: [b"abc"] * (size // 4)),
    "list[u32 | None]": (list[u32 | None], lambda size: [7, None] * (size // 3)),
    "list[enum]": (list[Color], lambda size: [Color.RED] * size),
    "list[tuple]": (list[tuple[u8, u32]], lambda size: [(1, 2)] * (size // 2)),
    "list[list[u32]]": (list[list[u32]], lambda size: [[1, 2, 3]] * (size // 4)),
    "list[record]": (
        list[Record],
        lambda size: [Record(1, "a", 0.5, None)] * (size // 12),
    ),
    "list[union]": (
        list[Left | Right],
        lambda size: [Left(1), Right("a")] * (size // 5),
    ),
    "dict[str, u32]": (
        dict[str, u32],
        lambda size: {str(number): 7 for number in range(size // 7)},
    ),
    "set[u64]": (set[u64], lambda size: set(range(size // 3))),
}
"""Types by their names, with what makes a value of about so many bytes."""

_WRONG: Final[Any] = object()

KEYS: Final[dict[str, tuple[Any, Callable[[int], Any]]]] = {
    "u128": (u128, int),
    "UUID": (UUID, lambda number: UUID(int=number)),
    "Decimal": (Decimal, Decimal),
    "tuple[u128, str]": (tuple[u128, str], lambda number: (number, "a")),
    "tuple[tuple[UUID], u8]": (
        tuple[tuple[UUID], u8],
        lambda number: ((UUID(int=number),), 1),
    ),
    "frozenset[u128]": (frozenset[u128], lambda number: frozenset([number])),
    "attrs": (AttrsKey, lambda number: AttrsKey(number, "a")),
    "dataclass": (DataKey, lambda number: DataKey(number, "a")),
    "Struct": (StructKey, lambda number: StructKey(number, "a")),
}
"""Types of keys by their names, with what makes a key of a number."""


@attrs.frozen
class Effort:
    """How much is measured.

    Attributes:
        size: the bytes of a payload that may be wrong.
        keys: how many keys a payload has.
        places: the size of a table that keys of one probe sequence are for.
        times: how often each is measured; the least time counts.
    """

    size: int
    keys: int
    places: int
    times: int


_FULL: Final = Effort(1024 * 1024, 16_000, 32_768, 5)
_QUICK: Final = Effort(1024 * 1024, 4000, 4096, 3)


@attrs.frozen
class Cost:
    """What a hostile payload costs.

    Attributes:
        kind: the kind of type.
        honest: seconds for an honest payload.
        hostile: seconds for the hostile one.
        waited: the longest time that a call of another session took while the hostile
            payload was answered, in seconds; None if it is not a payload.
    """

    kind: str
    honest: float
    hostile: float
    waited: float | None

    @property
    def ratio(self) -> float:
        return self.hostile / self.honest


class _Options(argparse.Namespace):
    quick: bool


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.hostile",
        description="What payloads cost that are made to cost much.",
    )
    parser.add_argument("--quick", action="store_true", help="fewer keys, fewer times")
    options = parser.parse_args(arguments, namespace=_Options())
    effort = _QUICK if options.quick else _FULL
    log = logging.getLogger("roam_trio")
    before = log.level
    log.setLevel(logging.CRITICAL)  # each refused call would be in it
    try:
        wrong = [each for kind in VALUES for each in measure_wrong(kind, effort)]
        keys = [each for kind in KEYS for each in measure_keys(kind, effort)]
        keys.append(measure_one_probe_sequence(effort))
    finally:
        log.setLevel(before)
    print(_table("wrong in the last byte", wrong, MOST_FOR_WRONG))
    print()
    print(_table("crafted keys", keys, MOST_FOR_KEYS))


def _table(what: str, costs: Sequence[Cost], most: float) -> str:
    rows = [
        [
            cost.kind,
            f"{cost.honest * 1e3:.2f}",
            f"{cost.hostile * 1e3:.2f}",
            f"{cost.ratio:.1f}"
            + ("" if cost.ratio <= most else f", more than {most:g}"),
            "" if cost.waited is None else f"{cost.waited * 1e3:.1f}",
        ]
        for cost in costs
    ]
    head = [what, "honest, ms", "hostile, ms", "ratio", "another session waits, ms"]
    return table(head, rows)


# ---------------------------------------------------------------- costs


def measure_wrong(kind: str, effort: Effort) -> list[Cost]:
    """The costs of decoding and encoding what is of a kind of `VALUES`."""
    type_, make = VALUES[kind]
    plan = rpc_plan(type_)
    value = make(effort.size)
    payload = b"".join(plan.encode(value))
    wrong = payload[:-1] + b"\xff"
    if isinstance(value, dict):
        bad: Any = {**value, "last": _WRONG}
    else:
        bad = type(value)([*value, _WRONG])
    return [
        Cost(
            f"{kind.replace('|', 'or')}, decoded",
            *_fastest(effort, lambda: plan.decode(payload), lambda: plan.decode(wrong)),
            _longest_wait(type_, wrong),
        ),
        Cost(
            f"{kind.replace('|', 'or')}, encoded",
            *_fastest(effort, lambda: plan.encode(value), lambda: plan.encode(bad)),
            None,
        ),
    ]


def measure_keys(kind: str, effort: Effort) -> list[Cost]:
    """The cost of keys of one hash, of a kind of `KEYS`, in a set and in a dict."""
    key, make = KEYS[kind]
    random = Random(7)
    crafted = [make(number) for number in equal_hashes(effort.keys)]
    others = [make(random.getrandbits(75)) for _ in crafted]
    item, entry = rpc_plan(list[key]), rpc_plan(list[tuple[key, u8]])
    honest, hostile = (b"".join(item.encode(keys)) for keys in (others, crafted))
    pairs, bad_pairs = (
        b"".join(entry.encode([(each, 1) for each in keys]))
        for keys in (others, crafted)
    )
    return [
        _cost_of_keys(f"set[{kind}]", set[key], honest, hostile, effort),
        _cost_of_keys(f"dict[{kind}, u8]", dict[key, u8], pairs, bad_pairs, effort),
    ]


def measure_one_probe_sequence(effort: Effort) -> Cost:
    """The same for numbers with hashes of their own, which probe the same places."""
    crafted = one_probe_sequence(effort.places * 2 // 3 - 1, effort.places)
    others = [number << 12 for number in range(len(crafted))]
    entry = rpc_plan(list[tuple[u64, u8]])
    honest, hostile = (
        b"".join(entry.encode([(each, 1) for each in keys]))
        for keys in (others, crafted)
    )
    kind = "dict[u64, u8], one probe sequence"
    return _cost_of_keys(kind, dict[u64, u8], honest, hostile, effort)


def _cost_of_keys(
    kind: str, type_: Any, honest: bytes, hostile: bytes, effort: Effort
) -> Cost:
    decode = rpc_plan(type_).decode
    seconds = _fastest(effort, lambda: decode(honest), lambda: decode(hostile))
    return Cost(kind, *seconds, _longest_wait(type_, hostile))


def _fastest(effort: Effort, *works: Callable[[], object]) -> list[float]:
    """The least seconds of each work. In turns, as one leaves memory to the next."""
    taken: list[list[float]] = [[] for _ in works]
    gc.collect()
    for _ in range(effort.times):
        for seconds, work in zip(taken, works, strict=True):
            began = time.perf_counter()
            with suppress(CodecError):
                work()
            seconds.append(time.perf_counter() - began)
    return list(map(min, taken))


# ---------------------------------------------------------------- another session


@service
class Probe:
    """Answers at once."""

    async def ask(self) -> None: ...


class _Probe:
    async def ask(self) -> None:
        return None


class _Victim:
    async def take(self, value: Any) -> None:
        return None


def _longest_wait(type_: Any, payload: bytes) -> float:
    """The longest time of a call in one session while another has the payload."""

    async def take(self: Any, value: Any) -> None: ...

    take.__annotations__ = {"value": type_, "return": None}
    victim: Any = service(type("Victim", (), {"take": take}))
    (method,) = describe(victim).methods
    longest = 0.0

    async def attack(caller: Caller, scope: trio.CancelScope) -> None:
        await trio.lowlevel.checkpoint()
        await caller.call(method.id, [payload])
        scope.cancel()

    async def run() -> None:
        nonlocal longest
        async with (
            connected_pair(Probe, _Probe()) as probe,
            connected_pair(victim, _Victim()) as attacked,
            trio.open_nursery() as nursery,
        ):
            await probe.ask()
            nursery.start_soon(attack, attacked.__roam_caller__, nursery.cancel_scope)
            while True:
                began = time.perf_counter()
                try:
                    await probe.ask()
                finally:
                    longest = max(longest, time.perf_counter() - began)

    trio.run(run)
    return longest


if __name__ == "__main__":
    main()
