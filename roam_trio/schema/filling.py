"""Construction of sets and dicts from keys that a peer has chosen.

Python seeds the hashes of texts and byte strings. The hashes of numbers, and of values
made of numbers, are predictable, so a peer can choose keys that all collide in a table:
adding one of them takes as many steps as there are keys before it.

The interpreter does not report these steps. Keys are therefore added in blocks while
the time is measured. If a block takes too long, compared with decoding its keys, the
steps are counted here. The time decides when to count; only the count decides whether
to refuse.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from time import perf_counter
from typing import Final, TypeVar

__all__ = [
    "UNWATCHED",
    "UNWATCHED_SETS",
    "CollidingKeys",
    "count_steps",
    "fill_dict",
    "fill_frozenset",
    "fill_set",
]

K = TypeVar("K")
V = TypeVar("V")

UNWATCHED: Final = 32
"""Number of keys that cannot take long, so that the time is not measured."""

UNWATCHED_SETS: Final = 4
"""Like `UNWATCHED`, for keys that contain sets, whose comparison takes long."""

MOST_STEPS: Final = 64
"""Maximum average number of steps to add a key. Ordinary keys take less than one, and
regularly spaced ones, such as multiples of a power of two, up to thirty.
"""

_BLOCK: Final = 64

# Adding keys may take twice as long as decoding them, plus this many seconds, before
# the steps are counted.
_SHARE: Final = 2.0
_SECONDS: Final = 0.5e-6

# A step to a key with the same hash compares the keys; any other compares hashes.
_EQUAL_HASH: Final = 4

_LINEAR_PROBES: Final = 9
_PERTURB_SHIFT: Final = 5

_clock = perf_counter


class CollidingKeys(ValueError):
    """Too many keys of a set or a dict collide."""


def fill_set(items: list[K], started: float) -> set[K]:
    """Make a set of items.

    Args:
        items: the decoded items.
        started: the time, by `perf_counter`, at which decoding started.

    Raises:
        CollidingKeys: their hashes collide.
    """
    found: set[K] = set()
    _fill(found, lambda start, end: found.update(items[start:end]), items, started)
    return found


def fill_frozenset(items: list[K], started: float) -> frozenset[K]:
    """Make a frozenset of items, as `fill_set` does."""
    return frozenset(fill_set(items, started))


def fill_dict(keys: list[K], values: list[V], started: float) -> dict[K, V]:
    """Make a dict of keys and their values, as `fill_set` does."""
    found: dict[K, V] = {}

    def add(start: int, end: int) -> None:
        found.update(zip(keys[start:end], values[start:end], strict=True))

    _fill(found, add, keys, started)
    return found


def _fill(
    found: Collection[K],
    add: Callable[[int, int], None],
    keys: Sequence[K],
    started: float,
) -> None:
    """Add keys block by block.

    Args:
        found: the set or the dict.
        add: adds the keys from one index up to another.
        keys: all keys.
        started: the time at which decoding started.
    """
    count = len(keys)
    since = _clock()
    allowed = (since - started) * _SHARE / max(count, 1) + _SECONDS
    for start in range(0, count, _BLOCK):
        end = min(start + _BLOCK, count)
        add(start, end)
        # Compare with all keys so far, so that counting takes no longer than adding
        # did.
        if _clock() - since > allowed * end:
            _check(found, keys[:end])
            since = _clock()


def _check(found: Collection[K], keys: Sequence[K]) -> None:
    if count_steps(found, keys) > MOST_STEPS * len(keys):
        raise CollidingKeys(
            f"the hashes of {len(found)} keys collide, which can hardly be by chance: "
            f"to add one takes more than {MOST_STEPS} steps; send a list instead, or "
            "keys that are texts or bytes"
        )


def count_steps(found: Collection[K], keys: Iterable[K]) -> int:
    """Count the occupied slots that were probed when keys were added to a table.

    A set probes several neighbours at a time, which count as one slot here.

    Args:
        found: the set or the dict.
        keys: the keys added, in order, which may contain duplicates.
    """
    table = _Table(len(found), is_set=isinstance(found, (set, frozenset)))
    same: dict[bytes, int] = {}
    for key in found:
        hashed = _hashed(key)
        same[hashed] = same.get(hashed, 0) + 1
    steps_to: dict[bytes, int] = {}
    total = 0
    for key in keys:
        hashed = _hashed(key)
        steps = steps_to.get(hashed)
        if steps is None:
            steps = table.add(int.from_bytes(hashed, "little"))
            steps += (same[hashed] - 1) * _EQUAL_HASH // 2
            steps_to[hashed] = steps
        total += steps
    return total


def _hashed(key: object) -> bytes:
    # Use bytes, because a table of hashes would be as slow as the examined one.
    return hash(key).to_bytes(8, "little", signed=True)


class _Table:
    """A simulation of the hash table of a set or a dict.

    Eventually every key follows one sequence through all slots. Walking an occupied
    stretch of it step by step would take as long here as in Python, so each slot of
    such a stretch stores the distance to its end.
    """

    def __init__(self, count: int, *, is_set: bool) -> None:
        self._mask = _mask(count, is_set=is_set)
        self._linear = _LINEAR_PROBES if is_set else 0
        self._taken = bytearray(self._mask + 1)
        self._next = [-1] * (self._mask + 1)
        self._far = [1] * (self._mask + 1)

    def add(self, hashed: int) -> int:
        """Occupy a slot for a hash; return the number of occupied slots before it."""
        mask, steps = self._mask, 0
        at = hashed & mask
        while (free := self._free(at)) < 0:
            hashed >>= _PERTURB_SHIFT
            if not hashed:
                at, far = self._end(at)
                free = self._free(at)
                steps += far
                break
            at = (at * 5 + hashed + 1) & mask
            steps += 1
        self._taken[free] = 1
        return steps

    def _free(self, at: int) -> int:
        """Return the free slot found at a probe, or -1."""
        linear = self._linear
        end = at + linear if at + linear <= self._mask else at
        return self._taken.find(0, at, end + 1)

    def _end(self, at: int) -> tuple[int, int]:
        """Return the slot at the end of an occupied stretch, and the distance to it."""
        passed: list[tuple[int, int]] = []
        far = 0
        while self._free(at) < 0:
            passed.append((at, far))
            far += self._far[at]
            following = self._next[at]
            at = following if following >= 0 else (at * 5 + 1) & self._mask
        for place, before in passed:
            self._next[place] = at
            self._far[place] = far - before
        return at, far


def _mask(count: int, *, is_set: bool) -> int:
    """Return the size, minus one, of a table to which keys were added one by one."""
    size = 8
    if not is_set:
        while size * 2 // 3 < count:
            size *= 2
        return size - 1
    while (filled := -(-(size - 1) * 3 // 5)) <= count:
        size = 1 << (filled * (2 if filled > 50_000 else 4)).bit_length()
    return size - 1
