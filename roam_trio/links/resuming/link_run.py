"""The use of one link by a resuming link."""

from __future__ import annotations

import trio

from ...peers import Peer
from ..base import LinkRx, LinkTx
from .source import Attachment

__all__ = ["LinkRun"]


class LinkRun:
    """One link, while the resuming link uses it or does the handshake on it.

    Attributes:
        tx: its sending half.
        rx: its receiving half.
        ended: set as soon as the link is no longer used.
        is_new: no frame has arrived on it, so it is unknown whether the peer has
            received the hello of this side.
        peer: the peer of the link; None if it is unknown.
    """

    __slots__ = ("ended", "is_new", "peer", "rx", "tx")

    def __init__(self, attachment: Attachment) -> None:
        self.tx: LinkTx = attachment.tx
        self.rx: LinkRx = attachment.rx
        self.ended = trio.Event()
        self.is_new = True
        self.peer: Peer | None = attachment.peer
