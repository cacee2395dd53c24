"""The steps of the demo together, and how what goes wrong is told."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import trio
from rich.console import Console

from roam_trio.demo.display import Log
from roam_trio.demo.errors import (
    DemoError,
    InputError,
    ServerFailed,
    WrongAnswer,
    root_cause,
)
from roam_trio.demo.handler import Counter
from roam_trio.demo.run import Plan, run_demo, run_steps
from roam_trio.demo.service import Tallies
from roam_trio.demo.texts import Text, check_text
from roam_trio.errors import ConnectionLost, RxConnectionLost

from .served import Deviating, client_of

STEPS = [
    "streaming texts",
    "calling, one call at a time",
    "calling, 8 calls in flight",
    "failing, and cancelling",
]


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    path = tmp_path / "text"
    path.write_text("one line\nand another\n")
    return Plan(texts=[check_text(path)], rounds=3, calls=20, at_once=8, endings=2)


@pytest.fixture
def shown() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def log(shown: io.StringIO) -> Log:
    return Log(Console(file=shown))


async def test_steps_give_results(
    nursery: trio.Nursery, plan: Plan, log: Log, shown: io.StringIO
) -> None:
    client = await client_of(Counter(), nursery)
    results = await run_steps(client, plan, log, 1.5)
    assert results.start_seconds == 1.5
    assert (results.streamed.lines, results.streamed.words) == (6, 12)
    assert len(results.called.latencies) == results.called_at_once.calls == 20
    assert results.tallies.calls == 20 + 20 + 8
    begun = [line for line in shown.getvalue().splitlines() if ": done" not in line]
    assert begun == STEPS


async def test_demo_runs_against_a_process_of_its_own(
    plan: Plan, log: Log, shown: io.StringIO
) -> None:
    results = await run_demo(plan, log)
    assert (results.streamed.lines, results.streamed.words) == (6, 12)
    assert results.start_seconds > 0
    assert shown.getvalue().startswith("starting a server process\n")


async def test_bad_text_ends_the_demo(plan: Plan, log: Log) -> None:
    plan.texts[0].path.write_bytes(b"\xff")
    with pytest.raises(InputError, match="not a text in UTF-8"):
        await run_demo(plan, log)


class Miscounting(Deviating):
    async def tallies(self) -> Tallies:
        return Tallies(calls=47, at_once=8)


class Overdoing(Deviating):
    async def tallies(self) -> Tallies:
        return Tallies(calls=48, at_once=9)


@pytest.mark.parametrize(
    ("handler", "message"),
    [
        (Miscounting, "calls that the server has answered: expected 48, got 47"),
        (Overdoing, "calls in flight: expected 8, got 9"),
    ],
)
async def test_wrong_tally_is_an_error(
    nursery: trio.Nursery,
    plan: Plan,
    log: Log,
    handler: type[Deviating],
    message: str,
) -> None:
    client = await client_of(handler(), nursery)
    with pytest.raises(WrongAnswer, match=message):
        await run_steps(client, plan, log, 0.0)


def test_size_is_known_unless_a_text_is_a_pipe() -> None:
    known, unknown = Text(Path("a"), 100), Text(Path("b"), None)
    assert Plan(texts=[known, known], rounds=3, calls=1).bytes == 600
    assert Plan(texts=[known, unknown], rounds=3, calls=1).bytes is None


def test_lost_server_is_told_once() -> None:
    lost = [ConnectionLost("it is gone"), RxConnectionLost("gone")]
    cause = root_cause(ExceptionGroup("", [ExceptionGroup("", lost)]))
    assert isinstance(cause, ServerFailed)
    assert str(cause) == "lost the server: it is gone"


def test_own_finding_is_told_before_a_lost_server() -> None:
    finding: DemoError = WrongAnswer("a count", 1, 2)
    group = ExceptionGroup("", [ConnectionLost("it is gone"), finding])
    assert root_cause(group) is finding
    assert root_cause(finding) is finding


def test_mistake_of_the_program_has_no_cause_to_tell() -> None:
    assert root_cause(ValueError()) is None
    assert root_cause(ExceptionGroup("", [OSError(), KeyError()])) is None


async def test_mistake_of_the_program_is_raised_as_it_is(plan: Plan, log: Log) -> None:
    class Mistaken(Log):
        def finish(self) -> None:
            raise KeyError("a mistake")

    with pytest.RaisesGroup(KeyError, allow_unwrapped=True):
        await run_demo(plan, Mistaken(Console(file=io.StringIO())))
