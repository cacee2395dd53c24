"""Sessions with a far side that one client has to itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import trio

from ..errors import ConduitError, LinkError, SessionError
from ..kept_errors import strip_tracebacks
from ..logs import Log
from ..session import Session
from ..session.refusal import REFUSALS
from ..session.terms import current_terms
from .connect import Connecting

__all__ = ["MakeSession", "OwnSession", "session_of_client"]

logger = Log("roam_trio.session")

MakeSession: TypeAlias = Callable[[], Connecting[Session]]
"""Connects to the far side."""


class OwnSession:
    """The upstream session of one client, in a task that ends with its own session.

    Args:
        connect: connects to the far side.

    Attributes:
        is_over: True once it has ended, or could not begin.
        error: the error with which it could not begin.
    """

    def __init__(self, connect: MakeSession) -> None:
        self._connect = connect
        self._session: Session | None = None
        self._settled = trio.Event()
        self._scope = trio.CancelScope()
        self.is_over = False
        self.error: Exception | None = None

    async def run(self) -> None:
        """Keep the session up."""
        try:
            with self._scope:
                async with self._connect() as self._session:
                    self._settled.set()
                    await self._session.closed()
        except (OSError, SessionError, LinkError, ConduitError, *REFUSALS) as error:
            strip_tracebacks(error)
            self.error = error
            logger.warning("a proxy cannot reach the far side: %s", error)
        finally:
            self.is_over = True
            self._session = None
            self._settled.set()

    async def session(self) -> Session | None:
        """Wait until the session is up, and return it; None if it is over."""
        await self._settled.wait()
        return self._session

    def end(self) -> None:
        """End the session, or the attempt to begin it."""
        self._scope.cancel()


def session_of_client() -> Session:
    """Return the session to which the current task belongs.

    Raises:
        RuntimeError: there is none.
    """
    terms = current_terms()
    session = None if terms is None else terms.session()
    if not isinstance(session, Session):
        raise RuntimeError("connections are passed on in tasks of a session")
    return session
