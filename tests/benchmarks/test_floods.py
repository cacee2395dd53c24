"""The floods harm neither the server nor an honest client, and can be shown."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from benchmarks.floods import command
from benchmarks.floods.honest import Counted, Figures
from benchmarks.floods.kinds import FLOODS
from benchmarks.floods.outcome import MIB, Outcome
from benchmarks.floods.run import Stuck, flood, reason_in
from roam_trio import LimitExceeded, SessionError, SessionIoError

CALM = Counted(200, Figures(0.001, 0.004), Figures(0.0005, 0.002), {})


def outcome(
    *,
    memory: int = MIB,
    honest: Counted = CALM,
    ends: dict[str, int] | None = None,
) -> Outcome:
    return Outcome("pings", memory, honest, Counter(ends or {}))


SMOKE = {
    "pings": "futile_messages",
    "calls of unknown methods": "futile_messages",
    "items early": "early_items",
    "items late": "futile_messages",
    "items beyond credit": "an item came without credit",
}
"""Floods that end soon, and what ends them."""


@pytest.mark.parametrize("name", SMOKE)
def test_flood_is_ended_and_takes_nothing_from_an_honest_client(name: str) -> None:
    done = flood(name, 0.3, patience=30.0, until_ended=True)
    assert done.faults(timed=False) == []
    assert SMOKE[name] in done.ended_by


def test_calm_outcome_has_no_faults() -> None:
    assert outcome().faults() == []
    assert outcome().ended_by == ""


def slow(median: float, p99: float) -> Counted:
    return Counted(9, CALM.taken, Figures(median, p99), {})


def answered(calls: int, refused: dict[str, int]) -> Counted:
    return Counted(calls, CALM.taken, CALM.served, refused)


@pytest.mark.parametrize(
    ("made", "fault"),
    [
        (outcome(memory=65 * MIB), "65 MiB above idle"),
        (
            outcome(honest=answered(9, {"Overloaded": 2})),
            "honest calls refused: {'Overloaded': 2}",
        ),
        (outcome(honest=answered(0, {})), "no honest call was answered"),
        (outcome(honest=slow(0.006, 0.007)), "median 6.0 ms"),
        (outcome(honest=slow(0.001, 0.051)), "p99 51.0 ms"),
    ],
)
def test_too_much_is_said_in_words(made: Outcome, fault: str) -> None:
    assert made.faults() == [fault]
    assert command.show([made]).endswith(f" {fault} |")


def test_times_do_not_count_on_a_busy_machine() -> None:
    assert outcome(honest=slow(1.0, 2.0)).faults(timed=False) == []


def test_what_ended_the_flooder_is_shown_most_often_first() -> None:
    ended = outcome(ends={"early_items": 1, "futile_messages": 7})
    assert ended.ended_by == "futile_messages (7 times), early_items"
    assert "| futile_messages (7 times), early_items |" in command.show([ended])


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (LimitExceeded("memory", "too much", of_server=True), "memory"),
        (LimitExceeded("early_items", "too many"), "early_items"),
        (SessionIoError("reset"), "reset"),
    ],
)
def test_what_ended_a_session_is_the_limit_or_the_reason_in_words(
    error: SessionError, expected: str
) -> None:
    error.address = "tcp://203.0.113.7:1"
    assert reason_in(str(error)) == expected


def test_figures_of_times() -> None:
    assert Figures.of(range(1, 201)) == Figures(100.5, 199)
    assert Figures.of([]) == Figures(0.0, 0.0)


@pytest.mark.parametrize(("memory", "code"), [(MIB, 0), (100 * MIB, 1)])
def test_command_does_what_it_is_told_and_says_whether_it_is_well(
    memory: int,
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    done: list[tuple[str | None, float]] = []

    def pretend(name: str | None, seconds: float) -> Outcome:
        done.append((name, seconds))
        return outcome(memory=memory)

    monkeypatch.setattr(command, "flood", pretend)
    assert command.main(["--quick", "--only", "pings"]) == code
    assert done == [(None, 1.0), ("pings", 1.0)]
    assert "three processes on" in capsys.readouterr().out
    command.main([])
    assert [name for name, _ in done[2:]] == [None, *FLOODS]


def test_table_is_written_into_the_docs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "flood", lambda name, seconds: outcome())
    page = tmp_path / "docs" / "benchmarks.md"
    page.parent.mkdir()
    page.write_text("<!-- floods -->\n<!-- end of floods -->\n", encoding="utf-8")
    assert command.main(["--only", "pings", "--write"], root=tmp_path) == 0
    assert "| pings | 1.0 | 1.0 | 4.0 | 0.5 | 2.0 | 0 | nothing |" in page.read_text(
        encoding="utf-8"
    )


def test_process_that_cannot_run_is_not_waited_for() -> None:
    with pytest.raises(Stuck, match="the flooder says nothing"):
        flood("no such flood", 0.1)
