"""The command line of a soak, and what it prints."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from typing import Final

import trio

from .gauges import GAUGES, Gauges
from .run import Course, Look, Stuck, soak
from .verdict import can_show_trends, faults, slopes

__all__ = ["main", "show", "summary"]

_MIB: Final = 1 << 20
_IN_MIB: Final = ("resident", "peak")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print a line for each side at each look, and a summary in the end.

    Args:
        arguments: of the command line; those of this process if None.

    Returns:
        The exit code: 0 if everything stays as it is, 1 if not.
    """
    options = _parser().parse_args(arguments)
    print(_head(), flush=True)
    course: Course | None = None
    wrong: list[str] = []
    try:
        course = trio.run(soak, 60 * options.minutes, options.every, _print_look)
    except* Stuck as group:
        wrong = [str(error) for error in _leaves(group)]
    if course is None:
        print(f"soak: FAILED: {'; '.join(wrong)}", flush=True)
        return 1
    wrong = faults(course)
    for fault in wrong:
        print(f"soak: {fault}")
    print(summary(course, wrong), flush=True)
    return 1 if wrong else 0


def _leaves(group: BaseExceptionGroup[Exception]) -> Iterator[BaseException]:
    """Return the exceptions of a group and of the groups in it."""
    for each in group.exceptions:
        if isinstance(each, BaseExceptionGroup):
            yield from _leaves(each)
        else:
            yield each


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.soak",
        description="Whether a server and a client stay as they are under cuts, "
        "cancels, reconnects and floods.",
    )
    parser.add_argument(
        "--minutes", type=_positive, default=60.0, metavar="M", help="default 60"
    )
    parser.add_argument(
        "--every",
        type=_positive,
        default=60.0,
        metavar="SECONDS",
        help="the interval of looks, default 60",
    )
    return parser


def _positive(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError("expected a number above 0")
    return number


def _head() -> str:
    return f"{'minute':>7}  {'side':6}" + "".join(f"{name:>10}" for name in GAUGES)


def show(look: Look) -> str:
    """Return the lines of one look: a side each, and what was done so far."""
    minute = f"{look.seconds / 60:7.2f}"
    done = ", ".join(f"{count:,} {name}" for name, count in sorted(look.done.items()))
    return (
        f"{minute}  {_row('server', look.server)}\n"
        f"{minute}  {_row('client', look.client)}\n"
        f"{minute}  done: {done}"
    )


def _row(side: str, gauges: Gauges) -> str:
    return f"{side:6}" + "".join(_figure(name, gauges) for name in GAUGES)


def _figure(name: str, gauges: Gauges) -> str:
    value: int = getattr(gauges, name)
    return f"{value / _MIB:>6.1f} MiB" if name in _IN_MIB else f"{value:>10,}"


def _print_look(look: Look) -> None:
    print(show(look), flush=True)


def summary(course: Course, wrong: Sequence[str]) -> str:
    """Return the last line: how it went, and how fast everything grows."""
    looks = course.looks
    if wrong:
        said = "FAILED"
    elif can_show_trends(looks):
        said = "flat"
    else:
        said = "all is well, but too few looks to see a trend"
    growth = "; ".join(
        f"{side} " + ", ".join(_growth(looks, side, name) for name in GAUGES)
        for side in ("server", "client")
    )
    return f"soak: {looks[-1].seconds / 60:.1f} minutes: {said}; an hour: {growth}"


def _growth(looks: Sequence[Look], side: str, name: str) -> str:
    slope = slopes(looks, side, name)
    if name in _IN_MIB:
        return f"{name} {slope / _MIB:+.2f} MiB"
    return f"{name} {slope:+,.0f}"
