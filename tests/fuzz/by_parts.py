"""Changes of inputs that have parts: whole messages are repeated, moved and swapped."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable

from .parts import joined_parts, parts_of

__all__ = ["changed", "vocabulary"]

_MOST_PARTS = 60


def vocabulary(inputs: Iterable[bytes], start: int) -> list[bytes]:
    """Return the parts that occur in some inputs."""
    return sorted({part for data in inputs for part in parts_of(data[start:])})


def changed(
    data: bytes,
    start: int,
    words: list[bytes],
    chance: random.Random,
    change: Callable[[bytes], bytes],
) -> bytes:
    """Return an input with a few changes.

    Args:
        data: the input.
        start: position at which its parts begin.
        words: parts to insert.
        chance: decides on the changes.
        change: changes some bytes, of a part or of what is before the parts.
    """
    head, parts = data[:start], parts_of(data[start:])
    if start and chance.random() < 0.1:
        head = change(head)[:start].ljust(start, b"\0")
    for _ in range(1 << chance.randrange(4)):
        at = chance.randrange(len(parts) + 1)
        inside = at < len(parts)
        match chance.randrange(7):
            case 0:
                parts.insert(at, chance.choice(words))
            case 1 if inside:
                parts.insert(chance.randrange(len(parts) + 1), parts[at])
            case 2 if inside:
                parts.insert(chance.randrange(len(parts)), parts.pop(at))
            case 3 if inside:
                del parts[at]
            case 4 if inside:
                parts[at] = change(parts[at])
            case 5 | 6 if inside and parts[at]:
                parts[at] = _with_another_number(parts[at], chance)
    return head + joined_parts(parts[:_MOST_PARTS])


def _with_another_number(part: bytes, chance: random.Random) -> bytes:
    """Return a message with another small number near its start: mostly an id."""
    at = chance.randrange(min(len(part), 4))
    return part[:at] + bytes((chance.randrange(20),)) + part[at + 1 :]
