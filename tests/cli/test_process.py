"""The server's process, as the one that starts it sees it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from roam_trio import connect
from roam_trio.demo import process
from roam_trio.demo.errors import ServerFailed
from roam_trio.demo.process import ServerProcess
from roam_trio.demo.service import WordCounter


async def test_server_serves_for_the_length_of_the_block() -> None:
    async with (
        ServerProcess() as server,
        connect(server.url, WordCounter) as client,
    ):
        assert await client.count("two words") == 2
    with pytest.raises(OSError, match="all attempts to connect"):
        async with connect(server.url, WordCounter):
            pass


@pytest.fixture
def start_instead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], None]:
    """Has a shell script started in the server's stead, as if it were Python."""

    def start_instead(script: str) -> None:
        program = tmp_path / "program"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(program))

    return start_instead


async def test_server_that_cannot_be_started_is_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "nothing"))
    with pytest.raises(ServerFailed, match=r"cannot be started: .*No such file"):
        async with ServerProcess():
            pass


async def test_server_that_ends_at_once_is_an_error(
    start_instead: Callable[[str], None],
) -> None:
    start_instead("exit 9")
    with pytest.raises(ServerFailed, match="before it listened, with exit code 9"):
        async with ServerProcess():
            pass


async def test_silent_server_is_given_up(
    start_instead: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    start_instead("read line")
    monkeypatch.setattr(process, "START_SECONDS", 0.05)
    with pytest.raises(ServerFailed, match="did not say where it listens within"):
        async with ServerProcess():
            pass


async def test_server_that_ignores_the_end_of_its_input_is_killed(
    start_instead: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    start_instead(
        "trap '' TERM; echo tcp://127.0.0.1:1; while :; do sleep 0.1; done 2>/dev/null"
    )
    monkeypatch.setattr(process, "END_SECONDS", 0.05)
    with trio.fail_after(20):
        async with ServerProcess() as server:
            assert server.url == "tcp://127.0.0.1:1"


async def test_cancelling_the_start_ends_the_server(
    start_instead: Callable[[str], None],
) -> None:
    # It ends on SIGTERM, and would not on the end of its input.
    start_instead("exec sleep 1000")
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:

            async def start() -> None:
                async with ServerProcess():
                    raise AssertionError("it has not said where it listens")

            nursery.start_soon(start)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
