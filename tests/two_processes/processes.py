"""The processes beside the one that runs the tests."""

from __future__ import annotations

import functools
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import trio

if TYPE_CHECKING:
    from typing import Self

__all__ = [
    "INTERRUPTED",
    "NO_LIMIT",
    "ClientProcess",
    "ListeningProcess",
    "ServerProcess",
    "within",
]

P = ParamSpec("P")
T = TypeVar("T")

INTERRUPTED = 128 + signal.SIGINT
"""The exit code of a server that Control-C has ended, as shells have it."""

NO_LIMIT = 1000.0
"""For time limits: so many seconds that a test fails which is ended by one."""

_ROOT = Path(__file__).parent.parent.parent

_PATIENCE = 60.0
"""Number of seconds a process may take to do what takes well under one; where this
passes, it would have taken for ever."""


def within(
    seconds: float,
) -> Callable[[Callable[P, Awaitable[T]]], Callable[P, Awaitable[T]]]:
    """Make a test that hangs fail instead: no other process can be trusted."""

    def guard(test: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
        @functools.wraps(test)
        async def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
            with trio.fail_after(seconds):
                return await test(*args, **kwargs)

        return guarded

    return guard


class _ChildProcess:
    """A module of this package, run for the length of an ``async with`` block.

    It gets no signals of a terminal's. Leaving the block ends and reaps it; unless
    there is an exception already, it is then an error if it ended in another way than
    was to be expected, or if it wrote anything on standard error.
    """

    def __init__(self, *arguments: str, env: Mapping[str, str] | None = None) -> None:
        self._arguments = arguments
        self._env = env
        self._process: trio.Process | None = None
        self._expected_code = 0

    @property
    def process(self) -> trio.Process:
        """The process that runs."""
        assert self._process is not None
        return self._process

    async def __aenter__(self) -> Self:
        self._process = await trio.lowlevel.open_process(
            # Whatever is worth a warning there is worth a failed test here.
            [sys.executable, "-W", "error", "-m", *self._arguments],
            cwd=_ROOT,
            env=self._env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with trio.CancelScope(shield=True):
            code, errors = await self._end(kill=exc is not None)
            name = " ".join(self._arguments)
            said = f"it wrote: {errors}" if errors else "it wrote nothing"
            if exc is not None:
                exc.add_note(f"{name}: exit code {code}; {said}")
            elif errors or code != self._expected_code:
                expected = f"expected {self._expected_code} and nothing written"
                raise AssertionError(f"{name}: {expected}; exit code {code}; {said}")

    async def _end(self, *, kill: bool) -> tuple[int, str]:
        """The exit code, and what it wrote on standard error.

        Nobody reads that before: a process that writes more than a pipe takes waits,
        and is killed.
        """
        process = self.process
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        await process.stdin.aclose()
        with trio.move_on_after(0 if kill else _PATIENCE):
            await process.wait()
        process.kill()
        code = await process.wait()
        await process.stdout.aclose()
        async with process.stderr as stderr:
            return code, b"".join([some async for some in stderr]).decode()

    async def kill(self) -> None:
        """End it as the system does when memory is short."""
        self._expected_code = -signal.SIGKILL
        self.process.kill()
        await self.process.wait()


class ListeningProcess(_ChildProcess):
    """A process that prints where it listens, and ends when its input does.

    Attributes:
        url: where it listens.
    """

    def __init__(self, *arguments: str) -> None:
        super().__init__(*arguments)
        self.url = ""

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        try:
            with trio.fail_after(_PATIENCE):
                self.url = await self._read_line()
        except BaseException as error:
            await self.__aexit__(type(error), error, error.__traceback__)
            raise
        return self

    async def _read_line(self) -> str:
        assert self.process.stdout is not None
        line = b""
        while not line.endswith(b"\n"):
            some = await self.process.stdout.receive_some()
            assert some, "the server ended before it listened"
            line += some
        return line.decode("ascii").strip()

    async def interrupt(self) -> None:
        """Press Control-C, and wait for its end."""
        self._expected_code = INTERRUPTED
        self.process.send_signal(signal.SIGINT)
        await self.process.wait()

    async def end(self) -> None:
        """Let it end by itself, and wait for that."""
        assert self.process.stdin is not None
        await self.process.stdin.aclose()
        await self.process.wait()


class ServerProcess(ListeningProcess):
    """A process that serves `Workshop`.

    Args:
        listens_at: its URL.
        certificate: a file with its certificate and key, for a URL with TLS.
        close_seconds: `Limits.close_seconds` of its sessions.
    """

    def __init__(
        self,
        listens_at: str = "tcp://127.0.0.1:0",
        certificate: str = "",
        *,
        close_seconds: float = NO_LIMIT,
    ) -> None:
        super().__init__(
            "tests.two_processes.server", str(close_seconds), listens_at, certificate
        )


class ClientProcess(_ChildProcess):
    """A process that is a client of a server, and is to be killed."""

    def __init__(self, url: str, env: Mapping[str, str]) -> None:
        super().__init__("tests.two_processes.client", url, env=env)
