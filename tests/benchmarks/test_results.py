"""The arithmetic on what was measured."""

from __future__ import annotations

import msgspec
import pytest

from benchmarks.adapters import FLOOR, ROAM
from benchmarks.report import report
from benchmarks.results import Results, Sample, ratios, summarize
from benchmarks.works import WORKS


def sample(
    adapter: str, round: int, count: int, seconds: float, work: str = "call"
) -> Sample:
    return Sample("pinned", round, work, adapter, count, seconds)


def test_rate_is_steps_per_second() -> None:
    assert sample(ROAM, 0, count=300, seconds=1.5).rate == 200


def test_ratio_is_of_throughputs_round_by_round() -> None:
    # Half as many steps in the same time; then as many in four times the time.
    ours = [sample(ROAM, 0, 50, 1.0), sample(ROAM, 1, 100, 4.0)]
    floor = [sample(FLOOR, 0, 100, 1.0), sample(FLOOR, 1, 100, 1.0)]
    assert ratios(ours, floor) == [0.5, 0.25]
    assert ratios(floor, ours) == [2.0, 4.0]


def test_ratio_of_different_rounds_is_refused() -> None:
    with pytest.raises(ValueError, match="the same rounds"):
        ratios([sample(ROAM, 0, 1, 1.0)], [sample(FLOOR, 1, 1, 1.0)])


def test_summary_is_median_lowest_highest() -> None:
    summary = summarize([8.0, 1.0, 4.0, 5.0])
    assert (summary.median, summary.lowest, summary.highest) == (4.5, 1.0, 8.0)
    assert summary.spread == pytest.approx(7 / 4.5)


def test_summary_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        summarize([])


def test_results_are_the_same_after_json() -> None:
    results = Results({"system": "any"}, {}, [sample(ROAM, 0, 1, 0.1)])
    assert msgspec.json.decode(msgspec.json.encode(results), type=Results) == results


def test_report_names_each_work_with_its_ratio_and_target() -> None:
    samples = [
        sample(adapter, number, count, 1.0, work.name)
        for number in range(5)
        for work in WORKS
        for adapter, count in ((FLOOR, 1000), (ROAM, 300 + number))
    ]
    lines = report(Results({}, {}, samples)).splitlines()
    for work in WORKS:
        [row] = [line for line in lines if line.startswith(f"{work.name} ")]
        assert "0.302 (0.300-0.304)" in row
        assert row.endswith("-" if work.target is None else f" {work.target:.2f}")
