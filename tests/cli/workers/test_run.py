"""The parent as a program: its signals, what it prints, and who takes over."""

from __future__ import annotations

import io
import json
import logging
import os
import signal
import socket
import stat
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from roam_trio import connect
from roam_trio.cli.log_format import LogFormat
from roam_trio.cli.server_options import Serving
from roam_trio.cli.workers import run, taking_over
from roam_trio.cli.workers.doors import Door, open_doors
from roam_trio.cli.workers.job import Job
from roam_trio.cli.workers.parent import READY
from roam_trio.cli.workers.run import run_parent
from roam_trio.cli.workers.spawning import Spawner
from roam_trio.cli.workers.table import Start
from roam_trio.cli.workers.taking_over import (
    UP_SECONDS,
    Estate,
    hand_over,
    inherited_estate,
)
from roam_trio.cli.workers.worker import run_worker
from roam_trio.transports.handing import Hand
from tests.cli.live import invoke
from tests.cli.workers.in_process import Spawning
from tests.cli.workers.test_parent import HERE, IMPL, Work


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield
    root.handlers[:] = before
    root.setLevel(level)


def tell(number: int) -> None:
    os.kill(os.getpid(), number)


async def until(is_met: Callable[[], bool]) -> None:
    """Wait until something is as it is to be."""
    with trio.fail_after(5):
        while not is_met():
            await change()


async def change() -> None:
    await trio.sleep(0.001)


@pytest.fixture
async def program(
    monkeypatch: pytest.MonkeyPatch, nursery: trio.Nursery, tmp_path: Path
) -> Callable[[], Any]:
    """Return a function that runs a parent whose workers are tasks."""
    made: list[Spawning] = []

    def spawner(*args: Any) -> Spawning:
        made.append(Spawning(nursery, Spawner(*args)))
        return made[-1]

    monkeypatch.setattr(run, "Spawner", spawner)

    @asynccontextmanager
    async def running(
        resume: bool = False,
    ) -> AsyncIterator[tuple[str, Spawning, list[int]]]:
        url, codes = f"unix://{tmp_path}/s", list[int]()
        over = trio.Event()

        async def run_it() -> None:
            serving = Serving([url], 5.0, resume)
            codes.append(await run_parent(HERE, serving, 2))
            over.set()

        nursery.start_soon(run_it)
        await until(lambda: bool(made))
        async with connect(url, Work, wait_for=5, resume=resume) as client:
            await client.add(1, 2)
        await until(lambda: len(made[0].tasks) == 2)
        yield url, made[0], codes
        with trio.fail_after(5):
            await over.wait()

    return running


