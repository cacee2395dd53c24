"""A program runs until it is done, or until a signal stops it."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest
import trio

from roam_trio.cli.until_signal import run_until_signal


async def return_7() -> int:
    return 7


async def sleep() -> int:
    await trio.sleep_forever()


def test_result_of_the_program_is_returned() -> None:
    assert run_until_signal(return_7) == 7


@pytest.mark.parametrize(
    ("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)]
)
def test_signal_cancels_the_program(signum: signal.Signals, code: int) -> None:
    ended: list[str] = []

    async def main() -> int:
        try:
            signal.raise_signal(signum)
            return await sleep()
        finally:
            ended.append("in order")

    assert run_until_signal(main) == code
    assert ended == ["in order"]


TWICE = """
import signal, trio
from roam_trio.cli.until_signal import run_until_signal

async def main():
    try:
        signal.raise_signal(signal.SIGINT)
        await trio.sleep_forever()
    finally:
        signal.raise_signal(signal.SIGINT)
        print("never")

run_until_signal(main)
"""


def test_second_signal_while_ending_leaves_at_once() -> None:
    done = subprocess.run(
        [sys.executable, "-c", TWICE], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")


def test_error_of_the_program_is_raised() -> None:
    async def main() -> int:
        raise ValueError("a mistake")

    with pytest.RaisesGroup(ValueError):
        run_until_signal(main)


def test_error_while_being_stopped_is_not_raised() -> None:
    async def main() -> int:
        signal.raise_signal(signal.SIGINT)
        try:
            return await sleep()
        finally:
            raise ValueError("nobody wants to know any more")

    assert run_until_signal(main) == 130


def test_handlers_are_put_back() -> None:
    before = [signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)]
    run_until_signal(return_7)
    after = [signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)]
    assert after == before
