"""The receiving half of a link on a byte stream.

All payloads that one read of the stream completed are extracted together, and returned
one after another without another read.
"""

from __future__ import annotations

from typing import Final

import trio
from trio.lowlevel import checkpoint_if_cancelled

from ..errors import ForeignProtocol, LinkClosed, LinkError, PayloadTooSlow
from ..failures import text_of
from ..kept_errors import strip_tracebacks
from .arrivals import LARGE, PATIENCE, Passage
from .base import LinkRx, PayloadPoller, RxBudget, RxStatistics
from .byte_streams import ByteReceiver, ByteTransport, SocketTransport
from .framing import (
    ALLOCATED_AHEAD,
    RECEIVE_AT_ONCE,
    FrameDecoder,
    PayloadDecoder,
)
from .payload_time import PayloadTime
from .payload_watch import payload_watch

__all__ = ["STREAM_ERRORS", "StreamLinkRx", "broken"]

STREAM_ERRORS: Final = (OSError, trio.BrokenResourceError, trio.ClosedResourceError)
"""Errors of a byte stream that is of no use any more."""

_NOT_COUNTED: Final = 16 * 1024
"""Length of a payload that is not complete, in bytes, up to which it is not counted."""


class StreamLinkRx(LinkRx):
    """The receiving half of a stream link.

    `recv` is always a cancellation point, and a schedule point whenever it reads from
    the stream, so a busy peer cannot keep other tasks from running. A second task that
    tries to wait gets trio.BusyResourceError.

    Args:
        transport: moves the bytes.
        decoder: divides them into payloads.
        payload_seconds: number of seconds for each MiB begun of a payload.
    """

    __slots__ = (
        "_at_end",
        "_budget",
        "_counted",
        "_decoder",
        "_failure",
        "_is_closed",
        "_passage",
        "_payload_seconds",
        "_reading",
        "_ready",
        "_time",
        "_transport",
    )

    def __init__(
        self,
        transport: ByteTransport,
        decoder: PayloadDecoder,
        *,
        payload_seconds: float,
    ) -> None:
        self._transport: ByteReceiver = transport
        self._payload_seconds = payload_seconds
        self._time: PayloadTime | None = None  # once a payload has come in parts
        self._decoder = decoder
        # Reversed: the last one is next.
        self._ready: list[bytes] | None = None
        self._reading = False
        self._at_end = False
        self._is_closed = False
        self._failure: LinkError | None = None
        self._budget: RxBudget | None = None
        self._counted = 0
        self._passage: Passage | None = None  # once a large payload has come

    def count_in(self, budget: RxBudget) -> None:
        self._budget = budget
        self._decoder.accept_up_to(budget.first)

    def begin_polling(
        self, seconds: float, *, reader_looks: bool
    ) -> PayloadPoller | None:
        """See `LinkRx.begin_polling`."""
        transport, decoder = self._transport, self._decoder
        if not (
            isinstance(transport, SocketTransport) and isinstance(decoder, FrameDecoder)
        ):
            return None
        # Only now, since most links are not polled.
        from .polling import PolledSocket, Poller

        polled = PolledSocket(transport, seconds, reader_looks=reader_looks)
        self._transport = polled
        return Poller(polled, decoder, self)

    @property
    def waits_for_new(self) -> bool:
        """True if a task waits for the first bytes of a payload."""
        return self._reading and not self._decoder.begun and not self._at_end

    async def recv(self) -> bytes | None:
        if self._ready:
            await checkpoint_if_cancelled()
        else:
            batch = await self.recv_batch()
            if not batch:
                return None
            self._ready = batch
            batch.reverse()
        return self._ready.pop()

    def recv_nowait(self) -> bytes | None:
        if self._ready:
            return self._ready.pop()
        if self._at_end:
            self._raise_failure()
            return None
        raise trio.WouldBlock

    async def recv_batch(self) -> list[bytes]:
        # An idle session waits here, so that each coroutine between this one and the
        # socket would take memory for as long.
        if self._ready:
            await checkpoint_if_cancelled()
            batch, self._ready = self._ready, None
            batch.reverse()
            return batch
        decoder = self._decoder
        while not self._at_end:  # each way to receive is a checkpoint
            if self._reading:
                raise trio.BusyResourceError("another task receives from this link")
            self._reading = True
            try:
                if decoder.begun:
                    count = await self._read_on(decoder)
                    if self._counted or self._passage is not None:
                        self._give_back()
                else:
                    transport, chunk = self._transport, None
                    readable = transport.until_readable()
                    if readable is None:
                        chunk = await transport.receive_some(RECEIVE_AT_ONCE)
                    else:
                        await readable
                        chunk = transport.receive_nowait(RECEIVE_AT_ONCE)
                    if chunk is None:
                        continue
                    count = len(chunk)
                    decoder.feed(chunk)
                if not count:
                    decoder.ended()
                    self._end(None)
                elif decoder.at_end:
                    self._end(None)
            except (*STREAM_ERRORS, LinkError) as exc:
                self._end(_failure_of(decoder, exc))
            finally:
                self._reading = False
            payloads, decoder.payloads = decoder.payloads, []
            if payloads and not self._is_closed:
                return payloads
        await checkpoint_if_cancelled()
        self._raise_failure()
        return []

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure.with_traceback(None)

    async def _read_on(self, decoder: PayloadDecoder) -> int:
        """Read while a payload has begun and none is complete. Return 0 at the end of
        the stream. `give_up_if_late` ends it, and so does `make_room`."""
        if self._time is None:
            self._time = PayloadTime(self._payload_seconds)
        time, transport = self._time, self._transport
        time.note(decoder.number, decoder.begun, trio.current_time())
        watch = payload_watch()
        try:
            while True:
                passage = await self._has_room(decoder, time)
                watch.begin(self)
                while passage is None or passage.may_go_on(decoder.begun):
                    if decoder.begun > _NOT_COUNTED and decoder.begun > self._counted:
                        self._count(decoder.memory)
                    if decoder.large_buffer is None:
                        chunk = await transport.receive_some(RECEIVE_AT_ONCE)
                        decoder.feed(chunk)
                        count = len(chunk)
                    else:
                        # Not kept in a variable: the payload would be copied out of it.
                        count = await transport.receive_into(
                            decoder.large_buffer
                            if passage is None or passage.has_all
                            else decoder.large_buffer[: LARGE - decoder.begun]
                        )
                        decoder.filled(count)
                    if decoder.payloads or not (count and decoder.begun):
                        return count
                    if decoder.begun >= time.more_from or decoder.large_buffer is None:
                        time.note(decoder.number, decoder.begun, trio.current_time())
                        watch.begin(self)
                watch.end(self)
        finally:
            watch.end(self)

    @property
    def deadline(self) -> float:
        """See `Arrival`."""
        assert self._time is not None, "it is asked while a payload has begun"
        return self._time.deadline

    async def give_up_if_late(self, now: float) -> bool:
        """See `Arrival`."""
        time = self._time
        assert time is not None, "it is asked while a payload has begun"
        if not time.is_up(now):
            return False
        await self._give_up(PayloadTooSlow(self._decoder.begun, time.seconds))
        return True

    async def make_room(self) -> None:
        """See `Traveller`."""
        begun = self._decoder.begun
        await self._give_up(PayloadTooSlow(begun, PATIENCE, "server_begun_bytes"))

    async def _give_up(self, error: PayloadTooSlow) -> None:
        self._end(error)
        await self._transport.end_receiving()  # which wakes the reader

    async def _has_room(
        self, decoder: PayloadDecoder, time: PayloadTime
    ) -> Passage | None:
        """Wait until the payload that has begun may go on; None if it always may."""
        if self._budget is None or self._budget.arrivals is None:
            return None
        if self._passage is None:
            self._passage = Passage(self._budget.arrivals)
        passage = self._passage
        passage.announce(decoder.announced, decoder.begun, self)
        if not passage.may_go_on(decoder.begun):
            since = trio.current_time()
            await passage.wait()
            time.pause(trio.current_time() - since)
        decoder.ahead = ALLOCATED_AHEAD if passage.has_all else LARGE
        return passage

    def _count(self, size: int) -> None:
        """Count the memory of a payload that is not complete."""
        budget = self._budget
        if budget is None or size <= self._counted:
            return
        if budget.hold(size - self._counted):  # or else the session ends
            self._counted = size

    def _give_back(self) -> None:
        """Stop counting the payload, which is complete or never will be."""
        if self._counted and self._budget is not None:
            self._budget.give(self._counted)
            self._counted = 0
        if self._passage is not None:
            self._passage.end()

    def _end(self, failure: LinkError | None) -> None:
        if not self._at_end:
            self._at_end = True
            self._give_back()
            if failure is not None:
                strip_tracebacks(failure)  # its frames refer to the link
            self._failure = failure

    def statistics(self) -> RxStatistics:
        decoder = self._decoder
        return RxStatistics(decoder.count, decoder.payload_bytes, decoder.begun)

    async def close(self) -> None:
        """Stop receiving, and drop unread payloads; see `LinkRx.close`."""
        if self._is_closed:
            return
        has_ended = isinstance(self._failure, PayloadTooSlow)  # the transport, for that
        self._is_closed = self._at_end = True
        self._give_back()
        self._failure = LinkClosed(
            "this side has closed the receiving half of the link"
        )
        self._ready = None
        if not has_ended:
            await self._transport.end_receiving()

    def __repr__(self) -> str:
        state = "open"
        if self._at_end:
            state = "at its end" if self._failure is None else repr(self._failure)
        return f"<StreamLinkRx {state}, {len(self._ready or ())} payloads ready>"


def _failure_of(decoder: PayloadDecoder, exc: Exception) -> LinkError:
    """Return the failure of a link that could not be read."""
    if isinstance(exc, LinkError):
        return exc
    told = decoder.named()
    error = ForeignProtocol(told) if told else broken("receiving", exc)
    error.__cause__ = exc
    return error


def broken(doing: str, cause: Exception) -> LinkError:
    """Return the error of a link whose stream has failed.

    Args:
        doing: the operation, as it starts the text of the error.
        cause: one of `STREAM_ERRORS`.
    """
    if isinstance(cause, trio.ClosedResourceError):
        return LinkClosed(f"{doing} failed: this side has closed the stream")
    return LinkError(f"{doing} failed: {text_of(cause)}")
