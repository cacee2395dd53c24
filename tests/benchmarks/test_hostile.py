"""What hostile payloads cost can be measured, and that they are hostile."""

from __future__ import annotations

import pytest

from benchmarks import hostile
from benchmarks.hostile import KEYS, VALUES, Cost, Effort, measure_keys, measure_wrong

SMALL = Effort(size=600, keys=100, places=128, times=1)


@pytest.mark.parametrize("kind", VALUES)
def test_wrong_payloads_and_values_are_measured(kind: str) -> None:
    decoded, encoded = measure_wrong(kind, SMALL)
    assert decoded.waited is not None
    assert decoded.waited > 0 < decoded.ratio
    assert encoded.ratio > 0


@pytest.mark.parametrize("kind", KEYS)
def test_crafted_keys_are_measured(kind: str) -> None:
    costs = measure_keys(kind, SMALL)
    assert [cost.kind for cost in costs] == [f"set[{kind}]", f"dict[{kind}, u8]"]
    assert all(cost.waited is not None and cost.ratio > 0 for cost in costs)


def test_a_table_shows_what_costs_too_much(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(hostile, "_QUICK", SMALL)
    monkeypatch.setattr(hostile, "MOST_FOR_KEYS", 0.0)
    monkeypatch.setattr(hostile, "VALUES", {"list[str]": VALUES["list[str]"]})
    monkeypatch.setattr(hostile, "KEYS", {"UUID": KEYS["UUID"]})
    hostile.main(["--quick"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("| wrong in the last byte | honest, ms")
    assert lines[2].startswith("| list[str], decoded | ")
    assert any(
        line.startswith("| set[UUID] |") and "more than 0" in line for line in lines
    )
    assert lines[-1].startswith("| dict[u64, u8], one probe sequence |")


def test_the_ratio_is_of_the_hostile_to_the_honest() -> None:
    assert Cost("any", honest=2.0, hostile=6.0, waited=None).ratio == 3.0
