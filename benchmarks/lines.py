"""The plot of growth: a panel with curves for each scale, on logarithmic axes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import attrs

from .figures import is_ours
from .svg import DARK, FAINT, MUTED, OURS, Drawing, grid

__all__ = ["Chart", "Curve", "draw_lines"]

_WIDTH = 440.0
_HEIGHT = 290.0
_LEFT = 56.0
_RIGHT = 70.0
_TOP = 48.0
_BOTTOM = 26.0
_LABEL = 13.0
_OTHER = "#8a96a3"


@attrs.frozen(order=True)
class Curve:
    """One implementation: its points, by x."""

    name: str
    points: Sequence[tuple[float, float]]


@attrs.frozen
class Chart:
    """One panel."""

    title: str
    subtitle: str
    curves: Sequence[Curve]


def draw_lines(title: str, subtitle: str, charts: Sequence[Chart]) -> str:
    """The plot, as an SVG file."""
    return grid(title, subtitle, [_draw(chart) for chart in charts], columns=2).to_svg()


def _draw(chart: Chart) -> Drawing:
    drawing = Drawing(_WIDTH, _HEIGHT)
    drawing.text(0, 14, chart.title, size=14, bold=True)
    drawing.text(0, 31, chart.subtitle, size=11, fill=MUTED)
    points = [point for curve in chart.curves for point in curve.points]
    across = _Axis([x for x, _ in points], _LEFT, _WIDTH - _RIGHT)
    up = _Axis([y for _, y in points], _HEIGHT - _BOTTOM, _TOP)
    for tick in up.ticks:
        y = up.place(tick)
        drawing.line(_LEFT, y, _WIDTH - _RIGHT, y, FAINT)
        drawing.text(_LEFT - 8, y + 4, _short(tick), size=11, fill=MUTED, anchor="end")
    for tick in across.ticks:
        x = across.place(tick)
        drawing.line(x, _HEIGHT - _BOTTOM, x, _HEIGHT - _BOTTOM + 4, MUTED)
        drawing.text(x, _HEIGHT - 8, _short(tick), size=11, fill=MUTED, anchor="middle")
    for curve in chart.curves:
        color = OURS if is_ours(curve.name) else _OTHER
        places = [(across.place(x), up.place(y)) for x, y in curve.points]
        drawing.path(places, color)
    ends = sorted((up.place(curve.points[-1][1]), curve) for curve in chart.curves)
    lowest = 0.0
    for end, curve in ends:
        y = max(end, lowest + _LABEL)  # names that would lie upon each other
        lowest = y
        x = across.place(curve.points[-1][0]) + 8
        ours = is_ours(curve.name)
        drawing.text(x, y + 4, curve.name, fill=DARK, size=11, bold=ours)
    return drawing


class _Axis:
    """Where values are, between two places, by their logarithm; from a power of ten to
    another."""

    def __init__(self, values: Sequence[float], start: float, end: float) -> None:
        self._low = math.floor(math.log10(min(values)) + 1e-9)
        self._high = max(self._low + 1, math.ceil(math.log10(max(values)) - 1e-9))
        self._start = start
        self._end = end

    @property
    def ticks(self) -> list[float]:
        """Powers of ten, ten of them at most."""
        step = 1 + (self._high - self._low) // 10
        return [10.0**n for n in range(self._low, self._high + 1, step)]

    def place(self, value: float) -> float:
        part = (math.log10(value) - self._low) / (self._high - self._low)
        return self._start + part * (self._end - self._start)


def _short(value: float) -> str:
    for unit, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= unit:
            return f"{value / unit:g}{name}"
    return f"{value:g}"
