"""The report says what was measured."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from roam_trio.demo.calls import Called, CalledAtOnce, CancelledCalls, FailedCalls
from roam_trio.demo.report import report
from roam_trio.demo.results import Results
from roam_trio.demo.service import NoWords, Tallies
from roam_trio.demo.streaming import Streamed

RESULTS = Results(
    start_seconds=0.25,
    streamed=Streamed(lines=1999, sent=2000, received=2001, words=12_345, seconds=0.5),
    called=Called([0.0001] * 98 + [0.004, 0.005], seconds=0.02),
    called_at_once=CalledAtOnce(calls=900, at_once=64, seconds=0.03),
    failed=FailedCalls(NoWords(3), [0.0010, 0.0011, 0.0012]),
    cancelled=CancelledCalls([0.0001, 0.0022, 0.0100]),
    tallies=Tallies(calls=1005, at_once=63),
)


@pytest.mark.parametrize(
    "measured",
    [
        "ready after 0.25 s",
        "1,999 lines, 12,345 words in 0.50 s; all counts right",
        "2,000 sent, 2,001 received: 8,002 per second",
        "100 one at a time: 5,000 per second",
        "median 0.10 ms, p99 4.00 ms",
        "900 with 64 in flight: 30,000 per second",
        "3 raised NoWords(characters=3) here: median 1.10 ms",
        "3 handlers had noticed after at most: median 2.20 ms",
        "1,005 calls answered, at most 63 at once",
    ],
)
def test_report_has_every_measurement(measured: str) -> None:
    shown = io.StringIO()
    Console(file=shown, width=100).print(report(RESULTS))
    assert measured in shown.getvalue()


def test_report_fits_eighty_columns_in_plain_ascii() -> None:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding="ascii", write_through=True)
    Console(file=file, width=80).print(report(RESULTS))
    lines = raw.getvalue().decode("ascii").splitlines()
    assert len(lines) > 10
    assert max(map(len, lines)) <= 80
