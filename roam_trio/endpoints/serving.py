"""`serving`, which runs a server for the length of a block.

async with serving("tcp://127.0.0.1:0", dispatcher(Adder, Impl())) as server:
    print(server.url)
"""

from __future__ import annotations

import signal
import ssl
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Mapping,
    Sequence,
)
from contextlib import ExitStack
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, cast

import trio

from ..conduits.base import ConduitAcceptor
from ..limits import DEFAULT_LIMITS, Limits
from ..logs import Log
from ..metadata import MetadataLike
from ..quantities import check_seconds
from ..rpc.failure_metadata import TellFailures
from ..rpc.handler import Handler
from ..rpc.observer import Observer
from ..running import check_trio_runs
from ..service import Middleware
from ..session import ConnectionAcceptor, OnSession, SessionKeepaliveConfig
from ..session.keepalive import SERVER_KEEPALIVE
from ..session.open_session import has_cancelled, tell_beside
from ..session.terms import CANCEL_GRACE
from ..transports import ListeningSocket
from ..wire.messages import Message
from .announcing import Announcement
from .serve import serve
from .server import Server

if TYPE_CHECKING:
    from ..links.resuming.siblings import Siblings

__all__ = ["Serving", "serving"]

logger = Log("roam_trio.serve")


def serving(
    url: str | Sequence[str] | ConduitAcceptor[Message] | None,
    handler: Handler | Mapping[str, Handler],
    *,
    sockets: Iterable[ListeningSocket] = (),
    max_concurrent_requests: int = 64,
    metadata: MetadataLike = (),
    keepalive: SessionKeepaliveConfig | None = SERVER_KEEPALIVE,
    limits: Limits = DEFAULT_LIMITS,
    strict: bool = False,
    deadlines: bool = True,
    cancel_grace: float = CANCEL_GRACE,
    tell_failures: TellFailures = "code",
    max_waiting: int | None = None,
    ssl_context: ssl.SSLContext | None = None,
    origins: Sequence[str] = (),
    max_sessions: int = 1024,
    max_sessions_per_peer: int | None = None,
    memory: int | None = None,
    tasks: int = 65_536,
    resume: bool | Siblings = False,
    on_session: OnSession | None = None,
    on_connection: ConnectionAcceptor | None = None,
    middleware: Iterable[Middleware] = (),
    observer: Observer | None = None,
    busy_poll: float | None = None,
    schemas: bool = True,
    reflection: bool = False,
    statistics: bool = False,
    announce: Announcement | Iterable[Announcement] = (),
    grace: float = 0.0,
    drain_on: Iterable[signal.Signals] = (),
) -> Serving:
    """Serve clients for the length of an ``async with`` block, which gets the `Server`.

    Leaving the block shuts the server down. An exception of the block passes through
    unchanged. If the server fails, the block is cancelled, and the error of the server
    is raised, by itself and not in a group.

    Args:
        url: see `serve`.
        handler: see `serve`.
        sockets: see `serve`.
        max_concurrent_requests: see `serve`.
        metadata: see `serve`.
        keepalive: see `serve`.
        limits: see `serve`.
        strict: see `serve`.
        deadlines: see `serve`.
        cancel_grace: see `serve`.
        tell_failures: see `serve`.
        max_waiting: see `serve`.
        ssl_context: see `serve`.
        origins: see `serve`.
        max_sessions: see `serve`.
        max_sessions_per_peer: see `serve`.
        memory: see `serve`.
        tasks: see `serve`.
        resume: see `serve`.
        on_session: see `serve`.
        on_connection: see `serve`.
        middleware: see `serve`.
        observer: see `serve`.
        busy_poll: see `serve`.
        schemas: see `serve`.
        reflection: see `serve`.
        statistics: see `serve`.
        announce: see `serve`.
        grace: number of seconds that calls in flight have to finish after the block;
            see `Server.shutdown`.
        drain_on: signals on which the server shuts down, such as
            ``[signal.SIGTERM]``. By default, signals do what they do in the program.
            With such a signal, clients are told at once, calls in flight have `grace`
            seconds, and then the block is cancelled and ends without an exception. A
            second one ends the process at once. Handlers of the program for these
            signals are replaced for the length of the block. Of several servers, give
            it to the one with the innermost block.

    Raises:
        ValueError, TypeError, OSError: (on entering) as `serve`.
        TypeError: `drain_on` is not several signals.
        RuntimeError: (on entering) `drain_on` is given, and this is not the main
            thread, which alone may receive signals.
    """
    check_seconds("grace", grace, may_be_zero=True)
    signals = _checked_signals(drain_on)
    run = partial(
        serve,
        url,
        handler,
        sockets=sockets,
        max_concurrent_requests=max_concurrent_requests,
        metadata=metadata,
        keepalive=keepalive,
        limits=limits,
        strict=strict,
        deadlines=deadlines,
        cancel_grace=cancel_grace,
        tell_failures=tell_failures,
        max_waiting=max_waiting,
        ssl_context=ssl_context,
        origins=origins,
        max_sessions=max_sessions,
        max_sessions_per_peer=max_sessions_per_peer,
        memory=memory,
        tasks=tasks,
        resume=resume,
        on_session=on_session,
        on_connection=on_connection,
        middleware=middleware,
        observer=observer,
        busy_poll=busy_poll,
        schemas=schemas,
        reflection=reflection,
        statistics=statistics,
        announce=announce,
    )
    return Serving(run, grace, signals)


