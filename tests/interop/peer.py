"""A peer in another language as a process, and the ways to meet it."""

from __future__ import annotations

import itertools
import os
import subprocess
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

import attrs
import trio

from roam_trio import Handler, Server, Session, connect, serve

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

__all__ = ["Meeting", "PeerProcess", "Place", "meet"]

PATIENCE = 300.0
"""Number of seconds the peer may take for what takes it well under one."""


class PeerProcess:
    """A process of a peer; see `rust_peer/src/main.rs` and `ts_peer/src/main.ts` for
    its arguments.

    It is killed at the end of the block, if it has not ended by then; `wait` is for
    those that call. It has failed when it panics, except in handlers that are to.

    Attributes:
        url: where it listens, if it does.
        said: the lines that it wrote, once `wait` has returned.
    """

    def __init__(self, executable: Path, *arguments: str) -> None:
        self._command = [str(executable), *arguments]
        self._process: trio.Process | None = None
        self.url = ""
        self.said: list[str] = []

    async def __aenter__(self) -> Self:
        self._process = await trio.lowlevel.open_process(
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "RUST_BACKTRACE": "0"},
        )
        if "listen" in self._command or "proxy" in self._command:
            try:
                with trio.fail_after(PATIENCE):
                    self.url = (await self.read_line()).removeprefix("listening ")
            except BaseException as error:
                await self.__aexit__(type(error), error, error.__traceback__)
                raise
        return self

    @property
    def process(self) -> trio.Process:
        """The process that runs."""
        assert self._process is not None
        return self._process

    async def read_line(self) -> str:
        """Wait for the next line that it writes."""
        assert self.process.stdout is not None
        line = b""
        while not line.endswith(b"\n"):
            some = await self.process.stdout.receive_some(1)
            assert some, "the peer ended before it wrote a line"
            line += some
        return line.decode().strip()

    async def wait(self) -> list[str]:
        """Wait until it has ended well: the lines that it wrote."""
        assert self.process.stdout is not None
        with trio.fail_after(PATIENCE):
            text = b"".join([some async for some in self.process.stdout])
            code = await self.process.wait()
        self.said = text.decode(errors="replace").splitlines()
        assert code == 0, f"exit code {code}; it wrote {self.said}"
        return self.said

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        process = self.process
        with trio.CancelScope(shield=True):
            process.kill()
            await process.wait()
            assert process.stdout is not None
            assert process.stderr is not None
            await process.stdout.aclose()
            async with process.stderr as stderr:
                wrote = b"".join([some async for some in stderr])
            if self.url.startswith("unix://"):
                # Who is killed leaves its socket lying about.
                socket = trio.Path(self.url.removeprefix("unix://"))
                await socket.unlink(missing_ok=True)
        errors = wrote.decode(errors="replace")
        name = " ".join([Path(self._command[0]).name, *self._command[1:]])
        if exc is not None:
            exc.add_note(f"{name} wrote: {errors or 'nothing'}")
        elif errors.count("panicked") > errors.count("on purpose"):
            raise AssertionError(f"{name} has panicked: {errors}")


@attrs.frozen
class Place:
    """Where the two meet, and who comes first.

    Attributes:
        executable: the peer.
        language: the name that the peer gives itself.
        transport: the scheme of the URL.
        folder: for the files of sockets.
        role: the role of the Python side, which listens if it is the acceptor.
    """

    executable: Path
    language: str
    transport: str
    folder: Path
    role: Literal["initiator", "acceptor"]
    _numbers: itertools.count[int] = attrs.field(factory=itertools.count)

    def address(self) -> str:
        """A new URL to listen at."""
        match self.transport:
            case "unix":
                return f"unix://{self.folder}/{next(self._numbers)}.sock"
            case "ws":
                return "ws://127.0.0.1:0/"
            case transport:
                return f"{transport}://127.0.0.1:0"

    def peer(self, *arguments: str) -> PeerProcess:
        """A peer of these arguments."""
        return PeerProcess(self.executable, *arguments)


@attrs.frozen
class Meeting:
    """A peer, and the session with it.

    Attributes:
        peer: the peer.
    """

    peer: PeerProcess
    _session: Session | Server

    async def session(self) -> Session:
        """The session on the Python side, once it is there."""
        if isinstance(self._session, Session):
            return self._session
        with trio.fail_after(PATIENCE):
            while True:
                if self._session.sessions:
                    return self._session.sessions[0]
                await trio.sleep(0.005)


@asynccontextmanager
async def meet(
    place: Place,
    verb: Literal["serve", "call"],
    *arguments: str,
    handler: Handler | Mapping[str, Handler],
    **options: Any,
) -> AsyncGenerator[Meeting]:
    """Start the peer, and begin a session between it and this process.

    Args:
        place: where.
        verb: what the peer does there; it is handed the arguments.
        handler: answers its calls.
        options: of `connect` or `serve`.
    """
    if place.role == "initiator":
        async with (
            place.peer(verb, "listen", place.address(), *arguments) as peer,
            connect(peer.url, handler=handler, **options) as session,
        ):
            yield Meeting(peer, session)
        return
    async with trio.open_nursery() as nursery:
        serving = partial(serve, place.address(), handler, **options)
        server: Server = await nursery.start(serving)
        async with place.peer(verb, "dial", server.url, *arguments) as peer:
            yield Meeting(peer, server)
        nursery.cancel_scope.cancel()
