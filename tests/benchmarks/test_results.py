"""The arithmetic on what was measured."""

from __future__ import annotations

import msgspec
import pytest

from benchmarks.adapters import FLOOR, ROAM
from benchmarks.figures import Verdict, figures_of, verdicts_on
from benchmarks.report import report
from benchmarks.results import (
    Contestant,
    Results,
    Sample,
    cpu_ratios,
    ratios,
    summarize,
)
from benchmarks.stopwatch import Done, Stopwatch, quantile
from benchmarks.works import NOT_PINNED, PINNED, SPEEDS


def sample(
    adapter: str, round: int, count: int, seconds: float, work: str = "call"
) -> Sample:
    return Sample(PINNED, round, work, adapter, count, seconds)


def results_of(samples: list[Sample]) -> Results:
    nothing = Contestant({}, None, {}, {})
    return Results({}, {FLOOR: nothing, ROAM: nothing}, samples)


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


def test_cpu_ratio_is_of_both_sides_for_a_step() -> None:
    ours = [Sample.of(PINNED, 0, "call-deadline", ROAM, 5, Done(9.0, 2.0, 4.0))]
    theirs = [Sample.of(PINNED, 0, "call", ROAM, 10, Done(1.0, 3.0, 5.0))]
    assert cpu_ratios(ours, theirs) == [pytest.approx(1.5)]
    with pytest.raises(ValueError, match="the same rounds"):
        cpu_ratios(ours, [])


@pytest.mark.parametrize(("taken", "is_met"), [(1.04, True), (1.07, False)])
def test_work_beside_others_is_judged_by_its_processor_time(
    taken: float, is_met: bool
) -> None:
    samples = [
        Sample.of(PINNED, 0, work, ROAM, 100, Done(1.0, client, 0.5))
        for work, client in (
            ("call-scope", 0.5),
            ("call", 1.5),
            ("call-deadline", taken - 0.5),
        )
    ]
    results = results_of(samples)
    assert verdicts_on(figures_of(results)) == [
        Verdict(
            "call-deadline, pinned",
            f"{taken:.2f} times the processor time of call-scope",
            "at most 1.05",
            is_met,
        )
    ]
    to_the_other = f"processor time of call-deadline to that of call: {taken / 2:.3f}"
    assert any(line.startswith(to_the_other) for line in report(results).splitlines())


def test_summary_is_median_lowest_highest() -> None:
    summary = summarize([8.0, 1.0, 4.0, 5.0])
    assert (summary.median, summary.lowest, summary.highest) == (4.5, 1.0, 8.0)
    assert summary.spread == pytest.approx(7 / 4.5)


def test_summary_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        summarize([])


def test_quantile_is_a_figure_that_so_many_do_not_exceed() -> None:
    figures = [float(n) for n in range(100, 0, -1)]
    assert quantile(figures, 0.5) == 50.5
    assert quantile(figures, 0.99) == 100
    assert quantile([3.0], 0.99) == 3.0


def test_stopwatch_counts_only_while_it_runs_and_adds_up() -> None:
    watch = Stopwatch()
    with watch:
        pass
    first = watch.done().seconds
    with watch:
        sum(range(10_000))
    assert watch.done().seconds > first
    assert watch.done().server_cpu is None, "there is no server"
    assert watch.done().p50 is None, "no steps were timed alone"


def test_results_are_the_same_after_json() -> None:
    done = Done(0.1, 0.05, 0.04, 0.001, 0.002, 7000)
    contestants = {ROAM: Contestant({"trio": "1"}, None, {"echo": "no"}, {})}
    results = Results(
        {"system": "any"}, contestants, [Sample.of(PINNED, 0, "call", ROAM, 1, done)]
    )
    assert msgspec.json.decode(msgspec.json.encode(results), type=Results) == results


def test_figures_are_per_step_and_medians_of_the_rounds() -> None:
    done = [Done(1.0, 0.2, 0.4, 0.1, 0.3), Done(2.0, 0.4, 0.6, 0.2, 0.5)]
    samples = [
        Sample.of(PINNED, round, "call", ROAM, 10, one)
        for round, one in enumerate(done)
    ]
    [figure] = figures_of(results_of(samples))
    assert figure.rate.median == 7.5
    assert figure.client_cpu == pytest.approx(0.03)
    assert figure.server_cpu == pytest.approx(0.05)
    assert (figure.p50, figure.p99) == (pytest.approx(0.15), pytest.approx(0.4))
    assert figure.ratio is None, "the floor was not measured"
    assert figure.held is None


def test_verdicts_compare_medians_with_targets() -> None:
    samples = [
        Sample.of(placement, 0, "call", adapter, count, Done(1.0))
        for placement in (PINNED, NOT_PINNED)
        for adapter, count in ((FLOOR, 100), (ROAM, 105))
    ]
    held = Done(1.0, held=10_000_000)
    samples.append(Sample.of(NOT_PINNED, 0, "idle-sessions", ROAM, 1000, held))
    assert verdicts_on(figures_of(results_of(samples))) == [
        Verdict("call, pinned", "1.05 of the floor", "1.10", False),
        Verdict("call, not pinned", "1.05 of the floor", "1.00", True),
        Verdict(
            "idle-sessions, server memory each", "10.0 KB", "at most 10.5 KB", True
        ),
    ]


def test_report_names_each_work_with_its_ratio_and_target() -> None:
    samples = [
        sample(adapter, number, count, 1.0, work.name)
        for number in range(5)
        for work in SPEEDS
        for adapter, count in ((FLOOR, 1000), (ROAM, 300 + number))
    ]
    lines = report(results_of(samples)).splitlines()
    for work in SPEEDS:
        [row] = [line for line in lines if line.startswith(f"{work.name:<15} {ROAM} ")]
        assert "0.302 (0.300-0.304)" in row
        target = "-" if work.target is None else f"{work.target:.2f}"
        assert f") {'-':>20} {target:>7} " in row


def test_report_says_what_is_missing_and_why() -> None:
    results = Results({}, {}, [], {"somelib": "not installed"})
    assert "somelib: not installed" in report(results).splitlines()
