"""The terms of a session, which apply to all of its connections."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from ..limits import Limits
from ..peers import Peer
from ..rpc.connection import AnySession, Connection

__all__ = ["SessionTerms"]


def _no_session() -> None:
    return None


def _no_handle(run: object) -> Connection:
    raise LookupError("there are no handles of connections without a session")


@attrs.define(kw_only=True, eq=False)
class SessionTerms:
    """The terms of a session, which all of its parts may read.

    There is one object for each session. It outlives the session, and refers to nothing
    that refers to the session.

    Attributes:
        limits: bounds on what the peer can make this side hold.
        strict: also refuse what peers of other implementations are known to do.
        peer: the peer; the conduit keeps its address current.
        handle_of: returns a handle of a connection, of which it gets the
            `ConnectionRun`. The handle does not keep the connection alive.
        session: returns the session, or None if no references to it are left.
    """

    limits: Limits
    strict: bool = False
    peer: Peer
    handle_of: Callable[[Any], Connection] = _no_handle
    session: Callable[[], AnySession | None] = _no_session
