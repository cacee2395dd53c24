"""Sessions that a block opens and ends, and what comes out if both fail."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, cast

import trio

from ..failures import ends_programs
from ..logs import Log
from ..running import check_trio_runs
from .session import Session

__all__ = ["OpenSession", "has_cancelled", "tell_beside"]

logger = Log("roam_trio.session")


class OpenSession:
    """A session for the length of an ``async with`` block.

    An exception of the block passes through unchanged. When the session ends early, the
    block continues, and its calls fail.

    Args:
        make: makes the session, when the block begins.
    """

    def __init__(self, make: Callable[[], Session]) -> None:
        self._make = make
        self._nursery_manager: Any = None
        self._nursery: trio.Nursery | None = None
        self._session: Session | None = None

    async def __aenter__(self) -> Session:
        if self._nursery_manager is not None:
            raise RuntimeError("this session is open already, or was; make another")
        check_trio_runs("a session")
        self._nursery_manager = trio.open_nursery()
        nursery: trio.Nursery = await self._nursery_manager.__aenter__()
        starting = _Starting(self._make())
        nursery.start_soon(starting.run)
        try:
            session = await starting.wait()
        except BaseException as error:
            nursery.cancel_scope.cancel()
            # What its only task raises has come out already, unless this task was
            # cancelled at the same time.
            await self._nursery_manager.__aexit__(None, None, None)
            starting.raise_beside(error)
            raise
        self._nursery = nursery
        self._session = session
        return session

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._nursery is not None
        if self._nursery.cancel_scope.cancel_called and has_cancelled(exc):
            # A handler's BaseException has cancelled the block. The nursery knows
            # which Cancelled is its own, and raises that exception instead.
            await self._nursery_manager.__aexit__(exc_type, exc, traceback)
        else:
            await self._end(exc)

    async def _end(self, exc: BaseException | None) -> None:
        assert self._session is not None
        try:
            try:
                await self._session.shutdown()
            finally:
                await self._nursery_manager.__aexit__(None, None, None)
        except trio.Cancelled:
            if exc is None:
                raise
        except BaseExceptionGroup as group:
            if group.split(trio.Cancelled)[1] is not None:
                if exc is None:
                    raise
                tell_beside(exc, group, "a session")
            elif exc is None:
                await trio.lowlevel.checkpoint_if_cancelled()  # one Cancelled, no group
                raise


class _Starting(trio.TaskStatus[Session]):
    """The task of a session that is being set up, as of ``nursery.start``, which would
    open a nursery and a cancel scope for it.

    Args:
        session: the session.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._settled = trio.Event()
        self._is_set_up = False
        self._error: BaseException | None = None

    async def run(self) -> None:
        """Run the session. Raise only what comes after it was set up."""
        try:
            await self._session.run(task_status=self)
        except BaseException as error:
            if self._is_set_up:
                raise
            self._error = error
        finally:
            self._settled.set()

    def started(self, value: Session) -> None:
        self._is_set_up = True
        self._settled.set()

    async def wait(self) -> Session:
        """Wait until the session is set up.

        Raises:
            BaseException: it could not be set up.
        """
        await self._settled.wait()
        if self._error is not None:
            try:
                raise self._error
            finally:
                self._error = None
        return self._session

    def raise_beside(self, cancelled: BaseException) -> None:
        """Raise what the task has raised since `wait` was cancelled, if it ends
        programs.

        Raises:
            BaseExceptionGroup: of `cancelled` and that.
        """
        error, self._error = self._error, None
        if error is not None and ends_programs(error):
            both = [cancelled, error]
            raise BaseExceptionGroup("a session was cancelled, and failed", both)


def tell_beside(
    exc: BaseException, group: BaseExceptionGroup[BaseException], what: str
) -> None:
    """Tell how `what` failed while the block it served fails with `exc` by itself.

    That is logged, as only one of them can come out; but not that it was cancelled,
    which is no failure. If there is something among it that ends programs, such as
    KeyboardInterrupt, both come out.

    Raises:
        BaseExceptionGroup: of both.
    """
    if group.split((Exception, trio.Cancelled))[1] is not None:
        both = [exc, group]
        raise BaseExceptionGroup(
            f"{what} failed, and the block it served", both
        ) from None
    failures = group.split(trio.Cancelled)[1]
    if failures is not None:
        logger.error("%s failed while the block it served did", what, exc_info=failures)


def has_cancelled(exc: BaseException | None) -> bool:
    """Return True if an exception is a `trio.Cancelled`, or contains one."""
    if isinstance(exc, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", exc)
        return group.subgroup(trio.Cancelled) is not None
    return isinstance(exc, trio.Cancelled)
