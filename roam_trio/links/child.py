"""A link to a child process, on its standard input and output."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Final

import trio

from ..peers import Peer
from .base import Link
from .stream import StreamLimits, StreamLink

__all__ = ["DEFAULT_GRACE", "SpawnedLink", "spawn_link"]

DEFAULT_GRACE: Final = 5.0


def spawn_link(
    command: Sequence[str | os.PathLike[str]],
    *,
    cwd: str | os.PathLike[str] | None = None,
    env: Mapping[str, str] | None = None,
    stderr: int | None = None,
    grace: float = DEFAULT_GRACE,
    limits: StreamLimits | None = None,
) -> SpawnedLink:
    """Start a program, with a link on its standard input and output.

    ``async with spawn_link(["adder-server"]) as link:`` runs it for the length of the
    block. At the end of the block its input is closed. If it does not exit within
    `grace` seconds, it is terminated, and after another `grace` seconds it is killed.
    If the block is cancelled, it is killed at once. In each case, the program has ended
    and its exit code was collected when the block is left. Only this process is ended,
    and not the processes that it starts. Its standard error passes through.

    Args:
        command: the program and its arguments; no shell is involved.
        cwd: the directory in which it starts; None for that of this process.
        env: its environment; None for that of this process.
        stderr: its standard error, as for `subprocess.Popen`; `subprocess.DEVNULL`
            discards it.
        grace: in seconds.
        limits: bounds of the link.

    Raises:
        TypeError: the command is a text, and not a list.
        ValueError: there is no command, or `grace` is negative.
        OSError: (on entering) the program cannot be started.
    """
    if isinstance(command, str | bytes):
        raise TypeError(
            f"expected a command as a list, such as {shlex.split(str(command))}, "
            f"got {command!r}"
        )
    if not command:
        raise ValueError("expected a command, got an empty list")
    if not grace >= 0:
        raise ValueError(f"grace: expected a number of seconds from 0, got {grace!r}")
    return SpawnedLink(
        [os.fspath(each) for each in command], cwd, env, stderr, grace, limits
    )


class SpawnedLink:
    """A program and the link to it, for the length of a block; see `spawn_link`."""

    def __init__(
        self,
        command: Sequence[str],
        cwd: str | os.PathLike[str] | None,
        env: Mapping[str, str] | None,
        stderr: int | None,
        grace: float,
        limits: StreamLimits | None,
    ) -> None:
        self._command = command
        self._cwd = cwd
        self._env = env
        self._stderr = stderr
        self._grace = grace
        self._limits = limits
        self._process: trio.Process | None = None

    @property
    def returncode(self) -> int | None:
        """The exit code, as in `subprocess.Popen`; None while the program runs."""
        return None if self._process is None else self._process.returncode

    async def __aenter__(self) -> Link:
        if self._process is not None:
            raise RuntimeError("this program was already started; spawn another")
        process = self._process = await trio.lowlevel.open_process(
            list(self._command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            cwd=self._cwd,
            env=self._env,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        peer = Peer("stdio", f"process {process.pid}, {self._command[0]}")
        return StreamLink(process.stdin, process.stdout, limits=self._limits, peer=peer)

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._process is not None
        process = self._process
        try:
            await _close_pipes(process)
            await self._wait_for_end(process)
        finally:
            with trio.CancelScope(shield=True):  # a killed process ends at once
                process.kill()
                await process.wait()
            if exc is not None:
                with suppress(Exception):  # frozen classes refuse notes
                    exc.add_note(
                        f"{shlex.join(self._command)} has ended: exit code "
                        f"{process.returncode}"
                    )

    async def _wait_for_end(self, process: trio.Process) -> None:
        with trio.move_on_after(self._grace):
            await process.wait()
        if process.returncode is None:
            process.terminate()
            with trio.move_on_after(self._grace):
                await process.wait()

    def __repr__(self) -> str:
        state = "not started"
        if self._process is not None:
            code = self._process.returncode
            state = "running" if code is None else f"ended: exit code {code}"
        return f"<SpawnedLink of {shlex.join(self._command)}, {state}>"


async def _close_pipes(process: trio.Process) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        await trio.aclose_forcefully(process.stdin)
    finally:  # both are closed even if this is cancelled
        await trio.aclose_forcefully(process.stdout)