async def test_it_prints_its_urls_and_drains_on_a_signal(
    program: Callable[[], Any], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out = ""

    def is_printed() -> bool:
        nonlocal out
        out += capsys.readouterr().out
        return out != ""

    async with program() as (url, _, codes):
        await until(is_printed)
        tell(signal.SIGTERM)
    assert codes == [0]
    err = capsys.readouterr().err
    assert json.loads(out) == {"url": url}
    assert "SIGTERM: shutting down within 5 s\n" in err
    assert not (tmp_path / "s").exists()


async def test_private_sockets_are_in_a_directory_that_goes_with_it(
    program: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    async with program(resume=True) as (_, spawning, codes):
        directory = spawning.spawner.directory
        assert directory.startswith(f"{tmp_path}/roam-trio-")
        assert stat.S_IMODE(os.stat(directory).st_mode) == 0o700
        assert set(os.listdir(directory)) == {"1", "2"}
        tell(signal.SIGTERM)
    assert codes == [0]
    assert os.listdir(tmp_path) == []


async def test_a_second_signal_ends_it_at_once(program: Callable[[], Any]) -> None:
    async with program() as (_, spawning, codes):
        for task in spawning.tasks.values():
            task.stop = trio.Event()  # nobody waits for it
        tell(signal.SIGINT)
        await trio.sleep(0.01)
        before = signal.getsignal(signal.SIGINT)
        tell(signal.SIGTERM)
        await until(lambda: signal.getsignal(signal.SIGINT) is not before)
    assert codes == [128 + signal.SIGTERM]


@pytest.mark.parametrize("error", [BrokenPipeError(), ValueError("closed"), None])
async def test_a_log_that_cannot_be_written_does_not_end_it(
    error: Exception | None,
    program: Callable[[], Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Broken(io.StringIO):
        tries = 0

        def write(self, text: str) -> int:
            self.tries += 1
            assert error is not None
            raise error

    broken = Broken()
    async with program() as (url, spawning, codes):
        with monkeypatch.context() as closed:
            closed.setattr(sys, "stderr", broken if error else None)
            await spawning.tasks[1].says.send_all(b"a line\n")
            await wait_all_tasks_blocked()
            async with connect(url, Work) as client:
                assert await client.add(1, 2) == 3
            tell(signal.SIGTERM)
            await until(lambda: codes != [])
    assert (codes, broken.tries) == ([0], 2 if error else 0)


async def test_nobody_can_connect_while_it_drains(
    program: Callable[[], Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def never(*_: object) -> None:
        raise AssertionError("there is nothing to hand over")

    monkeypatch.setattr(run, "hand_over", never)
    IMPL.go_on = trio.Event()
    results: list[str] = []
    async with program() as (url, _, codes), connect(url, Work) as client:

        async def finish() -> None:
            results.append(await client.finish_when_told())

        async with trio.open_nursery() as calling:
            calling.start_soon(finish)
            await client.add(1, 2)  # so the call before it has begun
            tell(signal.SIGTERM)
            await until(lambda: not (tmp_path / "s").exists())
            tell(signal.SIGUSR2)
            await wait_all_tasks_blocked(0.01)
            assert codes == []
            IMPL.go_on.set()
    assert (codes, results) == ([0], ["finished"])


async def test_it_ends_the_new_parent_that_is_on_its_way_when_it_is_to_end(
    program: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, given_up = trio.Event(), trio.Event()

    async def fake(*_: object) -> None:
        begun.set()
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            given_up.set()
            raise

    monkeypatch.setattr(run, "hand_over", fake)
    IMPL.go_on = trio.Event()
    async with (
        program() as (url, _, codes),
        connect(url, Work) as client,
        trio.open_nursery() as calling,
    ):
        calling.start_soon(client.finish_when_told)
        await client.add(1, 2)  # so the call before it has begun
        tell(signal.SIGUSR2)
        await begun.wait()
        tell(signal.SIGTERM)
        with trio.fail_after(4):  # less than the grace
            await given_up.wait()
        assert codes == []
        IMPL.go_on.set()
    assert codes == [0]


async def test_hangup_replaces_the_workers(program: Callable[[], Any]) -> None:
    async with program() as (url, spawning, codes):
        tell(signal.SIGHUP)
        with trio.fail_after(5):
            for number in (1, 2):
                await spawning.tasks[number].wait()
        async with connect(url, Work) as client:
            assert await client.add(1, 2) == 3
        tell(signal.SIGTERM)
    assert codes == [0]
    assert spawning.tasks.keys() == {1, 2, 3, 4}


async def test_a_new_parent_takes_over(
    program: Callable[[], Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked, answers, left = list[int](), [False, True], list[Door]()
    go_on = trio.Event()

    async def fake(doors: Any, number: int, _: str, command: list[str]) -> object:
        assert command == sys.orig_argv[1:]
        asked.append(number)
        left[:] = doors
        await go_on.wait()
        return answers.pop(0) or None

    monkeypatch.setattr(run, "hand_over", fake)
    async with program() as (url, _, codes):
        tell(signal.SIGUSR2)
        tell(signal.SIGUSR2)
        await trio.sleep(0.01)
        tell(signal.SIGUSR2)  # there is one on its way
        await trio.sleep(0.01)
        go_on.set()
        await until(lambda: answers == [True])
        async with connect(url, Work) as client:
            assert await client.add(1, 2) == 3
        tell(signal.SIGUSR2)
    assert (codes, asked) == ([0], [3, 3])
    assert (tmp_path / "s").exists()  # it is the new one's
    left[0].close()


async def test_it_takes_over_itself_and_says_when_all_workers_are_up(
    program: Callable[[], Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (door,) = await open_doors([f"unix://{tmp_path}/s"])
    read, write = os.pipe()
    (number,) = door.descriptors()
    estate = Estate([[os.dup(number)]], 10_003, str(tmp_path / "d"), write)
    monkeypatch.setattr(run, "inherited_estate", lambda: estate)
    async with program() as (_, spawning, codes):
        async with trio.lowlevel.FdStream(read) as told:
            assert await told.receive_some() == b"U"
        assert spawning.tasks.keys() == {10_003, 10_004}
        tell(signal.SIGTERM)
    assert codes == [0]
    door.close()


async def test_one_that_does_not_get_up_leaves_the_files_of_the_old_one(
    monkeypatch: pytest.MonkeyPatch, nursery: trio.Nursery, tmp_path: Path
) -> None:
    def spawner(*args: Any) -> Spawning:
        return Spawning(nursery, Spawner(*args), refuse=True)

    left: list[Door] = []

    async def noted(*args: Any) -> list[Door]:
        left[:] = await open_doors(*args)
        return left

    monkeypatch.setattr(run, "Spawner", spawner)
    monkeypatch.setattr(run, "open_doors", noted)
    url, directory = f"unix://{tmp_path}/s", tmp_path / "d"
    directory.mkdir()
    (door,) = await open_doors([url])
    read, write = os.pipe()
    (number,) = door.descriptors()
    estate = Estate([[os.dup(number)]], 10_003, str(directory), write)
    monkeypatch.setattr(run, "inherited_estate", lambda: estate)
    assert await run_parent(HERE, Serving([url], 5.0, True), 2) == 1
    assert (tmp_path / "s").exists()
    assert directory.exists()
    for each in (*left, door):
        each.close()
    os.close(read)
    os.close(write)


CHILD = """
import json, os, socket
estate = json.loads(os.environ["ROAM_TRIO_TAKE_OVER"])
((number,),) = estate["sockets"]
assert socket.socket(fileno=number).getsockname()[1] == {port}
assert (estate["first"], estate["directory"]) == (10_007, "/d")
{then}
"""


@pytest.mark.parametrize("is_up", [True, False])
async def test_sockets_are_handed_over_to_a_new_process(
    is_up: bool, caplog: pytest.LogCaptureFixture
) -> None:
    doors = await open_doors(["tcp://127.0.0.1:0"])
    then = "os.write(estate['told'], b'U')" if is_up else "raise SystemExit(3)"
    script = CHILD.format(port=doors[0].url[16:], then=then)
    process = await hand_over(doors, 7, "/d", ["-S", "-c", script])
    doors[0].close()
    told = "the new parent did not get up (exit code 3); this one goes on"
    assert (told in caplog.text) is not is_up
    if process is not None:
        await process.wait()
    assert (process is not None) is is_up


@pytest.fixture
def new_processes(monkeypatch: pytest.MonkeyPatch) -> list[trio.Process]:
    """Return the list of the processes that are started from now on."""
    started, start = list[trio.Process](), trio.lowlevel.open_process

    async def noted(*args: Any, **options: Any) -> trio.Process:
        started.append(await start(*args, **options))
        return started[-1]

    monkeypatch.setattr(trio.lowlevel, "open_process", noted)
    return started


HANG = ["-S", "-c", "import time; time.sleep(20)"]


async def test_a_new_process_ends_if_the_old_one_ends_before_it_is_up(
    new_processes: list[trio.Process], nursery: trio.Nursery
) -> None:
    nursery.start_soon(hand_over, [], 7, "/d", HANG)
    await until(lambda: new_processes != [])
    await wait_all_tasks_blocked()
    nursery.cancel_scope.cancel()
    with trio.CancelScope(shield=True), trio.fail_after(5):
        assert await new_processes[0].wait() == -signal.SIGTERM


async def test_no_process_is_started_for_an_old_one_that_ends(
    new_processes: list[trio.Process],
) -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        await hand_over([], 7, "/d", HANG)
    assert scope.cancelled_caught
    assert new_processes == []


async def test_a_new_process_that_does_not_get_up_in_time_ends(
    new_processes: list[trio.Process],
    autojump_clock: MockClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert await hand_over([], 7, "/d", HANG) is None
    assert trio.current_time() == UP_SECONDS
    assert "the new parent was not up within 60 s; this one goes on" in caplog.text
    assert await new_processes[0].wait() == -signal.SIGTERM


async def test_a_new_process_finds_what_it_inherits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read, write = os.pipe()
    copy = os.dup(read)
    os.set_inheritable(copy, True)
    text = f'{{"sockets": [[{copy}]], "first": 5, "directory": "/d", "told": {write}}}'
    monkeypatch.setenv("ROAM_TRIO_TAKE_OVER", text)
    estate = inherited_estate()
    assert estate == Estate([[copy]], 5, "/d", write)
    assert inherited_estate() is None  # nor do its children find it
    assert not os.get_inheritable(copy)
    estate.tell()
    assert os.read(read, 9) == b"U"
    assert os.read(read, 9) == b""
    os.close(read)
    os.close(copy)


async def test_a_process_that_cannot_be_started_takes_nothing_over(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(taking_over.sys, "executable", "/nowhere/python")
    assert await hand_over([], 7, "/d", []) is None
    assert "a new parent cannot be started: " in caplog.text


def test_most_parents_inherit_nothing() -> None:
    assert inherited_estate() is None


# ------------------------------------------------------------ the worker


def test_a_job_is_the_same_after_it_was_an_argument() -> None:
    tls_files = (Path("/c"), None, None)
    serving = Serving(["fd://handed:3"], 2.5, True, tls_files, on_session="shop:ask")
    job = Job(HERE, serving, (LogFormat.JSON, "error"), [3, 4], 5, ("/d", 1), 2**30)
    assert Job.of_text(job.to_text()) == job


async def test_a_worker_drains_on_a_signal(tmp_path: Path) -> None:
    near, far = socket.socketpair()
    control, theirs = socket.socketpair()
    job = Job(
        HERE,
        Serving([f"fd://handed:{far.fileno()}"]),
        (LogFormat.TEXT, "error"),
        [far.fileno()],
        theirs.fileno(),
        (str(tmp_path), 1),
        2**30,
    )
    far.detach(), theirs.detach()
    hand = Hand(near, "tcp://127.0.0.1:1")
    codes: list[int] = []

    async def run_it() -> None:
        codes.append(await run_worker(job.to_text()))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run_it)
        await trio.lowlevel.wait_readable(control)
        tell(signal.SIGTERM)
    assert codes == [0]
    hand.close()
    control.close()


@pytest.mark.slow
async def test_a_process_of_a_worker_serves_and_ends() -> None:
    files = (None, None, None)
    serving = Serving(["tcp://127.0.0.1:1"], 5.0, tls_files=files)
    spawner = Spawner(HERE, serving, (LogFormat.TEXT, "error"), 2**30, "")
    near, far = socket.socketpair()
    control, theirs = socket.socketpair()
    hand = Hand(near, "tcp://127.0.0.1:1")
    with far, theirs:
        child = await spawner(Start(1, 1), [far], theirs)
    await trio.lowlevel.wait_readable(control)
    assert control.recv(9) == READY
    child.terminate()
    assert await child.wait() == 0
    child.kill()  # too late, which is no error
    async with child.output() as output:
        assert await output.receive_some() == b""
    hand.close()
    control.close()


def test_the_verb_of_a_worker_tells_mistakes_in_one_line() -> None:
    job = Job("nowhere:x", Serving([]), (LogFormat.TEXT, "error"), [], -1, ("", 1), 1)
    result = invoke("worker", job.to_text())
    assert result.exit_code == 2
    assert result.stderr.startswith("roam-trio serve: nowhere: there is no such module")


def test_the_verb_runs_a_parent(tmp_path: Path) -> None:
    args = ("--listen", f"unix://{tmp_path}/s", "--workers", 1, "--log-level", "error")
    result = invoke("serve", "tests.cli.workers:nothing", *args)
    assert result.exit_code == 2
    assert "[1] roam-trio serve: tests.cli.workers:nothing: " in result.stderr