def _checked_signals(given: object) -> tuple[signal.Signals, ...]:
    several: tuple[object, ...] = ()
    if isinstance(given, Iterable):
        several = tuple(cast("Iterable[object]", given))
    signals = tuple(each for each in several if isinstance(each, signal.Signals))
    if signals != several or not isinstance(given, Iterable):
        raise TypeError(
            "drain_on: expected several signals, such as [signal.SIGTERM], "
            f"got {given!r}"
        )
    return signals


_HOW_TO_SERVE = "write `async with serving(...) as server:` to have a server"


class Serving:
    """The result of `serving`; entered once.

    Args:
        run: serves, as `serve` does.
        grace: see `serving`.
        signals: see `drain_on` of `serving`.
    """

    def __init__(
        self,
        run: Callable[..., Awaitable[None]],
        grace: float,
        signals: tuple[signal.Signals, ...] = (),
    ) -> None:
        self._run = run
        self._grace = grace
        self._signals = signals
        self._waiting_for_signals = trio.CancelScope()
        self._closing = ExitStack()
        self._nursery_manager: Any = None
        self._nursery: trio.Nursery | None = None
        self._server: Server | None = None

    if not TYPE_CHECKING:  # type checkers refuse both by themselves

        def __await__(self) -> NoReturn:
            raise TypeError(f"serving() is not awaited: {_HOW_TO_SERVE}")

        def __getattr__(self, name: str) -> NoReturn:
            raise AttributeError(
                f"{type(self).__name__} has no {name!r}: {_HOW_TO_SERVE}"
            )

    async def __aenter__(self) -> Server:
        if self._nursery_manager is not None:
            raise RuntimeError("this server runs already, or did; make another")
        check_trio_runs("serving()")
        with ExitStack() as closing:
            signals: AsyncIterator[int] | None = None
            if self._signals:
                receiver = trio.open_signal_receiver(*self._signals)
                signals = closing.enter_context(receiver)
            self._nursery_manager = trio.open_nursery()
            nursery: trio.Nursery = await self._nursery_manager.__aenter__()
            try:
                server: Server = await nursery.start(self._run)
            except BaseException:
                # Its only task has failed, so the nursery raises nothing else.
                await self._nursery_manager.__aexit__(None, None, None)
                raise
            self._nursery, self._server = nursery, server
            if signals is not None:
                nursery.start_soon(self._drain_on, signals, server, nursery)
            self._closing = closing.pop_all()
        return server

    async def _drain_on(
        self, signals: AsyncIterator[int], server: Server, nursery: trio.Nursery
    ) -> None:
        """Shut the server down and cancel the block, when a signal comes."""
        with self._waiting_for_signals:
            name = signal.Signals(await anext(signals)).name
            logger.info("%s: shutting down within %s s", name, f"{self._grace:g}")
            for each in self._signals:
                signal.signal(each, signal.SIG_DFL)
            await server.shutdown(self._grace)
            nursery.cancel_scope.cancel()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        with self._closing:
            return await self._end(exc_type, exc, traceback)

    async def _end(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        assert self._nursery is not None
        if not (self._nursery.cancel_scope.cancel_called and has_cancelled(exc)):
            await self._shut_down(exc)
            return None
        # The server has failed, and that has cancelled the block. The nursery knows
        # which Cancelled is its own, and raises the error of the server instead.
        try:
            absorbed: bool | None = await self._nursery_manager.__aexit__(
                exc_type, exc, traceback
            )
        except BaseExceptionGroup as group:
            raise _first_of(group) from None
        return absorbed

    async def _shut_down(self, exc: BaseException | None) -> None:
        assert self._server is not None
        try:
            try:
                await self._server.shutdown(self._grace)
            finally:
                self._waiting_for_signals.cancel()
                await self._nursery_manager.__aexit__(None, None, None)
        except trio.Cancelled:
            if exc is None:
                raise
        except BaseExceptionGroup as group:
            failures = group.split(trio.Cancelled)[1]
            if exc is not None:
                if failures is not None:
                    tell_beside(exc, failures, "a server")
                return
            await trio.lowlevel.checkpoint_if_cancelled()  # one Cancelled, no group
            raise _first_of(group) from None


def _first_of(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the error to raise for a group; log the others."""
    first, *others = _leaves(group)
    for error in others:
        if not isinstance(error, trio.Cancelled):
            logger.error("a server has failed in another way too", exc_info=error)
    return first


def _leaves(error: BaseException) -> list[BaseException]:
    """Return the errors in a group, those first that end programs."""
    if not isinstance(error, BaseExceptionGroup):
        return [error]
    group = cast("BaseExceptionGroup[BaseException]", error)
    leaves = [leaf for each in group.exceptions for leaf in _leaves(each)]
    return sorted(leaves, key=_rank)


def _rank(error: BaseException) -> int:
    if isinstance(error, trio.Cancelled):
        return 2
    return 1 if isinstance(error, Exception) else 0
