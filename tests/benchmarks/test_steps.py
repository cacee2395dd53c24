"""The counts of docs/performance.md are those of the code."""

from __future__ import annotations

import sys

import pytest

from benchmarks.steps import (
    REFERENCE,
    STEP_WORKS,
    Steps,
    StepWork,
    count_steps,
    steps_table,
    versions_here,
)
from benchmarks.writing import ROOT
from tests.pure import steps_in_python  # noqa: F401

each_work = pytest.mark.parametrize("work", STEP_WORKS, ids=lambda work: work.name)


def told(work: StepWork) -> Steps:
    """What the page says."""
    text = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    [row] = [
        line for line in text.splitlines() if line.startswith(f"| {work.name}, for ")
    ]
    return Steps(*(float(cell.replace(",", "")) for cell in row.split("|")[2:-1]))


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no epoll")
@each_work
def test_a_step_takes_what_the_page_says(
    work: StepWork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.steps.NATIVE", None)  # as `steps_in_python` has it
    page, now = told(work), count_steps(work)
    assert now.turns == pytest.approx(page.turns, rel=0.02, abs=0.02)
    assert now.system == pytest.approx(page.system, rel=0.02, abs=0.02)
    if versions_here() != REFERENCE:
        assert now.calls < 1.2 * page.calls
        return
    assert now.calls == pytest.approx(page.calls, rel=0.03, abs=1)
    assert now.client == pytest.approx(page.client, rel=0.03, abs=2)
    assert now.server == pytest.approx(page.server, rel=0.03, abs=2)


def test_table_has_a_row_for_each_work() -> None:
    steps = Steps(client=1234.4, server=10, calls=7, turns=3, system=0.05)
    work = StepWork("items", "item", 2, STEP_WORKS[0].do)
    assert steps_table({work: steps}).splitlines()[2:] == [
        "| items, for each item | 1,234 | 10 | 7 | 3.00 | 0.05 |"
    ]
