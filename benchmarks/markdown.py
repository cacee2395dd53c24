"""The results as Markdown: an overview for the README, and all the figures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .adapters import FLOOR, ROAM
from .figures import Figure, figures_of, is_ours, verdicts_on
from .results import Results, Summary
from .works import HELD, NOT_PINNED, PINNED, SPEEDS, WORKS

__all__ = ["details", "limits", "machine_line", "overview", "table", "targets"]

_COLUMNS = [
    ("call", PINNED, "call"),
    ("call", NOT_PINNED, "call, not pinned"),
    ("in-flight", PINNED, "64 in flight"),
    ("items", PINNED, "items there"),
    ("items-back", PINNED, "items back"),
    ("items-both", PINNED, "items both ways"),
    ("echo", PINNED, "1 MiB echo"),
    ("records", PINNED, "1,000 records"),
    ("connect", PINNED, "connect"),
    ("idle-sessions", NOT_PINNED, "KB a session"),
]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; all but the first column are aligned to the right."""
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def overview(results: Results) -> str:
    """A row for each implementation, with its ratio to the floor in each work."""
    figures = {(f.work, f.placement, f.adapter): f for f in figures_of(results)}
    columns = [
        column for column in _COLUMNS if any(key[:2] == column[:2] for key in figures)
    ]
    rows: list[list[str]] = []
    for adapter in results.contestants:
        cells = [
            _cell(figures.get((work, placement, adapter)))
            for work, placement, _ in columns
        ]
        if adapter == FLOOR:
            adapter = "the floor"
        elif is_ours(adapter):
            adapter = f"**{adapter}**"
            cells = [cell if cell == "-" else f"**{cell}**" for cell in cells]
        rows.append([adapter, *cells])
    return table(["", *(title for _, _, title in columns)], rows)


def limits(results: Results) -> str:
    """A row for each work of roam_trio, beside the floor and beside raw trio."""
    rows = [
        [
            figure.work if figure.placement == PINNED else f"{figure.work}, not pinned",
            _short(figure.ratio),
            _short(figure.of_raw_trio),
        ]
        for figure in figures_of(results)
        if figure.adapter == ROAM and figure.held is None and figure.ratio is not None
    ]
    return table(["roam_trio", "of the floor", "of raw trio"], rows)


def _cell(figure: Figure | None) -> str:
    if figure is None:
        return "-"
    if figure.held is not None:
        return f"{figure.held.median / 1000:.1f}"
    return _short(figure.ratio)


def _short(ratio: Summary | None) -> str:
    return "-" if ratio is None else _part(ratio.median)


def _part(ratio: float) -> str:
    return f"{ratio:.2f}" if ratio >= 0.1 else f"{ratio:.3f}"


def targets(results: Results) -> str:
    """What roam_trio is to reach, and what it reaches."""
    rows = [
        [one.what, one.target, one.reached, "met" if one.is_met else "short"]
        for one in verdicts_on(figures_of(results))
    ]
    return table(["work", "target", "reached", ""], rows)


def machine_line(results: Results) -> str:
    """On what it was measured, in a sentence."""
    machine = results.machine
    versions = [
        f"{package} {version}"
        for contestant in results.contestants.values()
        for package, version in contestant.versions.items()
    ]
    return (
        f"Measured on {machine['processor']}, {machine['system']}, "
        f"{machine['python']}, {results.effort}; "
        f"{', '.join(dict.fromkeys(versions))}."
    )


def details(results: Results) -> str:
    """The whole file of tables."""
    return "\n\n".join(_sections(results)) + "\n"


def _sections(results: Results) -> Iterator[str]:
    yield "# Results"
    yield "Written by `python -m benchmarks --write`; do not edit."
    yield machine_line(results)
    yield "Throughput as a part of the floor's, with both processes on one CPU:"
    yield overview(results)
    yield "![A panel with bars for each work](ratios.svg)"
    yield "## Limits"
    yield limits(results)
    yield "## Targets"
    yield targets(results)
    yield "## All figures"
    yield (
        "Steps per second are medians of the rounds, ± half the way from the lowest to "
        "the highest. The ratios are to the floor and to raw trio in the same round: "
        "median, lowest and highest. CPU is processor time for one step in each "
        "process, p50 and p99 what half and 99 of 100 steps take at most; all of these "
        "in microseconds."
    )
    figures = figures_of(results)
    for work in SPEEDS:
        for placement in (PINNED, NOT_PINNED):
            rows = [
                f for f in figures if (f.work, f.placement) == (work.name, placement)
            ]
            if rows:
                yield f"### {work.name}, {placement}"
                yield f"{_sentence(work.about)} A step is one of the {work.unit}."
                yield _speeds(rows)
                yield from _beside(rows)
    for work in HELD:
        rows = [f for f in figures if f.work == work.name]
        if rows:
            yield f"### {work.name}"
            yield _sentence(work.about)
            yield _holdings(rows)
    yield "## Remarks"
    yield "\n".join(_remarks(results)) or "None."


def _speeds(figures: Sequence[Figure]) -> str:
    timed = any(figure.p50 is not None for figure in figures)
    head = ["", "per second", "of the floor", "of raw trio"]
    head += ["client CPU", "server CPU"]
    rows = [
        [
            figure.adapter,
            f"{figure.rate.median:,.0f} ±{figure.rate.spread / 2:.0%}",
            _range(figure.ratio),
            _range(figure.of_raw_trio),
            _micros(figure.client_cpu),
            _micros(figure.server_cpu),
            *([_micros(figure.p50), _micros(figure.p99)] if timed else []),
        ]
        for figure in figures
    ]
    return table(head + (["p50", "p99"] if timed else []), rows)


def _beside(figures: Sequence[Figure]) -> Iterator[str]:
    for figure in figures:
        for other, ratio in figure.beside.items():
            yield (
                f"Processor time on both sides, as a ratio to {other}: {_range(ratio)}."
            )


def _holdings(figures: Sequence[Figure]) -> str:
    rows = [
        [
            figure.adapter,
            f"{figure.held.median / 1000:,.1f}",
            f"{figure.held.lowest / 1000:,.1f} to {figure.held.highest / 1000:,.1f}",
            f"{figure.rate.median:,.0f}",
        ]
        for figure in figures
        if figure.held is not None
    ]
    return table(["", "KB each", "lowest and highest", "opened per second"], rows)


def _remarks(results: Results) -> Iterator[str]:
    for name, contestant in results.contestants.items():
        for work, remark in contestant.remarks.items():
            yield f"- {name}, {work}: {remark}."
        for reason in dict.fromkeys(contestant.lacks.values()):
            works = [work for work, why in contestant.lacks.items() if why == reason]
            yield f"- {name}, {', '.join(works)}: {reason}."
    for name, reason in results.missing.items():
        yield f"- {name}: {reason}."
    if results.contestants:
        names = [w.name for w in WORKS if not w.peers and not w.beside]
        added = [work.name for work in WORKS if work.beside]
        yield (
            f"- {', '.join(names)}: of the floor, raw trio and roam_trio only; of the "
            "others the works without these endings say it all."
        )
        yield f"- {', '.join(added)}: of roam_trio only, beside its other calls."


def _range(ratio: Summary | None) -> str:
    if ratio is None:
        return "-"
    return f"{_part(ratio.median)} ({_part(ratio.lowest)} to {_part(ratio.highest)})"


def _micros(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1e6:,.1f}"


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."
