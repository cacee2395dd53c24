"""Servers that say that they are shutting down."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from ...errors import RoamTrioError
from ...rpc.offered import HEALTH
from ...service import open_call
from ...service.reserved.classes import Health, HealthState
from ...session import Session

__all__ = ["follow_health"]


async def follow_health(session: Session, on_draining: Callable[[], object]) -> None:
    """Call a function when the server says that it is shutting down.

    Meanwhile the server keeps the session for a moment, and refuses calls. Without
    that, a call could be on its way when the session ends, and its caller would not
    know whether it was done. A server need not offer its health.

    Args:
        session: the session with the server.
        on_draining: the function.
    """
    with suppress(RoamTrioError):
        async with (
            session.open(Health, HEALTH) as health,
            open_call(health.watch, "") as watch,
        ):
            async for state in watch.rx:
                if state is HealthState.DRAINING:
                    on_draining()
