"""Where growth stops being linear, and that it can be measured."""

from __future__ import annotations

import sys
from pathlib import Path

import attrs
import msgspec
import pytest

from benchmarks.adapters import FLOOR, ROAM
from benchmarks.fairness import Fairness, measure_fairness, write_fairness
from benchmarks.growth import (
    Growth,
    Point,
    in_bytes,
    measure_growth,
    verdict,
    write_growth,
)
from benchmarks.processes import Pair
from benchmarks.results import Summary
from benchmarks.scales import SCALES, Scale, find_scaled
from benchmarks.workers import Workers, measure_workers, write_workers


def points(**costs: float) -> list[Point]:
    return [
        Point("any", ROAM, int(size[1:]), Summary(cost, cost, cost))
        for size, cost in costs.items()
    ]


def test_a_step_that_costs_the_same_is_linear_all_the_way() -> None:
    said = verdict(points(n1=1.0, n10=1.1, n100=1.2), is_flat=True)
    assert said == (
        "linear all the way: a step costs 1.20 times as much at 100 as at 1."
    )


def test_the_first_size_that_costs_more_is_named() -> None:
    said = verdict(points(n1=2.0, n10=1.0, n100=1.4, n1000=1.6, n9000=4), is_flat=True)
    assert said == (
        "linear up to 100; compared with 10, a step costs 1.60 times as much at "
        "1,000, and 4.00 times at 9,000."
    )


def test_the_last_size_is_named_once() -> None:
    said = verdict(points(n1=1.0, n10=2.0), is_flat=True)
    assert said == (
        "linear up to 1; compared with 1, a step costs 2.00 times as much at 10."
    )


def test_proportion_begins_when_the_fixed_cost_is_left_behind() -> None:
    micro = 1e-6
    costs = {"n1": 100, "n1024": 101, "n65536": 300, "n1048576": 3300}
    said = verdict(
        points(**{size: cost * micro for size, cost in costs.items()}), is_flat=False
    )
    assert said == (
        "the fixed cost is 100 µs; from 64 KiB on a step costs in proportion, "
        "3,125 ns a KiB at 64 KiB, and linear up to the largest, 1 MiB."
    )


def test_what_costs_more_than_in_proportion_is_named() -> None:
    costs = points(n1=1e-4, n1048576=1.1e-3, n2097152=4.1e-3)
    said = verdict(costs, is_flat=False)
    assert said.endswith("at 2 MiB it stops being linear: a KiB costs 2.00 times that.")


def test_a_fixed_cost_alone_is_said_so() -> None:
    said = verdict(points(n1=1.0, n64=1.5), is_flat=False)
    assert said == "the fixed cost of a step is most of it at every size."


def test_sizes_have_units() -> None:
    assert [in_bytes(n) for n in (1, 64, 2**14, 2**20, 2**26)] == [
        "1 B",
        "64 B",
        "16 KiB",
        "1 MiB",
        "64 MiB",
    ]


@pytest.mark.parametrize(
    "scale",
    [
        pytest.param(
            scale, id=scale.name, marks=[] if scale is SCALES[0] else pytest.mark.slow
        )
        for scale in SCALES
    ],
)
def test_each_scale_is_measured_at_a_small_size(scale: Scale) -> None:
    size = scale.sizes[1]
    work = scale.at(size)
    assert find_scaled(work.name) is not None
    for adapter in scale.adapters:
        with Pair(adapter) as pair:
            assert pair.measure(work, 2 * size + 1).seconds > 0


@pytest.mark.slow
def test_growth_of_a_scale_is_measured_and_written(tmp_path: Path) -> None:
    docs = make_docs(tmp_path)
    [payloads] = [scale for scale in SCALES if scale.name == "payloads"]
    small = attrs.evolve(payloads, sizes=payloads.sizes[:2])
    growth = measure_growth(1, 0.001, [small])
    assert [p.adapter for p in growth.points] == [FLOOR] * 2 + [ROAM] * 2
    written = write_growth(growth, tmp_path)
    assert all(path.exists() for path in written)
    assert "| 64 B |" in docs.read_text()
    read = (tmp_path / "benchmarks/results/growth.json").read_bytes()
    assert msgspec.json.decode(read, type=Growth) == growth


@pytest.mark.slow
def test_fairness_is_measured_and_written(tmp_path: Path) -> None:
    docs = make_docs(tmp_path)
    fairness = measure_fairness(1, 3)
    alone, *flooded = fairness.latencies
    assert alone.flood == "none"
    assert len(flooded) == 6
    assert all(0 < one.p50.median <= one.p99.median for one in fairness.latencies)
    write_fairness(fairness, tmp_path)
    assert "| the next connection |" in docs.read_text()
    read = (tmp_path / "benchmarks/results/fairness.json").read_bytes()
    assert msgspec.json.decode(read, type=Fairness) == fairness


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_workers_are_measured_and_written(tmp_path: Path) -> None:
    docs = make_docs(tmp_path)
    workers = measure_workers(2, 1, 0.4)
    assert (workers.one.busiest.median, workers.one.workers) == (1, 1)
    assert workers.several.busiest.median < 0.9
    for each in (workers.one, workers.several):
        assert each.worker_time.median > 150e-6 > each.client_time.median
    write_workers(workers, tmp_path)
    assert "2 workers finish " in docs.read_text()
    read = (tmp_path / "benchmarks/results/workers.json").read_bytes()
    assert msgspec.json.decode(read, type=Workers) == workers


def make_docs(root: Path) -> Path:
    docs = root / "docs" / "benchmarks.md"
    docs.parent.mkdir()
    (root / "benchmarks").mkdir()
    names = ("growth", "fairness", "workers")
    docs.write_text(
        "".join(f"<!-- {name} --><!-- end of {name} -->\n" for name in names)
    )
    return docs
