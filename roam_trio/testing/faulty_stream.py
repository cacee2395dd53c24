"""Streams with injected faults.

    left, right = faulty_stream_pair(sending=Faults(cut_after=100))

`Faults` plans faults; `cut`, `stall`, `lose` and `heal` act at once.
"""

from __future__ import annotations

import math

import trio
from trio.abc import HalfCloseableStream, Stream
from trio.lowlevel import checkpoint
from trio.testing import memory_stream_pair

from .faults import NO_FAULTS, Faults, Way

__all__ = ["FaultyStream", "faulty_stream_pair"]


class FaultyStream(HalfCloseableStream):
    """One end of a connection, with injected faults.

    It replaces the stream inside. After a cut, the other end sees that this end has
    closed; this end gets a `trio.BrokenResourceError`, or the end of the stream if the
    cut is clean.

    Args:
        stream: the stream, which this object owns.
        sending: the faults of bytes that are sent here.
        receiving: the faults of bytes that are received here.
        cleanly: whether a cut looks like an orderly end by the peer, as when a process
            dies or a middlebox drops a connection.
    """

    def __init__(
        self,
        stream: Stream,
        *,
        sending: Faults = NO_FAULTS,
        receiving: Faults = NO_FAULTS,
        cleanly: bool = False,
    ) -> None:
        self._stream = stream
        self._sending = Way(sending)
        self._receiving = Way(receiving)
        self._cleanly = cleanly
        self._is_cut = False
        self._come: bytes | bytearray = b""

    @property
    def sent(self) -> int:
        """Number of bytes sent, without lost ones."""
        return self._sending.passed

    @property
    def received(self) -> int:
        """Number of bytes received, without lost ones."""
        return self._receiving.passed

    async def cut(self) -> None:
        """Break the connection now. Has no effect if it is cut. Does not wait."""
        self._is_cut = True
        self._sending.cut()
        self._receiving.cut()
        await trio.aclose_forcefully(self._stream)

    def stall(self) -> None:
        """Let nothing pass in either direction until `heal`. A pending receive may
        still return data.
        """
        self._sending.stall_at = self._receiving.stall_at = 0

    def lose(self, *, sending: bool = True, receiving: bool = True) -> None:
        """Silently lose everything from now on."""
        if sending:
            self._sending.lose_at = 0
        if receiving:
            self._receiving.lose_at = 0

    def heal(self) -> None:
        """Remove all faults. A connection that was cut stays cut."""
        self._sending.heal()
        self._receiving.heal()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """See `trio.abc.SendStream.send_all`."""
        way = self._sending
        with memoryview(data) as view:
            start = 0
            while True:
                await way.wait_while_stalled()
                if way.is_cut:
                    await self.cut()
                    raise trio.BrokenResourceError("the connection is cut")
                if way.is_lost or start == len(view):
                    await checkpoint()
                    return
                stop = int(min(len(view), start + way.until_next_fault()))
                await trio.sleep(way.seconds_each * (stop - start))
                await self._send_piece(view[start:stop])
                way.passed += stop - start
                start = stop

    async def _send_piece(self, piece: memoryview) -> None:
        try:
            await self._stream.send_all(piece)
        except trio.ClosedResourceError:
            if self._is_cut:
                raise trio.BrokenResourceError("the connection is cut") from None
            raise

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """See `trio.abc.ReceiveStream.receive_some`."""
        while not self._come:
            if not await self._receive(max_bytes or 65_536):
                return await self._end_of_stream()
        # kept until now, so that nothing is lost if this is cancelled
        await trio.sleep(self._receiving.seconds_each * len(self._come))
        come, self._come = self._come, b""
        return come

    async def _receive(self, most: float) -> bool:
        """Receive once; return whether there may be more."""
        way = self._receiving
        await way.wait_while_stalled()
        if way.is_cut:
            await self.cut()
            return False
        most = min(most, way.until_next_fault() or math.inf)
        try:
            come = await self._stream.receive_some(int(most))
        except trio.ClosedResourceError:
            if self._is_cut:
                return False
            raise
        if not way.is_lost:
            way.passed += len(come)
            self._come = come
        return bool(come)

    async def _end_of_stream(self) -> bytes:
        await checkpoint()
        if self._is_cut and not self._cleanly:
            raise trio.BrokenResourceError("the connection is cut")
        return b""

    async def wait_send_all_might_not_block(self) -> None:
        """See `trio.abc.SendStream.wait_send_all_might_not_block`."""
        await self._sending.wait_while_stalled()
        await self._stream.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        """See `trio.abc.HalfCloseableStream.send_eof`."""
        if self._is_cut:
            raise trio.BrokenResourceError("the connection is cut")
        if self._sending.is_lost:
            await checkpoint()  # the end of the stream is lost as well
        elif isinstance(self._stream, HalfCloseableStream):
            await self._stream.send_eof()
        else:
            await self._stream.aclose()

    async def aclose(self) -> None:
        """See `trio.abc.AsyncResource.aclose`."""
        await self._stream.aclose()

    def __repr__(self) -> str:
        state = "cut" if self._is_cut else "open"
        return (
            f"<FaultyStream {state}, {self.sent} bytes sent, {self.received} received>"
        )


def faulty_stream_pair(
    *,
    sending: Faults = NO_FAULTS,
    receiving: Faults = NO_FAULTS,
    cleanly: bool = False,
) -> tuple[FaultyStream, HalfCloseableStream]:
    """Return the two ends of a connection in memory; the first has the faults.

    The arguments are those of `FaultyStream`.
    """
    left, right = memory_stream_pair()
    return (
        FaultyStream(left, sending=sending, receiving=receiving, cleanly=cleanly),
        right,
    )
