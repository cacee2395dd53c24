"""What is said of made figures: they stay as they are, or go on growing."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest

from benchmarks.soak.trend import FEWEST, Bound, goes_on_growing, slope_of

MINUTES = 45
BOUND = Bound(rate=10.0, at_all=5.0)
"""Of figures of each minute: at most 10 an hour, and 5 in all are never too many."""

HOURS = [minute / 60 for minute in range(MINUTES)]


def series(at: Callable[[int], float], noise: float = 0.0) -> list[float]:
    chance = random.Random(7)
    return [at(minute) + chance.gauss(0.0, noise) for minute in range(MINUTES)]


def grows(figures: list[float], bound: Bound = BOUND) -> bool:
    return goes_on_growing(HOURS[: len(figures)], figures, bound)


@pytest.mark.parametrize("noise", [0.0, 1.0, 20.0])
def test_flat_figures_do_not_grow(noise: float) -> None:
    assert not grows(series(lambda minute: 1000.0, noise))


def test_noise_of_many_kinds_is_hardly_ever_taken_for_growth() -> None:
    chance = random.Random(1)
    found = sum(
        grows([chance.gauss(1000.0, 50.0) for _ in HOURS], Bound(0.0, 0.0))
        for _ in range(300)
    )
    assert found <= 6


@pytest.mark.parametrize("minute", range(1, MINUTES))
@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_a_step_is_no_trend(minute: int, noise: float) -> None:
    figures = series(lambda now: 1000.0 + 500.0 * (now >= minute), noise)
    assert not grows(figures)


def test_one_outlier_is_no_trend() -> None:
    figures = series(lambda minute: 1e6 * (minute == MINUTES - 1), noise=1.0)
    assert not grows(figures)


@pytest.mark.parametrize("noise", [0.0, 1.0, 2.0])
def test_a_slow_leak_grows(noise: float) -> None:
    # In a minute it is less than the noise.
    assert grows(series(lambda minute: minute * 40 / 60, noise))


def test_a_leak_below_the_bound_is_allowed() -> None:
    assert not grows(series(lambda minute: minute * 9.9 / 60))


def test_a_fast_leak_of_little_in_all_is_allowed() -> None:
    figures = [0.05 * minute for minute in range(FEWEST)]  # 0.85 in all
    assert slope_of(HOURS[: len(figures)], figures).middle == pytest.approx(3.0)
    assert not grows(figures, Bound(rate=1.0, at_all=1.0))
    assert grows(figures, Bound(rate=1.0, at_all=0.5))


def test_a_staircase_grows() -> None:
    assert grows(series(lambda minute: 10.0 * (minute // 5)))


def test_a_leak_that_begins_later_grows() -> None:
    assert grows(series(lambda minute: max(0.0, 5.0 * (minute - 12)), noise=1.0))


def test_what_fills_and_is_full_does_not_grow() -> None:
    full = series(lambda minute: 1000 * (1 - math.exp(-minute / 3)), noise=1.0)
    assert not grows(full)


@pytest.mark.parametrize("period", [3, 5, 8, 11])
@pytest.mark.parametrize("start", range(0, 8, 3))
def test_a_sawtooth_does_not_grow(period: int, start: int) -> None:
    figures = series(lambda minute: 20.0 * ((minute + start) % period), noise=0.5)
    assert not grows(figures)


def test_a_rising_sawtooth_grows() -> None:
    assert grows(series(lambda minute: 20.0 * (minute % 5) + 8.0 * minute))


def test_falling_figures_do_not_grow() -> None:
    assert not grows(series(lambda minute: -20.0 * minute))


def test_few_figures_show_no_trend() -> None:
    assert not grows([100.0 * minute for minute in range(FEWEST - 1)])
    assert grows([100.0 * minute for minute in range(FEWEST)])


def test_the_slope_is_that_of_the_line_under_outliers() -> None:
    figures = series(lambda minute: 3.0 * minute)
    figures[5] = figures[40] = 1e9
    slope = slope_of(HOURS, figures)
    assert slope.middle == pytest.approx(180.0)
    assert slope.least == pytest.approx(180.0)
