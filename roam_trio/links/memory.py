"""Links within one process, for tests and for peers in one program.

Payloads pass as bytes through trio memory channels, without framing
(`zerocopy.framing.link.memory`).
"""

from __future__ import annotations

from collections.abc import Sequence

import trio
from trio.lowlevel import checkpoint_if_cancelled

from ..errors import LinkClosed, LinkError
from ..peers import Peer
from .base import Buffer, Link, LinkRx, RxStatistics, TxStatistics, WriteSlot
from .permits import PermitTx, QueuedPermit, QueuedSlot

__all__ = [
    "MemoryLink",
    "MemoryLinkRx",
    "MemoryLinkTx",
    "MemoryLinkTxPermit",
    "MemoryWriteSlot",
    "memory_link_pair",
]


def memory_link_pair(buffer: int) -> tuple[MemoryLink, MemoryLink]:
    """Return two links that are connected with each other (`transport.memory`).

    Args:
        buffer: number of payloads, at least 1, that each direction holds before
            `reserve` waits; an unused permit counts as one.

    Raises:
        ValueError: `buffer` is less than 1.
    """
    if buffer < 1:
        raise ValueError(f"buffer must be at least 1, and is {buffer}")
    there_tx, there_rx = _direction(buffer)
    back_tx, back_rx = _direction(buffer)
    return MemoryLink(there_tx, back_rx), MemoryLink(back_tx, there_rx)


def _direction(buffer: int) -> tuple[MemoryLinkTx, MemoryLinkRx]:
    send, receive = trio.open_memory_channel[bytes](buffer)
    tx = MemoryLinkTx(send, buffer)
    return tx, MemoryLinkRx(receive, tx)


class MemoryLink(Link):
    """One end of a pair of links within this process; see `memory_link_pair`."""

    def __init__(self, tx: MemoryLinkTx, rx: MemoryLinkRx) -> None:
        self._halves = (tx, rx)

    def split(self) -> tuple[MemoryLinkTx, MemoryLinkRx]:
        return self._halves

    def peer(self) -> Peer:
        return Peer("memory", "this process")


class MemoryLinkTx(PermitTx):
    """The sending half; a commit puts the payload into the peer's queue at once."""

    def __init__(self, channel: trio.MemorySendChannel[bytes], buffer: int) -> None:
        super().__init__()
        self._channel = channel
        self._buffer = buffer
        self._queued = 0
        self._queued_bytes = 0
        self._closed = trio.Event()

    def _has_room(self) -> bool:
        return self._queued + self._permits < self._buffer

    def _new_permit(self) -> MemoryLinkTxPermit:
        return MemoryLinkTxPermit(self)

    def _check_length(self, length: int) -> None:
        """Accept any length: a memory link has no limit."""

    def _publish(self, pieces: Sequence[Buffer]) -> None:
        payload = b"".join(pieces)
        self._channel.send_nowait(payload)
        self._sent_payloads += 1
        self._sent_bytes += len(payload)
        self._queued += 1
        self._queued_bytes += len(payload)

    def payload_received(self, payload: bytes) -> None:
        """Handle that the peer has taken a payload out of its queue; called by its
        half.
        """
        self._queued -= 1
        self._queued_bytes -= len(payload)
        self._grant_permits()

    def peer_stopped(self) -> None:
        """Handle that the peer has stopped receiving; called by its half."""
        if not self._closed.is_set():
            why = "the peer has closed its receiving half of the link"
            self._end(LinkError, why, BrokenPipeError(why))  # as a socket has it

    async def pump(self) -> None:
        """Wait until this half is closed; there is nothing to write."""
        await self._closed.wait()

    async def close(self) -> None:
        """See `LinkTx.close`. Never waits for the peer; a checkpoint."""
        await self.abort()
        await trio.lowlevel.checkpoint()

    async def abort(self) -> None:
        """Do as `close`: committed payloads are already in the peer's queue."""
        self._end(LinkClosed, "this side has closed the sending half of the link")
        self._channel.close()
        self._closed.set()

    def statistics(self) -> TxStatistics:
        return TxStatistics(
            payloads=self._sent_payloads,
            payload_bytes=self._sent_bytes,
            permits=self._permits,
            unsent_payloads=self._queued,
            unsent_bytes=self._queued_bytes,
            tasks_waiting=len(self._waiting or ()),
        )

    def __repr__(self) -> str:
        state = "open" if self._ending is None else "ended"
        return f"<MemoryLinkTx {state}, {self._queued} of {self._buffer} queued>"


class MemoryLinkTxPermit(QueuedPermit):
    """Room for one payload in the peer's queue."""

    __slots__ = ()

    def _new_slot(self, tx: PermitTx, length: int) -> WriteSlot:
        return MemoryWriteSlot(tx, length)


class MemoryWriteSlot(QueuedSlot):
    """A payload under construction; the peer gets the same bytes object."""

    __slots__ = ()


class MemoryLinkRx(LinkRx):
    """The receiving half."""

    def __init__(
        self, channel: trio.MemoryReceiveChannel[bytes], sender: MemoryLinkTx
    ) -> None:
        self._channel = channel
        self._sender = sender
        self._payloads = 0
        self._payload_bytes = 0

    async def recv(self) -> bytes | None:
        await checkpoint_if_cancelled()
        try:
            return self.recv_nowait()
        except trio.WouldBlock:
            pass
        try:
            payload = await self._channel.receive()
        except trio.EndOfChannel:
            return None
        except trio.ClosedResourceError:
            raise _receiving_half_closed() from None
        self._received(payload)
        return payload

    def recv_nowait(self) -> bytes | None:
        try:
            payload = self._channel.receive_nowait()
        except trio.EndOfChannel:
            return None
        except trio.ClosedResourceError:
            raise _receiving_half_closed() from None
        self._received(payload)
        return payload

    def _received(self, payload: bytes) -> None:
        self._payloads += 1
        self._payload_bytes += len(payload)
        self._sender.payload_received(payload)

    def statistics(self) -> RxStatistics:
        return RxStatistics(self._payloads, self._payload_bytes)

    async def close(self) -> None:
        """See `LinkRx.close`. The peer's senders then get a LinkError."""
        self._channel.close()
        self._sender.peer_stopped()


def _receiving_half_closed() -> LinkClosed:
    return LinkClosed("this side has closed the receiving half of the link")
