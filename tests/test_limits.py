"""Limits are positive, and an error names the one that is not."""

from __future__ import annotations

import math
from typing import Any

import attrs
import pytest

from roam_trio.limits import DEFAULT_LIMITS, Limits

NAMES = [field.name for field in attrs.fields(Limits)]

MAY_BE_INFINITE = {"idle_seconds", "longest_call", "payload_seconds", "warn_after"}
"""Times after which nothing is given up unless they are set, or at all."""


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf])
def test_a_limit_that_bounds_nothing_is_refused_by_name(
    name: str, value: float
) -> None:
    if name in MAY_BE_INFINITE and value == math.inf:
        attrs.evolve(DEFAULT_LIMITS, **{name: value})
        return
    with pytest.raises(ValueError, match=rf"Limits\.{name}: expected a "):
        attrs.evolve(DEFAULT_LIMITS, **{name: value})


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", ["3", None, True, [1]])
def test_a_limit_that_is_no_number_is_refused_by_name(name: str, value: Any) -> None:
    expected = rf"^Limits\.{name}: expected a .*, got "
    with pytest.raises(TypeError, match=expected) as caught:
        attrs.evolve(DEFAULT_LIMITS, **{name: value})
    assert str(caught.value).endswith(repr(value))


def test_a_payload_has_to_fit_its_length_prefix() -> None:
    assert Limits(max_payload=2**32 - 1).max_payload == 2**32 - 1
    with pytest.raises(
        ValueError,
        match=r"Limits\.max_payload: .* from 1 to 4294967295, got 4294967296",
    ):
        Limits(max_payload=2**32)


@pytest.mark.parametrize("name", NAMES)
def test_each_limit_can_be_set_alone(name: str) -> None:
    limits = attrs.evolve(DEFAULT_LIMITS, **{name: 7})
    assert getattr(limits, name) == 7
    assert attrs.evolve(limits, **{name: getattr(DEFAULT_LIMITS, name)}) == Limits()


@pytest.mark.parametrize("name", NAMES)
def test_every_default_is_finite(name: str) -> None:
    default = getattr(DEFAULT_LIMITS, name)
    assert 0 < default < math.inf or name in {"idle_seconds", "longest_call"}


def test_limits_cannot_change_under_a_session() -> None:
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        DEFAULT_LIMITS.channels = 1  # type: ignore[misc]
