"""What is wrong with a run: what grows, what does nothing, and what was left."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from .gauges import Gauges
from .run import Course, Look
from .trend import FEWEST, Bound, goes_on_growing, slope_of

__all__ = ["BOUNDS", "WARM_UP", "WORK", "can_show_trends", "faults", "slopes", "warm"]

WARM_UP: Final = 0.25
"""The part of a run that does not count for trends: tables fill until their bounds."""

_HOUR: Final = 3600.0
_MIB: Final = 1 << 20

BOUNDS: Final = {
    "resident": Bound(6 * _MIB, 2 * _MIB),
    "peak": Bound(24 * _MIB, 8 * _MIB),
    "blocks": Bound(15_000, 5000),
    "objects": Bound(5000, 1500),
    "tasks": Bound(4, 2),
    "files": Bound(4, 2),
    "threads": Bound(1, 1),
}
"""How much each gauge may grow in an hour, and in all of a run.

An hour is hundreds of thousands of calls, and thousands of sessions and connections:
what one of those kinds leaves behind each time is far above these. Memory has room for
what the allocator moves.
"""

_MOST_KINDS: Final = 5

WORK: Final = (
    "blocks",
    "calls",
    "calls back",
    "cancels",
    "cuts",
    "failures",
    "floods",
    "hostile messages",
    "items",
    "links",
    "losses",
    "opens",
    "strangers",
    "visits",
)
"""What is done in every part of a run that is long enough."""


def warm(looks: Sequence[Look]) -> Sequence[Look]:
    """Return the looks that count for trends."""
    return looks[int(len(looks) * WARM_UP) :]


def can_show_trends(looks: Sequence[Look]) -> bool:
    """Return True if a run is long enough for trends."""
    return len(warm(looks)) >= FEWEST


def faults(course: Course) -> list[str]:
    """Return what is wrong with a run, in words; nothing if all is well."""
    return [*_growing(course.looks), *_idle(course.looks), *_left(course)]


def slopes(looks: Sequence[Look], side: str, name: str) -> float:
    """Return how much a gauge of a side grows in an hour, by all counted looks."""
    hours, figures = _series(warm(looks), side, name)
    return slope_of(hours, figures).middle if len(hours) > 1 else 0.0


def _growing(looks: Sequence[Look]) -> Iterator[str]:
    counted = warm(looks)
    for side in ("server", "client"):
        for name, bound in BOUNDS.items():
            hours, figures = _series(counted, side, name)
            if goes_on_growing(hours, figures, bound):
                slope = slope_of(hours, figures).middle
                kinds = _grown_kinds(counted, side) if name != "threads" else ""
                yield (
                    f"{name} of the {side} grow by {slope:,.0f} an hour, at most "
                    f"{bound.rate:,.0f} are allowed{kinds}"
                )


def _series(
    looks: Sequence[Look], side: str, name: str
) -> tuple[list[float], list[float]]:
    gauges: list[Gauges] = [getattr(look, side) for look in looks]
    return (
        [look.seconds / _HOUR for look in looks],
        [float(getattr(each, name)) for each in gauges],
    )


def _grown_kinds(looks: Sequence[Look], side: str) -> str:
    """The types of which there are many more in the end, in words."""
    first: Gauges = getattr(looks[0], side)
    last: Gauges = getattr(looks[-1], side)
    grown = {
        name: count - first.kinds.get(name, 0) for name, count in last.kinds.items()
    }
    most = sorted(grown, key=lambda name: -grown[name])[:_MOST_KINDS]
    said = ", ".join(f"{grown[name]:+,} {name}" for name in most if grown[name] > 0)
    return f"; {said}" if said else ""


def _idle(looks: Sequence[Look]) -> Iterator[str]:
    """What was not done at all, or not any more."""
    half, end = looks[(len(looks) - 1) // 2], looks[-1]
    for name in WORK:
        if name not in end.done:
            yield f"no {name} in all of the run"
        elif can_show_trends(looks) and end.done[name] == half.done.get(name, 0):
            yield f"no {name} in the second half of the run"


def _left(course: Course) -> Iterator[str]:
    for name in ("tasks", "files", "threads"):
        before, after = getattr(course.before, name), getattr(course.after, name)
        if after > before:
            yield (
                f"{name} of the server when everybody has left: {after}, and {before} "
                f"before anybody had come"
            )
