"""The report: what was measured, as a table."""

from __future__ import annotations

from collections.abc import Iterator

from rich.table import Table

from .results import Results

__all__ = ["report"]


def report(results: Results) -> Table:
    """A table of what was measured."""
    table = Table(title="roam_trio demo", title_justify="left")
    table.add_column("what")
    table.add_column("measured", overflow="fold")
    for what, measured in _rows(results):
        table.add_row(what, measured)
    return table


def _rows(results: Results) -> Iterator[tuple[str, str]]:
    streamed, called = results.streamed, results.called
    together, cancelled = results.called_at_once, results.cancelled_call
    yield "server process", f"ready after {results.start_seconds:.2f} s"
    yield (
        "texts",
        f"{streamed.lines:,} lines and {streamed.words:,} words, all counts right",
    )
    yield (
        "items",
        f"{streamed.sent:,} sent and {streamed.received:,} received "
        f"in {streamed.seconds:.2f} s: {streamed.items_per_second:,.0f} per second",
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
    failed = results.failed_call
    yield "failing call", f"raised {failed.error!r} here after {_ms(failed.seconds)}"
    yield (
        "cancelled call",
        f"its handler had noticed after at most {_ms(cancelled.seconds)}",
    )
    tallies = results.tallies
    yield (
        "server's tally",
        f"{tallies.calls:,} calls answered, at most {tallies.at_once} at once",
    )


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.2f} ms"
