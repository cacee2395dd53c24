"""Keys that get in one another's way in Python's tables."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

__all__ = ["equal_hashes", "one_probe_sequence"]

_MODULUS = 2**61 - 1
"""What Python hashes whole numbers by."""


def equal_hashes(amount: int) -> list[int]:
    """Numbers of less than 128 bits that all have one hash."""
    return [number * _MODULUS + 1 for number in range(amount)]


def one_probe_sequence(amount: int, size: int) -> list[int]:
    """Numbers of less than 61 bits, each its own hash, that a table of a size places
    one behind another.

    Half of them fill a stretch of the sequence that every key ends in. The others come
    to it somewhere, and have to go along it to its end.
    """
    mask = size - 1
    order = [0] * size
    at = 0
    for index in range(size):
        order[at] = index
        at = (at * 5 + 1) & mask
    places = sorted(range(size), key=order.__getitem__)
    stretch = amount // 2
    found = dict.fromkeys(places[:stretch])
    entering = _entering(order, mask, stretch, Random(5))
    while len(found) < amount:
        found[next(entering)] = None
    return list(found)


def _entering(order: list[int], mask: int, taken: int, random: Random) -> Iterator[int]:
    """Numbers that find only taken places, and come early to the taken stretch."""
    while True:
        number = random.randrange(mask, mask << 10)
        perturb, at = number, number & mask
        while order[at] < taken and perturb:
            perturb >>= 5
            at = (at * 5 + perturb + 1) & mask
        if not perturb and order[at] < taken // 2:
            yield number
