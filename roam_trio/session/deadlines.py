"""Deadlines on the wire: a call says how much time is left for it.

The clocks of two machines need not agree, because each side counts from the moment at
which it sent or received the call. Each hop writes its own entry.
"""

from __future__ import annotations

from functools import lru_cache
from math import ceil, inf
from typing import Final

from ..metadata import REQUEST_DEADLINE, Metadata, MetadataEntry, MetadataFlags

__all__ = ["deadline_of", "with_deadline"]

_KEY: Final = REQUEST_DEADLINE
_NO_PROPAGATE: Final = MetadataFlags.NO_PROPAGATE.value
_MOST: Final = 2**64 - 1

_ADDED: Final = 1.0005e-6
"""The time that `deadline_of` adds, in seconds, and a little more for the rounding of
floats: it must not add a millisecond at each hop."""

_EXACT: Final = 0.1
"""Number of seconds up to which the time left is told in microseconds. A longer time is
told in milliseconds, rounded up."""


def with_deadline(metadata: Metadata, deadline: float, now: float) -> Metadata:
    """Return the metadata of a call that has to end at `deadline`.

    Args:
        metadata: the metadata of the call; an entry of the same key is replaced.
        deadline: a time.
        now: the time at which the call is sent.
    """
    left = deadline - now
    if left > _EXACT:
        milliseconds = ceil((left - _ADDED) * 1000)
        told = _told(milliseconds * 1000 if milliseconds < _MOST // 1000 else _MOST)
    else:
        told = _told(ceil(left * 1_000_000) if left > 0 else 0)
    if not metadata:
        return told
    return Metadata((*(each for each in metadata if each.key != _KEY), *told))


@lru_cache(maxsize=64)
def _told(microseconds: int) -> Metadata:
    """Return the metadata that says how much time is left; cached, as calls in a row
    have the same in milliseconds.
    """
    return Metadata((MetadataEntry(_KEY, microseconds, _NO_PROPAGATE),))


def deadline_of(metadata: Metadata, now: float, longest: float) -> float:
    """Return the time at which a call has to end; infinite without a deadline.

    Args:
        metadata: the metadata of the call. A value that is not a number is ignored,
            because a peer can send anything.
        now: the time at which the call has arrived.
        longest: `Limits.longest_call`.
    """
    for entry in metadata:
        if entry.key == _KEY:
            left = entry.value
            if type(left) is not int:
                break
            # One microsecond more, so that rounding does not cancel the handler before
            # the caller, on one machine.
            seconds = (left + 1) / 1_000_000
            return now + (seconds if seconds < longest else longest)
    return inf if longest == inf else now + longest
