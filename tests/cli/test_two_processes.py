"""The demo as a program: how its two processes end, and what memory they take.

A child shares its parent's standard error, so that reading it to the end waits for
both: no test here ends with one of them left.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

TIMEOUT = 60


class Demo:
    """A demo that streams a pipe which never ends."""

    def __init__(self, pipe: Path) -> None:
        os.mkfifo(pipe)
        # Open for both, so that neither side waits for the other.
        self._writer = os.open(pipe, os.O_RDWR)
        os.write(self._writer, b"the first line, and no last one\n")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "roam_trio", "demo", pipe],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            process_group=0,
        )

    def wait_for(self, line: str) -> None:
        """Wait until it shows a line."""
        assert self.process.stdout is not None
        for shown in self.process.stdout:
            if shown == line + "\n":
                return
        raise AssertionError(f"it has ended without showing {line!r}")

    def end(self) -> tuple[int, str]:
        """Wait until both processes have ended: the exit code, and what they said."""
        _, said = self.process.communicate(timeout=TIMEOUT)
        return self.process.returncode, said

    def close(self) -> None:
        os.close(self._writer)
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.communicate(timeout=TIMEOUT)


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    demo = Demo(tmp_path / "pipe")
    yield demo
    demo.close()


def interrupt_group(demo: Demo) -> None:
    os.killpg(demo.process.pid, signal.SIGINT)


def interrupt_parent(demo: Demo) -> None:
    demo.process.send_signal(signal.SIGINT)


def terminate_parent(demo: Demo) -> None:
    demo.process.terminate()


@pytest.mark.parametrize(
    ("stop", "code"),
    [
        (interrupt_group, 130),
        pytest.param(interrupt_parent, 130, marks=pytest.mark.slow),
        pytest.param(terminate_parent, 143, marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize(
    "step",
    [
        "streaming texts",
        pytest.param("starting a server process", marks=pytest.mark.slow),
    ],
)
def test_signal_ends_both_processes_without_a_word(
    demo: Demo, stop: Callable[[Demo], None], code: int, step: str
) -> None:
    demo.wait_for(step)
    stop(demo)
    assert demo.end() == (code, "")


@pytest.mark.parametrize(
    "step",
    [
        "streaming texts",
        pytest.param("starting a server process", marks=pytest.mark.slow),
    ],
)
def test_server_ends_when_its_parent_is_killed(demo: Demo, step: str) -> None:
    demo.wait_for(step)
    demo.process.kill()
    code, _ = demo.end()
    assert code == -signal.SIGKILL


def test_output_that_nobody_reads_ends_the_demo() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "roam_trio", "demo"],
            stdin=subprocess.DEVNULL,
            stdout=writer,
            stderr=subprocess.PIPE,
            text=True,
            timeout=TIMEOUT,
        )
    finally:
        os.close(writer)
    assert done.returncode == 1
    assert done.stderr == "roam_trio demo: standard output: nobody reads it\n"


# A process of its own, since a child's peak begins with that of the process it was
# forked from. What a process has used includes the children it has waited for.
MEASURE = """if True:
    import os, sys
    nowhere = (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)
    pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=[nowhere])
    _, status, usage = os.wait4(pid, 0)
    print(os.waitstatus_to_exitcode(status), usage.ru_maxrss)
"""


def peak_memory(text: Path) -> int:
    """The most memory that either process of a demo takes, in the system's unit."""
    demo = [sys.executable, "-m", "roam_trio", "demo", "--calls", "10", str(text)]
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, *demo],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        timeout=5 * TIMEOUT,
        check=True,
    )
    code, peak = map(int, done.stdout.split())
    assert code == 0
    return peak


@pytest.mark.slow
@pytest.mark.parametrize(
    ("line", "megabytes"),
    [(b"a line of eight words, give or take\n", 8), (b"x" * 1024, 32)],
    ids=["many lines", "no lines"],
)
def test_memory_does_not_grow_with_the_text(
    tmp_path: Path, line: bytes, megabytes: int
) -> None:
    small, large = tmp_path / "small", tmp_path / "large"
    small.write_bytes(line)
    large.write_bytes(line * (megabytes * 1024 * 1024 // len(line)))
    assert peak_memory(large) < 1.3 * peak_memory(small)
