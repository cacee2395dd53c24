"""`spawn`, which makes a client of a program that it starts.

async with spawn(["adder-server"], Adder) as adder:
    assert await adder.add(3, 5) == 8

The program serves ``stdio:``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import TypeVar, overload

from ..limits import DEFAULT_LIMITS, Limits
from ..links.child import DEFAULT_GRACE, SpawnedLink, spawn_link
from ..metadata import MetadataLike
from ..rpc.expected_service import Expected
from ..rpc.handler import Handler
from ..rpc.observer import Observer
from ..service import Middleware
from ..session import (
    ConnectionAcceptor,
    OpenSession,
    Session,
    SessionKeepaliveConfig,
    initiator,
)
from ..session.terms import CANCEL_GRACE
from .connect import Connecting
from .options import SessionOptions, client_defaults, reserved_with

__all__ = ["spawn"]

T = TypeVar("T")


@overload
def spawn(
    command: Sequence[str | os.PathLike[str]],
    service: None = None,
    handler: Handler | Mapping[str, Handler] | None = None,
    *,
    cwd: str | os.PathLike[str] | None = None,
    env: Mapping[str, str] | None = None,
    stderr: int | None = None,
    grace: float = DEFAULT_GRACE,
    max_concurrent_requests: int = 64,
    metadata: MetadataLike = (),
    keepalive: SessionKeepaliveConfig | None = None,
    limits: Limits = DEFAULT_LIMITS,
    strict: bool = False,
    deadlines: bool = True,
    cancel_grace: float = CANCEL_GRACE,
    max_waiting: int | None = None,
    on_connection: ConnectionAcceptor | None = None,
    middleware: Iterable[Middleware] = (),
    metadata_for_calls: MetadataLike = (),
    observer: Observer | None = None,
    reflection: bool = False,
) -> Connecting[Session]: ...
@overload
def spawn(
    command: Sequence[str | os.PathLike[str]],
    service: Callable[..., T],
    handler: Handler | Mapping[str, Handler] | None = None,
    *,
    cwd: str | os.PathLike[str] | None = None,
    env: Mapping[str, str] | None = None,
    stderr: int | None = None,
    grace: float = DEFAULT_GRACE,
    max_concurrent_requests: int = 64,
    metadata: MetadataLike = (),
    keepalive: SessionKeepaliveConfig | None = None,
    limits: Limits = DEFAULT_LIMITS,
    strict: bool = False,
    deadlines: bool = True,
    cancel_grace: float = CANCEL_GRACE,
    max_waiting: int | None = None,
    on_connection: ConnectionAcceptor | None = None,
    middleware: Iterable[Middleware] = (),
    metadata_for_calls: MetadataLike = (),
    observer: Observer | None = None,
    reflection: bool = False,
) -> Connecting[T]: ...
def spawn(
    command: Sequence[str | os.PathLike[str]],
    service: Callable[..., T] | None = None,
    handler: Handler | Mapping[str, Handler] | None = None,
    *,
    cwd: str | os.PathLike[str] | None = None,
    env: Mapping[str, str] | None = None,
    stderr: int | None = None,
    grace: float = DEFAULT_GRACE,
    max_concurrent_requests: int = 64,
    metadata: MetadataLike = (),
    keepalive: SessionKeepaliveConfig | None = None,
    limits: Limits = DEFAULT_LIMITS,
    strict: bool = False,
    deadlines: bool = True,
    cancel_grace: float = CANCEL_GRACE,
    max_waiting: int | None = None,
    on_connection: ConnectionAcceptor | None = None,
    middleware: Iterable[Middleware] = (),
    metadata_for_calls: MetadataLike = (),
    observer: Observer | None = None,
    reflection: bool = False,
) -> Connecting[T] | Connecting[Session]:
    """Start a program that serves ``stdio:``, for the length of a block.

    As with `connect`, the block gets a client of a service, or the `Session`. The end
    of the program ends the session, and the end of the block ends the program: its
    input is closed, and if it does not exit, it is terminated, then killed. Only this
    process is ended, and not the processes that it starts, so a shell script should
    ``exec`` its server. Its standard error passes through.

    Args:
        command: the program and its arguments; no shell is involved.
        service: the class of the service; the type of the client.
        handler: answers calls of the program.
        cwd: the directory in which it starts; None for that of this process.
        env: its environment; None for that of this process.
        stderr: its standard error, as for `subprocess.Popen`.
        grace: number of seconds that it may take to exit after its input was closed,
            and again after it was terminated.
        max_concurrent_requests: see `connect`.
        metadata: metadata of the handshake.
        keepalive: when to ping the program; None for never.
        limits: bounds on what the program can make this side hold.
        strict: see `connect`.
        deadlines: see `connect`.
        cancel_grace: see `connect`.
        max_waiting: see `connect`.
        on_connection: see `connect`; so are the rest.
        middleware: wraps the calls that this side makes.
        metadata_for_calls: metadata of each of these calls.
        observer: is told what becomes of the session.
        reflection: offer ``reflection`` and ``health`` to the program, for what
            `handler` offers; see `serve`.

    Raises:
        ValueError: an option is out of range, or there is no command.
        TypeError: `command` is not a list, `service` is not a service, or `handler` is
            not a `Handler`.
        OSError: (on entering) the program cannot be started.
        SessionError: (on entering) the handshake failed. A note has the exit code.
        IncompatibleService: (on entering) the program serves another version of
            `service`, and calls cannot be translated.
    """
    options = SessionOptions(
        handler,
        max_concurrent_requests,
        metadata,
        keepalive,
        limits,
        strict,
        deadlines=deadlines,
        cancel_grace=cancel_grace,
        max_waiting=max_waiting,
        on_connection=on_connection,
        observer=observer,
        reserved=reserved_with(reflection),
    )
    defaults = client_defaults(middleware, metadata_for_calls)

    def program() -> SpawnedLink:
        return spawn_link(
            command,
            cwd=cwd,
            env=env,
            stderr=stderr,
            grace=grace,
            limits=options.stream_limits,
        )

    program()  # raises errors of the arguments

    async def open_session(expected: Expected | None) -> _SessionWithProgram:
        return _SessionWithProgram(program(), options, expected)

    return Connecting.to(open_session, service, defaults)


class _SessionWithProgram:
    """A session with a program that runs as long as the session."""

    def __init__(
        self,
        program: SpawnedLink,
        options: SessionOptions,
        expected: Expected | None,
    ) -> None:
        self._program = program
        self._options = options
        self._expected = expected
        self._session: OpenSession | None = None

    async def __aenter__(self) -> Session:
        link = await self._program.__aenter__()
        options = self._options
        try:
            expected = self._expected
            builder = initiator(link, expected=expected, **options.for_builder)
            self._session = builder.open(options.root_handler)
            return await self._session.__aenter__()
        except BaseException as error:
            await self._program.__aexit__(type(error), error, error.__traceback__)
            raise

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._session is not None
        try:
            await self._session.__aexit__(exc_type, exc, traceback)
        finally:
            await self._program.__aexit__(exc_type, exc, traceback)
