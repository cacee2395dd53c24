"""The plot of a run: a panel with bars for each work, the implementations in turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs

from .adapters import FLOOR, ROAM
from .figures import Figure, is_ours
from .svg import DARK, FAINT, MUTED, OURS, THEIRS, Drawing, grid
from .works import HELD, NOT_PINNED, PINNED, SPEEDS, Work, find_work

__all__ = ["draw_bars"]

_WIDTH = 330.0
_NAMES = 132.0
_VALUES = 52.0
_BAR = 13.0
_STEP = 19.0
_TOP = 46.0

_TITLES = {
    "call": "Calls, one at a time",
    "in-flight": "Calls, 64 in flight",
    "items": "Small items to the server",
    "items-back": "Small items to the client",
    "items-both": "Small items both ways at once",
    "echo": "Echo of 1 MiB",
    "records": "1,000 records there and back",
    "connect": "Connect and call once",
    "idle-sessions": "Memory of an idle session",
    "idle-connections": "Memory of a virtual connection",
}


@attrs.frozen
class _Bar:
    name: str
    value: float


@attrs.frozen
class _Panel:
    """What a panel shows.

    Attributes:
        title: what was done.
        subtitle: what the values mean.
        bars: from the best.
        mark: where the target is; None for none.
        form: how a value is written.
    """

    title: str
    subtitle: str
    bars: Sequence[_Bar]
    mark: float | None
    form: Callable[[float], str]


def draw_bars(figures: Sequence[Figure]) -> str:
    """The plot, as an SVG file."""
    wanted = [(work, PINNED) for work in SPEEDS if work.name in _TITLES]
    wanted.insert(1, (find_work("call"), NOT_PINNED))
    panels = [_ratios(figures, work, placement) for work, placement in wanted]
    panels += [_memory(figures, work) for work in HELD]
    drawn = [_draw(panel) for panel in panels if panel.bars]
    return grid(
        "roam_trio beside other RPC libraries for Python",
        "Throughput as a part of that of a hand-written trio program (the floor = 1) "
        "that does the same work in the same run; the black mark is roam_trio's target",
        drawn,
        columns=3,
    ).to_svg()


def _ratios(figures: Sequence[Figure], work: Work, placement: str) -> _Panel:
    bars = [
        _Bar(figure.adapter, figure.ratio.median)
        for figure in figures
        if (figure.work, figure.placement) == (work.name, placement)
        and figure.ratio is not None
        and figure.adapter != FLOOR
    ]
    where = "one CPU for both processes" if placement == PINNED else placement
    return _Panel(
        _TITLES[work.name],
        f"of the floor; {where}",
        sorted(bars, key=lambda bar: -bar.value),
        work.target_at(placement),
        lambda value: f"{value:.2f}" if value >= 0.1 else f"{value:.3f}",
    )


def _memory(figures: Sequence[Figure], work: Work) -> _Panel:
    bars = [
        _Bar(figure.adapter, figure.held.median / 1000)
        for figure in figures
        if figure.work == work.name and figure.held is not None
    ]
    return _Panel(
        _TITLES[work.name],
        "KB of the server's, less is better",
        sorted(bars, key=lambda bar: bar.value),
        None if work.most_held is None else work.most_held / 1000,
        lambda value: f"{value:.1f}",
    )


def _draw(panel: _Panel) -> Drawing:
    height = _TOP + _STEP * len(panel.bars)
    drawing = Drawing(_WIDTH, height)
    drawing.text(0, 14, panel.title, size=14, bold=True)
    drawing.text(0, 31, panel.subtitle, size=11, fill=MUTED)
    most = max([bar.value for bar in panel.bars] + [panel.mark or 0.0])
    room = _WIDTH - _NAMES - _VALUES
    for place, bar in enumerate(panel.bars):
        y = _TOP + place * _STEP
        ours = is_ours(bar.name)
        length = max(1.0, room * bar.value / most)
        drawing.text(
            _NAMES - 8,
            y + 10.5,
            bar.name,
            fill=DARK if ours else MUTED,
            anchor="end",
            bold=bar.name == ROAM,
        )
        drawing.rectangle(_NAMES, y, room, _BAR, FAINT)
        drawing.rectangle(_NAMES, y, length, _BAR, OURS if ours else THEIRS)
        drawing.text(
            _WIDTH,
            y + 10.5,
            panel.form(bar.value),
            anchor="end",
            fill=DARK if ours else MUTED,
            bold=bar.name == ROAM,
        )
        if panel.mark is not None and ours:
            x = _NAMES + room * panel.mark / most
            drawing.line(x, y - 2.5, x, y + _BAR + 2.5, DARK, 2)
    return drawing
