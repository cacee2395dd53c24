"""The link on a process's own standard input and output."""

from __future__ import annotations

import os
import pty
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trio

from roam_trio.links.base import Link
from roam_trio.links.stdio import take_over
from roam_trio.links.stream import StreamLimits, StreamLink
from roam_trio.testing.link_conformance import CHECKS, Check, LinkUnderTest

from .test_framing import frame

ROOT = Path(__file__).parent.parent.parent

LIMITS = StreamLimits(max_payload=4 * 1024 * 1024, max_unsent_payloads=64)

PROGRAM = """
import sys, trio
from roam_trio.links.stdio import stdio_link

async def echo():
    print("before")
    tx, rx = stdio_link().split()
    print("stray")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tx.pump)
        while (payload := await rx.recv()) is not None:
            (await tx.reserve()).send((payload,))
        await tx.close()
    await rx.close()
    print("after", repr(sys.stdin.read()))
    try:
        stdio_link()
    except RuntimeError as error:
        print(error)

trio.run(echo)
"""


def program(code: str = PROGRAM) -> list[str]:
    return [sys.executable, "-W", "error", "-c", code]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


@pytest.fixture
def fds() -> Iterator[Callable[[int], int]]:
    """Keeps file descriptors until the end of a test, and closes them then."""
    kept: list[int] = []

    def keep(fd: int) -> int:
        kept.append(fd)
        return fd

    yield keep
    for fd in kept:
        os.close(fd)


Keep = Callable[[int], int]


def pipes(keep: Keep) -> tuple[int, int, int, int]:
    """Two pipes: what one end reads from and writes to, and the same of the other."""
    there, back = os.pipe(), os.pipe()
    left, right = (back[0], there[1]), (there[0], back[1])
    for fd in left:
        keep(fd)
    return *left, *right


@pytest.mark.rule("transport.stream.kinds")
@pytest.mark.parametrize("check", CHECKS, ids=str)
@pytest.mark.parametrize("kind", ["pipes", "socket"])
async def test_link_on_two_file_descriptors_passes(
    check: Check, kind: str, fds: Keep
) -> None:
    async def pair() -> tuple[Link, Link]:
        if kind == "socket":
            left, right = socket.socketpair()
            other = trio.SocketStream(trio.socket.from_stdlib_socket(right))
            reads, writes = fds(os.dup(left.fileno())), fds(left.detach())
            return (
                take_over(reads, writes, 2, limits=LIMITS),
                StreamLink(other, limits=LIMITS),
            )
        reads, writes, far_reads, far_writes = pipes(fds)
        left_link = take_over(reads, writes, 2, limits=LIMITS)
        right_link = StreamLink(
            trio.lowlevel.FdStream(far_writes),
            trio.lowlevel.FdStream(far_reads),
            limits=LIMITS,
        )
        return left_link, right_link

    await check(LinkUnderTest(pair, LIMITS.max_payload))


@pytest.mark.rule("transport.stream.kinds")
async def test_program_speaks_on_its_standard_input_and_output() -> None:
    command = program()
    process = await trio.run_process(
        command,
        stdin=frame(b"hello") + frame(b"") + frame(bytes(100_000)),
        capture_stdout=True,
        capture_stderr=True,
        env=environment(),
    )
    # What was printed before belongs to whoever wrote the program: it comes first, and
    # nothing comes between the payloads.
    sent = frame(b"hello") + frame(b"") + frame(bytes(100_000))
    assert process.stdout == b"before\n" + sent
    assert process.stderr.decode().splitlines() == [
        "stray",
        "after ''",
        "a link on standard input and output was already made",
    ]


async def test_pipes_are_given_back_in_blocking_mode(fds: Keep) -> None:
    reads, writes, far_reads, far_writes = pipes(fds)
    shared = fds(os.dup(reads)), fds(os.dup(writes))
    link = take_over(reads, writes, 2)
    assert [os.get_blocking(fd) for fd in shared] == [False, False]
    tx, rx = link.split()
    await tx.close()
    await rx.close()
    assert [os.get_blocking(fd) for fd in shared] == [True, True]
    os.close(far_reads)
    os.close(far_writes)


async def test_standard_streams_stay_usable(fds: Keep) -> None:
    reads, writes, far_reads, far_writes = pipes(fds)
    from_errors, errors = map(fds, os.pipe())
    tx, rx = take_over(reads, writes, errors).split()
    assert os.read(reads, 100) == b""
    os.write(writes, b"stray")
    assert os.read(from_errors, 100) == b"stray"
    await tx.close()
    assert os.read(far_reads, 100) == b""  # closed, though `writes` is still there
    await rx.close()
    os.close(far_reads)
    os.close(far_writes)


async def test_closed_standard_error_is_no_obstacle(fds: Keep) -> None:
    reads, writes, far_reads, far_writes = pipes(fds)
    closed = os.dup(2)
    os.close(closed)
    tx, rx = take_over(reads, writes, closed).split()
    os.write(writes, b"stray")
    await tx.close()
    assert os.read(far_reads, 100) == b""
    await rx.close()
    os.close(far_reads)
    os.close(far_writes)


@pytest.mark.parametrize("which", ["input", "output"])
def test_terminal_is_refused(fds: Keep, which: str) -> None:
    reads, writes, far_reads, far_writes = pipes(fds)
    for fd in (far_reads, far_writes):
        fds(fd)
    _, terminal = map(fds, pty.openpty())
    reads, writes = (terminal, writes) if which == "input" else (reads, terminal)
    with pytest.raises(OSError, match=f"standard {which} is a terminal"):
        take_over(reads, writes, 2)
    assert os.isatty(terminal)


def test_closed_standard_input_is_an_os_error(fds: Keep) -> None:
    reads, writes, far_reads, far_writes = pipes(fds)
    for fd in (far_reads, far_writes):
        fds(fd)
    closed = os.dup(2)
    os.close(closed)
    for wrong in ((closed, writes), (reads, closed)):
        with pytest.raises(OSError, match="Bad file descriptor"):
            take_over(*wrong, 2)


def test_windows_is_refused_with_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "win32")
    with pytest.raises(OSError, match="trio cannot wait for standard input on Windows"):
        take_over(0, 1, 2)
