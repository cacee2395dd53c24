"""Whether figures of a long run go on growing: slopes that outliers do not move."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from itertools import combinations
from typing import Final

import attrs

__all__ = ["FEWEST", "Bound", "Slope", "goes_on_growing", "slope_of"]

FEWEST: Final = 18
"""Fewer figures than these show no trend: their slopes are the noise's."""

_BESIDE: Final = 3
"""So many figures before a step, and after it, show how high it is."""

_SURE: Final = 2.326
"""Standard deviations that 99 of 100 figures of noise do not exceed."""


@attrs.frozen
class Slope:
    """How fast figures grow.

    Attributes:
        middle: the median of the slopes of all pairs (Theil and Sen), for each unit of
            time.
        least: so much it is at least, with a certainty of 99 %, if the figures vary
            independently of each other around a line.
    """

    middle: float
    least: float


@attrs.frozen
class Bound:
    """What may grow how fast.

    Attributes:
        rate: for each unit of time.
        at_all: growth over all of the run that is never taken for a trend.
    """

    rate: float
    at_all: float


def slope_of(times: Sequence[float], figures: Sequence[float]) -> Slope:
    """Return the slope of figures, each with its time.

    Its lower limit is the one of Sen: as many slopes are below it as the ranks of
    independent figures would put there by chance.
    """
    points = list(zip(times, figures, strict=True))
    slopes = sorted(
        (y2 - y1) / (x2 - x1) for (x1, y1), (x2, y2) in combinations(points, 2)
    )
    count = len(points)
    deviation = math.sqrt(count * (count - 1) * (2 * count + 5) / 18)
    below = int((len(slopes) - _SURE * deviation) / 2)
    return Slope(statistics.median(slopes), slopes[max(0, below)])


def goes_on_growing(
    times: Sequence[float], figures: Sequence[float], bound: Bound
) -> bool:
    """Return True if figures grow beyond a bound, and still do so in the second half.

    A cache that is filled once, or memory that was needed once, makes a step: the
    highest of them is left out, both of the whole and of the half. Fewer figures than
    `FEWEST` are never said to grow.
    """
    half = len(figures) // 2
    return (
        len(figures) >= FEWEST
        and _grows(times, figures, bound.rate, bound.at_all)
        and _grows(times[half:], figures[half:], bound.rate, bound.at_all / 2)
    )


def _grows(
    times: Sequence[float], figures: Sequence[float], rate: float, at_all: float
) -> bool:
    slope = slope_of(times, _without_a_step(figures))
    growth = slope.middle * (times[-1] - times[0])
    return slope.least > 0 and slope.middle > rate and growth > at_all


def _without_a_step(figures: Sequence[float]) -> list[float]:
    """Return figures without their highest step, which medians on both sides show."""
    steps = {
        at: statistics.median(figures[at : at + _BESIDE])
        - statistics.median(figures[at - _BESIDE : at])
        for at in range(_BESIDE, len(figures) - _BESIDE + 1)
    }
    highest = max(steps, key=lambda at: steps[at])
    return [*figures[:highest], *(each - steps[highest] for each in figures[highest:])]
