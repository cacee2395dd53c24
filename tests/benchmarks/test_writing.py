"""Tables, and the blocks of documents."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from benchmarks.adapters import FLOOR, MSGSPEC, RAW_TRIO, ROAM
from benchmarks.markdown import details, limits, overview, table, targets
from benchmarks.results import Contestant, Results, Sample
from benchmarks.stopwatch import Done
from benchmarks.works import NOT_PINNED, PINNED
from benchmarks.writing import ROOT, fill, write_comparison

RATES = {
    FLOOR: {"call": 100, "records": 50},
    RAW_TRIO: {"call": 160},
    ROAM: {"call": 80, "records": 40},
    "grpcio": {"call": 20, "records": 30},
    MSGSPEC: {"records": 100},
}


def results() -> Results:
    samples = [
        Sample.of(PINNED, round, work, adapter, rate, Done(1.0, 0.5, 0.25, 0.01, 0.02))
        for round in range(5)
        for adapter, rates in RATES.items()
        for work, rate in rates.items()
    ]
    held = Done(1.0, held=12_000_000)
    samples.append(Sample.of(NOT_PINNED, 0, "idle-sessions", ROAM, 1000, held))
    contestants = {
        name: Contestant({name: "1.2"}, None, {"echo": "no bytes"}, {"call": "blocks"})
        for name in RATES
    }
    machine = {"processor": "2 x any", "system": "Linux", "python": "CPython 3"}
    return Results(machine, contestants, samples, {"zerorpc": "not installed"})


def test_table_is_aligned_to_the_right_but_for_names() -> None:
    assert table(["", "a"], [["x", "1"]]).splitlines() == [
        "|  | a |",
        "| --- | ---: |",
        "| x | 1 |",
    ]


def test_overview_has_a_row_for_each_and_a_column_for_what_was_measured() -> None:
    assert overview(results()).splitlines() == [
        "|  | call | 1,000 records | KB a session |",
        "| --- | ---: | ---: | ---: |",
        "| the floor | 1.00 | 1.00 | - |",
        "| raw trio | 1.60 | - | - |",
        "| **roam_trio** | **0.80** | **0.80** | **12.0** |",
        "| grpcio | 0.20 | 0.60 | - |",
        "| msgspec | - | 2.00 | - |",
    ]


def test_targets_say_what_is_met_and_what_falls_short() -> None:
    rows = targets(results()).splitlines()[2:]
    assert rows == [
        "| call, pinned | 1.10 | 0.80 of the floor | short |",
        "| records, pinned | 1.00 | 0.80 of the floor | short |",
        "| idle-sessions, server memory each | at most 10.5 KB | 12.0 KB | short |",
        "| records, pinned | ahead of all others | 1.33 times as fast as grpcio, the "
        "fastest of the others | met |",
        "| records, pinned | at most 1.5 | 2.50 times what msgspec takes to encode and "
        "decode them | short |",
    ]


def test_limits_have_raw_trio_beside_the_floor() -> None:
    assert limits(results()).splitlines() == [
        "| roam_trio | of the floor | of raw trio |",
        "| --- | ---: | ---: |",
        "| call | 0.80 | 0.50 |",
        "| records | 0.80 | - |",
    ]


def test_details_have_processor_time_latencies_and_remarks() -> None:
    text = details(results())
    assert (
        "| grpcio | 20 ±0% | 0.20 (0.20 to 0.20) | 0.12 (0.12 to 0.12) "
        "| 25,000.0 | 12,500.0 | 10,000.0 | 20,000.0 |" in text
    )
    assert "- grpcio, echo: no bytes." in text
    assert "- grpcio, call: blocks." in text
    assert "- zerorpc: not installed." in text


def test_comparison_is_written_into_files_and_documents(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "benchmarks").mkdir()
    documents = [tmp_path / "README.md", tmp_path / "docs" / "benchmarks.md"]
    for path in documents:
        path.write_text("a <!-- comparison -->old<!-- end of comparison --> z")
    written = write_comparison(results(), tmp_path)
    assert {path.name for path in written} == {
        "results.md",
        "results.json",
        "ratios.svg",
        "README.md",
        "benchmarks.md",
    }
    for path in documents:
        text = path.read_text()
        assert text.startswith("a ")
        assert text.endswith(" z")
        assert "old" not in text
        assert "**roam_trio**" in text
    collected = msgspec.json.decode(
        (tmp_path / "benchmarks/results/results.json").read_bytes()
    )
    assert {"machine", "contestants", "figures", "verdicts"} == set(collected)


def test_filling_again_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "any.md"
    path.write_text("<!-- x --><!-- end of x -->")
    fill(path, "x", r"one \1 line")
    once = path.read_text()
    fill(path, "x", r"one \1 line")
    assert path.read_text() == once
    assert r"one \1 line" in once


def test_a_document_without_marks_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "any.md"
    path.write_text("nothing")
    with pytest.raises(ValueError, match=r"any\.md: expected <!-- x -->"):
        fill(path, "x", "block")


def test_the_documents_have_the_marks() -> None:
    marks = {"README.md": ["comparison"], "docs/benchmarks.md": ["comparison"]}
    marks["docs/benchmarks.md"] += ["growth", "fairness", "workers"]
    for name, blocks in marks.items():
        text = (ROOT / name).read_text(encoding="utf-8")
        for block in blocks:
            assert text.count(f"<!-- {block} -->") == 1
            assert text.count(f"<!-- end of {block} -->") == 1
