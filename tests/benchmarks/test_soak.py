"""The verdict on made soaks, and that a short one can be run."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import msgspec
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from benchmarks.soak.command import main, show, summary
from benchmarks.soak.gauges import Gauges
from benchmarks.soak.run import Course, Look, Stuck
from benchmarks.soak.shift import Shift
from benchmarks.soak.verdict import BOUNDS, WORK, faults

CALM = Gauges(40 << 20, 42 << 20, 150_000, 38_000, 27, 15, 1, {"builtins.dict": 500})


def course(
    minutes: int = 60, change: Callable[[int, Look], Look] = lambda minute, look: look
) -> Course:
    """A run in which nothing changes but what `change` does."""
    looks = [
        change(
            minute,
            Look(60.0 * minute, CALM, CALM, {name: 10 * minute for name in WORK}),
        )
        for minute in range(1, minutes + 1)
    ]
    return Course(CALM, looks, CALM)


def test_a_flat_run_has_no_faults() -> None:
    flat = course()
    assert faults(flat) == []
    assert summary(flat, []).startswith("soak: 60.0 minutes: flat; an hour: server ")


@pytest.mark.parametrize("side", ["server", "client"])
@pytest.mark.parametrize("name", BOUNDS)
def test_a_gauge_that_grows_is_named(name: str, side: str) -> None:
    a_minute = max(1, int(BOUNDS[name].rate / 20))

    def leak(minute: int, look: Look) -> Look:
        more = {name: getattr(CALM, name) + a_minute * minute}
        return attrs.evolve(look, **{side: msgspec.structs.replace(CALM, **more)})

    leaking = course(change=leak)
    [fault] = faults(leaking)
    assert fault.startswith(f"{name} of the {side} grow by ")
    assert "minutes: FAILED; an hour:" in summary(leaking, [fault])


def test_the_types_that_grow_are_named() -> None:
    def leak(minute: int, look: Look) -> Look:
        grown = {"builtins.dict": 500, "app.Session": 100 * minute}
        server = msgspec.structs.replace(
            CALM, objects=CALM.objects + 100 * minute, kinds=grown
        )
        return attrs.evolve(look, server=server)

    [fault] = faults(course(change=leak))
    assert fault.endswith("; +4,400 app.Session")


def test_a_short_run_says_that_it_shows_no_trend() -> None:
    short = course(minutes=15)
    assert faults(short) == []
    assert "too few looks to see a trend" in summary(short, [])


def test_what_is_done_no_more_is_a_fault() -> None:
    def hang(minute: int, look: Look) -> Look:
        return attrs.evolve(look, done={**look.done, "visits": min(minute, 20)})

    assert faults(course(change=hang)) == ["no visits in the second half of the run"]


def test_what_is_never_done_is_a_fault() -> None:
    def idle(minute: int, look: Look) -> Look:
        done = {name: count for name, count in look.done.items() if name != "items"}
        return attrs.evolve(look, done=done)

    assert faults(course(minutes=3, change=idle)) == ["no items in all of the run"]


def test_what_is_left_when_all_have_gone_is_a_fault() -> None:
    left = attrs.evolve(course(), after=msgspec.structs.replace(CALM, files=17))
    assert faults(left) == [
        "files of the server when everybody has left: 17, and 15 before anybody had "
        "come"
    ]


def test_a_look_shows_both_sides_and_what_was_done() -> None:
    server, client, done = show(course().looks[0]).splitlines()
    assert " ".join(server.split()) == (
        "1.00 server 40.0 MiB 42.0 MiB 150,000 38,000 27 15 1"
    )
    assert client.split()[1] == "client"
    assert done.strip().startswith("1.00  done: 10 blocks, 10 calls, ")


async def test_a_rest_begins_when_all_turns_have_ended() -> None:
    shift = Shift()
    order: list[str] = []
    async with trio.open_nursery() as nursery:

        async def rest() -> None:
            await shift.rest()
            order.append("rest")

        async with shift.turn():
            nursery.start_soon(rest)
            await wait_all_tasks_blocked()
            order.append("end of turn")
        await wait_all_tasks_blocked()

        async def turn() -> None:
            async with shift.turn():
                order.append("turn")

        nursery.start_soon(turn)
        await wait_all_tasks_blocked()
        order.append("go on")
        shift.go_on()
    assert order == ["end of turn", "rest", "go on", "turn"]


@pytest.mark.slow
def test_a_short_soak_runs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--minutes", "0.4", "--every", "8"]) == 0, capsys.readouterr().out
    *_, last = capsys.readouterr().out.splitlines()
    assert last.startswith("soak: 0.")


def test_a_process_that_ends_fails_the_soak(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def stuck(*args: object) -> Course:
        raise ExceptionGroup("nursery", [Stuck("the client has ended")])

    monkeypatch.setattr("benchmarks.soak.command.soak", stuck)
    assert main(["--minutes", "1"]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == (
        "soak: FAILED: the client has ended"
    )
