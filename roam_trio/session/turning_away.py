"""Turning a client away before its handshake."""

from __future__ import annotations

from contextlib import suppress
from typing import Final

import trio

from ..conduits.base import Conduit, ConduitTx
from ..errors import ConduitError, LinkError, Overloaded
from ..logs import about
from ..rpc.observer import Observer, tell
from ..wire.messages import Message
from .refusal import message_of_refusal
from .to_the_end import read_to_the_end

__all__ = ["turn_away"]

_SECONDS: Final = 1.0


async def turn_away(
    conduit: Conduit[Message],
    why: Overloaded,
    close_seconds: float,
    observer: Observer | None,
) -> None:
    """Say why a client is turned away, and wait until it has closed its side.

    The Hello of the client is not waited for. If cancelled, let go of the conduit at
    once.

    Args:
        conduit: leads to the client; it is closed in the end.
        why: the reason.
        close_seconds: bound on the time for all that, which is at most one second.
        observer: is told.
    """
    tx, rx = conduit.split()
    peer = conduit.peer()
    try:
        with about(peer), trio.move_on_after(min(close_seconds, _SECONDS)):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_pump, tx)
                nursery.start_soon(_say, tx, why)
                await read_to_the_end(rx)
                nursery.cancel_scope.cancel()
    finally:
        if observer is not None:
            tell(observer, Observer.client_turned_away, peer, why)
        with trio.CancelScope(shield=True):
            await tx.abort()
            await rx.close()


async def _pump(tx: ConduitTx[Message]) -> None:
    with suppress(LinkError, ConduitError):
        await tx.pump()


async def _say(tx: ConduitTx[Message], why: Overloaded) -> None:
    with suppress(LinkError, ConduitError):
        permit = await tx.reserve()
        permit.send(message_of_refusal(why))
        await tx.close()
