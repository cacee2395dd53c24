"""Both sides in processes of their own."""

from __future__ import annotations

import os
import sys

import pytest

from benchmarks.adapters import (
    ADAPTERS,
    FLOOR,
    PEERS,
    RESUMING,
    ROAM,
    RUST,
    UVLOOP,
    why_missing,
)
from benchmarks.processes import Pair, WorkerFailed
from benchmarks.works import HELD, SPEEDS, find_work


def do_everything(name: str) -> None:
    with Pair(name) as pair:
        done = [pair.measure(work, 3) for work in SPEEDS if pair.does(work)]
        assert done
        assert all(one.seconds > 0 for one in done)
        for work in HELD:
            if pair.does(work):
                assert pair.measure(work, 3).seconds > 0
        assert pair.about.versions
    left_out = set(pair.about.lacks) - {work.name for work in SPEEDS + HELD}
    assert not left_out, "they name works that there are"


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in (FLOOR, ROAM) else pytest.mark.slow)
        for name in sorted({*ADAPTERS, RESUMING} - {*PEERS, RUST, UVLOOP})
    ],
)
def test_each_work_is_done_across_two_processes(name: str) -> None:
    do_everything(name)


@pytest.mark.peers
@pytest.mark.parametrize("name", [*PEERS, RUST, UVLOOP])
def test_others_do_each_work_across_two_processes(name: str) -> None:
    if reason := why_missing(name):
        pytest.skip(f"{name}: {reason}")
    do_everything(name)


@pytest.mark.peers
@pytest.mark.parametrize("name", [*PEERS, RUST, UVLOOP])
def test_others_do_not_wait_for_late_acknowledgements(name: str) -> None:
    """Without TCP_NODELAY on both sides a step can take 40 ms of doing nothing."""
    if reason := why_missing(name):
        pytest.skip(f"{name}: {reason}")
    work = find_work("records")
    with Pair(name) as pair:
        pair.measure(work, 5)
        done = pair.measure(work, 30)
    if done.server_cpu is None:
        pytest.skip("only Linux tells the processor time of another process")
    assert done.client_cpu + done.server_cpu > done.seconds / 4


def test_roam_trio_and_the_floor_are_always_there() -> None:
    assert why_missing(FLOOR) is None
    assert why_missing(ROAM) is None


def test_single_calls_are_timed_and_processors_watched() -> None:
    with Pair(ROAM) as pair:
        done = pair.measure(find_work("call"), 200)
    assert done.p50 is not None
    assert done.p99 is not None
    assert 0 < done.p50 <= done.p99 < done.seconds
    assert done.client_cpu > 0
    if sys.platform == "linux":
        assert done.server_cpu is not None
        assert 0 < done.server_cpu < done.seconds * 2


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the memory")
def test_a_held_session_takes_memory_of_the_server() -> None:
    with Pair(ROAM) as pair:
        done = pair.measure(find_work("idle-sessions"), 50)
    assert done.held is not None
    assert 50 * 1000 < done.held < 50 * 25_000


@pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity"), reason="nothing to pin processes with here"
)
def test_all_threads_are_pinned() -> None:
    cpu = max(os.sched_getaffinity(0))
    with Pair(FLOOR) as pair:
        pair.place({cpu})
        for pid in pair.pids:
            assert all(
                os.sched_getaffinity(int(thread)) == {cpu}
                for thread in os.listdir(f"/proc/{pid}/task")
            )


def test_a_process_that_fails_is_reported(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(WorkerFailed, match="status 1"):
        Pair("nobody")
    names = ", ".join(ADAPTERS)
    assert f"expected one of {names}, got 'nobody'" in capfd.readouterr().err
