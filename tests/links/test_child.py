"""Links to programs that are started for them, and what is left of those."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import trio

from roam_trio.errors import LinkError
from roam_trio.links.base import Link
from roam_trio.links.child import SpawnedLink, spawn_link
from roam_trio.links.local import LocalListener
from roam_trio.links.stream import StreamLimits
from roam_trio.testing.link_conformance import CHECKS, Check, LinkUnderTest

RELAY = Path(__file__).parent / "relay.py"

LIMITS = StreamLimits(max_payload=4 * 1024 * 1024, max_unsent_payloads=64)


def python(code: str, **options: Any) -> SpawnedLink:
    """A program in a line."""
    return spawn_link([sys.executable, "-S", "-E", "-c", code], **options)


@pytest.mark.parametrize(
    "check",
    [
        pytest.param(
            check, marks=pytest.mark.rule(*check.rules, "transport.stream.kinds")
        )
        for check in CHECKS
    ],
    ids=str,
)
async def test_link_to_a_program_passes(check: Check, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:

        async def pair() -> tuple[Link, Link]:
            listener = await LocalListener.bind(str(tmp_path / "socket"))
            command = [sys.executable, "-S", "-E", RELAY, listener.address]
            left = await stack.enter_async_context(spawn_link(command, limits=LIMITS))
            right = await listener.accept(limits=LIMITS)
            listener.close()
            return left, right

        await check(LinkUnderTest(pair, LIMITS.max_payload))


async def test_program_that_ends_ends_the_link() -> None:
    async with python("") as link:
        tx, rx = link.split()
        assert await rx.recv() is None
        await tx.close()
        await rx.close()


async def test_payload_that_was_cut_off_is_an_error() -> None:
    async with python("import os; os.write(1, b'\\x09\\0\\0\\0half')") as link:
        _, rx = link.split()
        with pytest.raises(LinkError, match="4 of 9 bytes"):
            await rx.recv()


async def test_end_of_the_block_is_the_end_of_the_programs_input() -> None:
    spawned = python("import os; os.read(0, 1); os._exit(7)")
    assert repr(spawned).endswith("not started>")
    async with spawned:
        assert repr(spawned).endswith("running>")
    assert repr(spawned).endswith("ended: exit code 7>")
    with pytest.raises(RuntimeError, match="spawn another"):
        await spawned.__aenter__()


STUBBORN = "import os, signal, time; os.write(1, b'\\x02\\0\\0\\0up'); "


async def test_program_that_goes_on_is_asked_to_terminate() -> None:
    spawned = python(f"{STUBBORN} time.sleep(1000)", grace=0.05)
    async with spawned as link:
        assert await link.split()[1].recv() == b"up"
    assert spawned.returncode == -signal.SIGTERM


async def test_program_that_does_not_terminate_is_killed() -> None:
    ignore = "signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    code = f"import signal; {ignore} {STUBBORN} time.sleep(1000)"
    spawned = python(code, grace=0.05)
    async with spawned as link:
        assert await link.split()[1].recv() == b"up"
    assert spawned.returncode == -signal.SIGKILL


async def test_cancelled_block_kills_the_program_at_once() -> None:
    spawned = python(f"{STUBBORN} time.sleep(1000)", grace=1000)
    with trio.CancelScope() as scope:
        async with spawned as link:
            assert await link.split()[1].recv() == b"up"
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert spawned.returncode == -signal.SIGKILL


async def test_waiting_for_the_end_can_be_cancelled() -> None:
    spawned = python(f"{STUBBORN} time.sleep(1000)", grace=1000)
    with trio.move_on_after(0.05) as scope:
        async with spawned as link:
            assert await link.split()[1].recv() == b"up"
            scope.deadline = trio.current_time() + 0.05
    assert scope.cancelled_caught
    assert spawned.returncode == -signal.SIGKILL


async def test_what_the_program_has_started_outlives_it() -> None:
    code = (
        "import os, time; pid = os.fork(); pid or time.sleep(1000); "
        "os.write(1, b'\\4\\0\\0\\0' + pid.to_bytes(4, 'little')); os.read(0, 1)"
    )
    async with python(code) as link:
        payload = await link.split()[1].recv()
        assert payload is not None
    started = int.from_bytes(payload, "little")
    os.kill(started, signal.SIGKILL)  # an error if it were gone


async def test_error_of_the_block_tells_how_the_program_ended() -> None:
    error = ValueError("mine")
    with pytest.raises(ValueError, match="mine") as caught:
        async with python("import os; os.read(0, 1); os._exit(3)"):
            raise error
    assert caught.value is error
    (note,) = error.__notes__
    assert note.startswith(sys.executable)
    assert note.endswith("has ended: exit code 3")


async def test_program_gets_what_it_was_given(tmp_path: Path) -> None:
    code = (
        "import os; said = os.getcwd() + ' ' + os.environ['WORD']; "
        "os.write(1, len(said).to_bytes(4, 'little') + said.encode())"
    )
    async with python(code, cwd=tmp_path, env={"WORD": "hello"}) as link:
        assert await link.split()[1].recv() == f"{tmp_path} hello".encode()


async def test_what_it_writes_to_standard_error_passes_through(
    capfd: pytest.CaptureFixture[str],
) -> None:
    async with python("import os; os.write(2, b'a warning')"):
        pass
    assert capfd.readouterr().err == "a warning"
    async with python("import os; os.write(2, b'x')", stderr=subprocess.DEVNULL):
        pass
    assert capfd.readouterr().err == ""


async def test_command_that_does_not_exist_is_an_os_error() -> None:
    with pytest.raises(FileNotFoundError, match="no-such-program"):
        async with spawn_link(["/no-such-program"]):
            raise AssertionError


@pytest.mark.parametrize(
    ("command", "options", "kind", "problem"),
    [
        ("adder --serve", {}, TypeError, r"such as \['adder', '--serve'\], got 'adder"),
        ([], {}, ValueError, "expected a command, got an empty list"),
        (["adder"], {"grace": -1}, ValueError, "grace: expected a number of seconds"),
    ],
)
def test_wrong_command_is_refused(
    command: Any, options: dict[str, Any], kind: type[Exception], problem: str
) -> None:
    with pytest.raises(kind, match=problem):
        spawn_link(command, **options)


async def test_no_pipe_of_ours_is_inherited_by_another_program() -> None:
    ls = "import os; found = ' '.join(os.listdir('/proc/self/fd')); os.write(1, "
    ls += "len(found).to_bytes(4, 'little') + found.encode())"
    if not os.path.exists("/proc/self/fd"):  # noqa: ASYNC240
        pytest.skip("this system has no /proc")
    async with python("import os; os.read(0, 1)"), python(ls) as link:
        payload = await link.split()[1].recv()
    assert payload is not None
    assert {int(fd) for fd in payload.split()} <= {0, 1, 2, 3}


async def test_error_of_the_block_that_refuses_notes_comes_out_as_itself() -> None:
    class Frozen(Exception):
        def __setattr__(self, name: str, value: object) -> None:
            raise AttributeError(f"{name} was set")

    error = Frozen("mine")
    with pytest.raises(Frozen) as caught:
        async with python("import os; os.read(0, 1)"):
            raise error
    assert caught.value is error
