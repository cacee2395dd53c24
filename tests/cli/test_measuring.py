"""`ping` and `bench` against a live server."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from roam_trio.cli.latencies import Latencies
from tests.cli.live import SHOP, invoke, live
from tests.cli.shop import handlers


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with live(handlers()) as at:
        yield at


def test_each_ping_has_a_line_and_all_of_them_one(url: str) -> None:
    result = invoke("ping", url, "-n", 3, "--interval", 0)
    assert (result.exit_code, result.stderr) == (0, "")
    *pings, last = map(json.loads, result.stdout.splitlines())
    times = [each["milliseconds"] for each in pings]
    assert [each["ping"] for each in pings] == [1, 2, 3]
    assert last["pings"] == 3
    assert (last["least"], last["most"]) == (min(times), max(times))


@pytest.mark.usefixtures("terminal")
def test_pings_are_sentences_for_people(url: str) -> None:
    lines = invoke("ping", url, "-n", 1).stdout.splitlines()
    assert lines[0].startswith("ping 1: ")
    assert lines[1].startswith("1 pings: ")


def test_ping_of_no_server_is_code_3() -> None:
    result = invoke("ping", "tcp://127.0.0.1:1")
    assert (result.exit_code, result.stdout) == (3, "")


def test_bench_makes_as_many_calls_as_it_is_told(url: str) -> None:
    result = invoke("bench", url, "shop.slept", "--count", 50, "-c", 4, *SHOP)
    assert (result.exit_code, result.stderr) == (0, "")
    figures = json.loads(result.stdout)
    assert (figures["calls"], figures["errors"]) == (50, {})
    times = list(figures["milliseconds"].values())[1:]
    assert times == sorted(times)
    assert figures["rate"] > 0


def test_bench_ends_after_its_duration(url: str) -> None:
    result = invoke("bench", url, "shop.slept", "--duration", 0.05, *SHOP)
    assert json.loads(result.stdout)["calls"] > 0
    none = json.loads(invoke("bench", url, "shop.slept", "--duration", 0, *SHOP).stdout)
    assert (none["calls"], none["milliseconds"]["p50"]) == (0, 0)


@pytest.mark.usefixtures("terminal")
def test_figures_of_a_bench_are_a_table_for_people(url: str) -> None:
    args = ("shop.find", '["nobody"]', "--count", 3, *SHOP)
    result = invoke("bench", url, *args, NO_COLOR="1")
    assert result.exit_code == 1
    assert "0 calls in " in result.stdout
    assert "p99.9 ms" in result.stdout
    assert "3 failed: UserError" in result.stdout


@pytest.mark.parametrize(
    ("method", "given", "code", "problem"),
    [
        ("find", '["nobody"]', 1, ""),
        ("refuse", "{}", 3, ""),
        ("count", "{}", 2, "shop.count: expected a method without channels"),
        ("find", "[1]", 2, "$.name: argument 'name': expected str, got 1"),
        ("find", "[", 2, "the arguments: expected JSON:"),
        ("find", "[1, 2]", 2, "find: expected at most 1 arguments, got 2"),
    ],
)
def test_bench_ends_with_the_code_of_its_calls(
    url: str, method: str, given: str, code: int, problem: str
) -> None:
    result = invoke("bench", url, f"shop.{method}", given, "--count", 2, *SHOP)
    assert result.exit_code == code
    assert problem in result.stderr


def test_bench_ends_when_the_connection_is_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with live(handlers(), max_concurrent_requests=1) as at:
        result = invoke("bench", at, "shop.leave", "--count", 100, *SHOP)
    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr.count("\n") == 1


def test_percentiles_are_exact_to_a_hundredth() -> None:
    times = Latencies()
    for milliseconds in range(1, 1001):
        times.add(milliseconds / 1000)
    assert times.mean() == pytest.approx(0.5005)
    for percent in (1, 50, 90, 99, 99.9):
        assert times.percentile(percent) == pytest.approx(percent / 100, rel=0.011)
    assert times.percentile(100) == times.most == 1.0
    times.add(0.0)
    assert times.count == 1001
