"""A session that turns its client away before its handshake."""

from __future__ import annotations

from functools import partial

import attrs

from ..conduits.base import Conduit, ConduitRx, ConduitTx
from ..errors import Overloaded
from ..limits import Limits
from ..rpc.observer import Observer
from ..wire.messages import Message
from .handshake import HandshakeResult
from .session import Session
from .session_run import SessionOptions, SessionRun
from .terms import SessionTerms
from .welcoming import Welcoming

__all__ = ["limits_to_turn_away", "turning_away"]

_CLOSE_SECONDS = 1.0


def limits_to_turn_away(limits: Limits) -> Limits:
    """Return the limits of sessions that turn clients away: they close soon."""
    seconds = min(limits.close_seconds, _CLOSE_SECONDS)
    return attrs.evolve(limits, close_seconds=seconds)


def turning_away(
    conduit: Conduit[Message],
    why: Overloaded,
    limits: Limits,
    observer: Observer | None,
) -> Session:
    """Return a session that says why it turns its client away.

    Running it takes `Limits.close_seconds` at most, and raises that reason. The Hello
    of the client is not waited for.

    Args:
        conduit: carries the session, which takes it over.
        why: the reason.
        limits: bounds of the session; see `limits_to_turn_away`.
        observer: is told.
    """
    options = SessionOptions(
        handshake=partial(_refuse, why),
        handler=None,
        acceptor=None,
        keepalive=None,
        terms=SessionTerms(limits=limits, peer=conduit.peer(), observer=observer),
        is_acceptor=True,
    )
    return Session(SessionRun(conduit, options))


async def _refuse(
    why: Overloaded,
    tx: ConduitTx[Message],
    rx: ConduitRx[Message],
    /,
    *,
    welcoming: Welcoming | None,
) -> HandshakeResult:
    raise why
