"""Reading a conduit of which this side has no use any more."""

from __future__ import annotations

from ..conduits.base import ConduitRx
from ..errors import ConduitError, LinkError
from ..kept_errors import strip_tracebacks
from ..wire.messages import Message

__all__ = ["read_to_the_end"]


async def read_to_the_end(rx: ConduitRx[Message]) -> None:
    """Wait for the peer to close, too, since a socket that is closed with data unread
    may take back what was sent on it last. Nothing is decoded.
    """
    is_at_end = False
    try:
        while not is_at_end:
            is_at_end = True
            for _ in await rx.source.recv_batch():
                is_at_end = False
    except (LinkError, ConduitError) as error:
        strip_tracebacks(error)
