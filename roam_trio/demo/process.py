"""The server process of the demo, for the process that starts it."""

from __future__ import annotations

import subprocess
import sys
from typing import Self

import trio

from .errors import ServerFailed

__all__ = ["SERVE_COMMAND", "ServerProcess"]

SERVE_COMMAND = "demo-server"
"""The command of this program that the process runs."""

START_SECONDS = 60.0
"""Time limit, in seconds, to start Python and report the URL."""

END_SECONDS = 2.0
"""Time limit, in seconds, to end when asked to, before it is killed."""

LONGEST_URL = 200


class ServerProcess:
    """A server in a separate process, for the length of an ``async with`` block.

    The process ends when its standard input ends, so that it cannot outlive this
    process. Control-C does not reach it: this process handles it, and no user would
    read a traceback of the server.

    Raises:
        ServerFailed: (on entering) it did not start.

    Attributes:
        url: the URL at which it listens.
    """

    def __init__(self) -> None:
        self.url = ""
        self._process: trio.Process | None = None

    async def __aenter__(self) -> Self:
        self._process = await _start()
        try:
            with trio.fail_after(START_SECONDS):
                self.url = await _read_url(self._process)
        except trio.TooSlowError:
            await self._end()
            raise ServerFailed(
                f"the server did not say where it listens within {START_SECONDS:.0f} s"
            ) from None
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(self, *args: object) -> None:
        await self._end()

    async def _end(self) -> None:
        """End the process by closing its input, or kill it."""
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        with trio.CancelScope(shield=True):
            await process.stdin.aclose()
            await process.stdout.aclose()
            if not self.url:  # it does not read its input yet
                process.terminate()
            with trio.move_on_after(END_SECONDS):
                await process.wait()
            if process.returncode is None:
                process.kill()
                with trio.move_on_after(END_SECONDS):
                    await process.wait()


async def _start() -> trio.Process:
    command = [sys.executable, "-m", "roam_trio", SERVE_COMMAND]
    try:
        if sys.platform == "win32":
            return await trio.lowlevel.open_process(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                creationflags=subprocess.CREATE_NEW_PROCESS_GROUP,
            )
        else:  # type checkers leave it out on Windows
            return await trio.lowlevel.open_process(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, process_group=0
            )
    except OSError as error:
        raise ServerFailed(f"the server cannot be started: {error}") from error


async def _read_url(process: trio.Process) -> str:
    """Return the line that the process prints when it listens."""
    assert process.stdout is not None
    line = bytearray()
    while not line.endswith(b"\n") and len(line) < LONGEST_URL:
        data = await process.stdout.receive_some(LONGEST_URL)
        if not data:
            code = await process.wait()
            raise ServerFailed(
                f"the server ended before it listened, with exit code {code}"
            )
        line += data
    return line.decode("ascii", "replace").strip()
