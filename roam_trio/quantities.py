"""Checks of numeric options; the error names the option."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

__all__ = ["check_count", "check_rate", "check_seconds"]


def check_count(name: str, value: Any, *, most: int | None = None) -> None:
    """Check a bound on a count.

    Raises:
        ValueError: `value` is not a whole number from 1 to `most`.
        TypeError: `value` is not a number.
    """
    up_to = "" if most is None else f" to {most}"
    expected = f"{name}: expected a whole number from 1{up_to}, got {value!r}"
    _check_number(value, expected)
    if not isinstance(value, int) or value < 1 or (most is not None and value > most):
        raise ValueError(expected)


def check_seconds(name: str, value: Any, *, may_be_zero: bool = False) -> None:
    """Check a duration in seconds.

    Raises:
        ValueError: `value` is infinite, negative, or zero where zero is not allowed.
        TypeError: `value` is not a number.
    """
    least = "from 0" if may_be_zero else "above 0"
    expected = f"{name}: expected a finite number of seconds {least}, got {value!r}"
    _check_number(value, expected)
    if not 0 <= value < math.inf or (value == 0 and not may_be_zero):
        raise ValueError(expected)


def check_rate(name: str, value: Any) -> None:
    """Check a rate per second.

    Raises:
        ValueError: `value` is infinite, negative or zero.
        TypeError: `value` is not a number.
    """
    expected = f"{name}: expected a finite number per second above 0, got {value!r}"
    _check_number(value, expected)
    if not 0 < value < math.inf:
        raise ValueError(expected)


def _check_number(value: Any, expected: str) -> None:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(expected)
