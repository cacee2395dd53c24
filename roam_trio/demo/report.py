"""The report: a table of the measurements."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

from rich.table import Table

from .results import Results

__all__ = ["report"]


def report(results: Results) -> Table:
    """Return a table of the measurements."""
    table = Table(title="roam_trio demo", title_justify="left")
    table.add_column("what")
    table.add_column("measured", overflow="fold")
    for what, measured in _rows(results):
        table.add_row(what, measured)
    return table


def _rows(results: Results) -> Iterator[tuple[str, str]]:
    streamed, called = results.streamed, results.called
    together, tallies = results.called_at_once, results.tallies
    failed, cancelled = results.failed, results.cancelled
    yield "server process", f"ready after {results.start_seconds:.2f} s"
    yield (
        "texts",
        f"{streamed.lines:,} lines, {streamed.words:,} words "
        f"in {streamed.seconds:.2f} s; all counts right",
    )
    yield (
        "items",
        f"{streamed.sent:,} sent, {streamed.received:,} received: "
        f"{streamed.items_per_second:,.0f} per second",
    )
    yield (
        "plain calls",
        f"{len(called.latencies):,} one at a time: "
        f"{called.calls_per_second:,.0f} per second",
    )
    yield "  latency", f"median {_ms(called.median)}, p99 {_ms(called.p99)}"
    yield (
        "concurrent calls",
        f"{together.calls:,} with {together.at_once} in flight: "
        f"{together.calls_per_second:,.0f} per second",
    )
    yield (
        "failing calls",
        f"{len(failed.latencies)} raised {failed.error!r} here: "
        f"median {_ms(median(failed.latencies))}",
    )
    yield (
        "cancelled calls",
        f"{len(cancelled.latencies)} handlers had noticed after at most: "
        f"median {_ms(median(cancelled.latencies))}",
    )
    yield (
        "server's tally",
        f"{tallies.calls:,} calls answered, at most {tallies.at_once} at once",
    )


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.2f} ms"
