"""Links on byte streams: TCP, Unix sockets, pipes, TLS, and any other trio stream.

`framing` interprets the bytes, and `byte_streams` moves them. This module waits, and
reports failures of the stream.

To send, a commit copies the payload into the write buffer and wakes the pump, which
writes everything committed since the last write at once. With `cork` and `uncork`, a
task that commits several payloads, or a single one, can write them without the pump. To
receive, all payloads that one read of the stream completed are extracted together, and
returned one after another without another read.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import attrs
import trio
from trio.lowlevel import checkpoint, checkpoint_if_cancelled

from ..errors import ForeignProtocol, LinkClosed, LinkError, PayloadTooLarge
from ..failures import text_of
from ..kept_errors import strip_tracebacks
from ..peers import Peer
from .base import Buffer, Link, LinkRx, RxStatistics, TxStatistics
from .byte_streams import ByteTransport, StreamTransport
from .framing import (
    HEADER_LENGTH,
    LARGEST_LENGTH,
    RECEIVE_AT_ONCE,
    FrameDecoder,
    FrameEncoder,
    PayloadDecoder,
)
from .permits import PermitTx, QueuedPermit
from .write_policy import Mode, Write

if TYPE_CHECKING:
    from typing import Self

    from trio.abc import ReceiveStream, SendStream, Stream

__all__ = ["StreamLimits", "StreamLink", "StreamLinkRx", "StreamLinkTx"]


@attrs.frozen(kw_only=True)
class StreamLimits:
    """Bounds on what a stream link may hold.

    Attributes:
        max_payload: length of the longest payload in either direction, in bytes. The
            sender refuses a longer one, and the receiver refuses its announcement
            before it allocates memory. The default is 16 MiB: a peer can make a link
            hold that much, and WebSocket peers accept no more. Send larger data as
            items of a channel.
        max_unsent_bytes: number of committed and unwritten bytes from which `reserve`
            waits. A permit counts as the length of the last committed payload.
        max_unsent_payloads: number of committed and unwritten payloads, and of permits,
            from which `reserve` waits.
    """

    max_payload: int = 16 * 1024 * 1024
    max_unsent_bytes: int = 1024 * 1024
    max_unsent_payloads: int = 1024

    def __attrs_post_init__(self) -> None:
        if not 0 <= self.max_payload <= LARGEST_LENGTH:
            raise ValueError(
                f"max_payload must be from 0 to {LARGEST_LENGTH}, "
                f"and is {self.max_payload}"
            )
        for name in ("max_unsent_bytes", "max_unsent_payloads"):
            value: int = getattr(self, name)
            if value < 1:
                raise ValueError(f"{name} must be at least 1, and is {value}")


class StreamLink(Link):
    """A link on a byte stream: each payload after its length (`transport.stream`).

    Args:
        stream: a bidirectional stream, or the one to send on. The link owns it.
        receive_stream: the stream to receive from, if `stream` is unidirectional.
        limits: bounds of the link.
        peer: the peer, if the stream cannot describe it.

    A stream without half-close, such as TLS, is closed as a whole when the sending half
    of the link is closed; the receiving half then raises LinkClosed. `abort` of the
    sending half does the same with any bidirectional stream except sockets (see
    `roam_trio.links.tcp`).
    """

    def __init__(
        self,
        stream: Stream | SendStream,
        receive_stream: ReceiveStream | None = None,
        *,
        limits: StreamLimits | None = None,
        peer: Peer | None = None,
    ) -> None:
        self._set_up(StreamTransport(stream, receive_stream), limits, peer)

    @classmethod
    def over(
        cls,
        transport: ByteTransport,
        *,
        limits: StreamLimits | None = None,
        peer: Peer | None = None,
    ) -> Self:
        """Return a link that moves its bytes through `transport`."""
        link = cls.__new__(cls)
        link._set_up(transport, limits, peer)
        return link

    def _set_up(
        self,
        transport: ByteTransport,
        limits: StreamLimits | None,
        peer: Peer | None = None,
    ) -> None:
        limits = limits or StreamLimits()
        self._transport = transport
        self._peer = peer
        self._halves = (
            StreamLinkTx(transport, limits, FrameEncoder()),
            StreamLinkRx(transport, FrameDecoder(limits.max_payload)),
        )

    def split(self) -> tuple[StreamLinkTx, StreamLinkRx]:
        return self._halves

    def peer(self) -> Peer:
        return self._peer or self._transport.peer()


class _State(enum.Enum):
    OPEN = "open"
    CLOSING = "closing"  # no new payloads; committed ones are still being written
    CLOSED = "closed"
    FAILED = "failed"


_WAKE, _NOW = Write.WAKE, Write.NOW  # local aliases save a lookup each time


class StreamLinkTx(PermitTx):
    """The sending half of a stream link.

    `reserve` is always a cancellation point, and a schedule point only if it waits.
    """

    def __init__(
        self, transport: ByteTransport, limits: StreamLimits, frames: FrameEncoder
    ) -> None:
        super().__init__()
        self._transport = transport
        self._max_payload = limits.max_payload
        self._limits = limits
        self._state = _State.OPEN
        self._frames = frames
        # All of these are totals. Sizes include the framing of the link.
        self._sent_size = 0
        self._written_payloads = 0
        self._written_size = 0
        self._room_up_to_payloads = limits.max_unsent_payloads
        self._room_up_to_size = limits.max_unsent_bytes
        self._last_length = 0
        self._mode = Mode.PUMP
        self._carrying: trio.CancelScope | None = None
        self._carried: trio.Event | None = None
        self._wake: Callable[[], None] | None = None  # the pump, if it is idle

    # ------------------------------------------------ committing

    def _has_room(self) -> bool:
        payloads, size = self._sent_payloads, self._sent_size
        if self._permits:
            payloads += self._permits
            size += self._permits * self._last_length
        return payloads < self._room_up_to_payloads and size < self._room_up_to_size

    def _new_permit(self) -> QueuedPermit:
        return QueuedPermit(self)

    def _check_length(self, length: int) -> None:
        if length > self._max_payload:
            raise PayloadTooLarge(length, self._max_payload)

    def _publish(self, pieces: Sequence[Buffer]) -> None:
        length = sum(map(len, pieces))
        if length > self._max_payload:
            self._check_length(length)
        self._frames.add(pieces, length)
        self._last_length = length
        self._sent_payloads += 1
        self._sent_size += HEADER_LENGTH + length
        self._mode, write = self._mode.on_commit
        # A pump that is writing will find this payload itself.
        if self._wake is not None:
            self._do(write)

    def cork(self) -> None:
        self._mode, _ = self._mode.on_cork

    def uncork(self, *, prompt: bool = False) -> None:
        if self._sent_payloads != self._written_payloads:
            self._mode, write = self._mode.on_uncork
            if self._wake is not None:
                self._do(write)
        elif prompt:
            self._mode, _ = self._mode.on_uncork_prompt
        else:
            self._mode, _ = self._mode.on_uncork_idle

    def _do(self, write: Write) -> None:
        if write is _WAKE:
            self._wake_pump()
        elif write is _NOW:
            self._write_now()

    @trio.lowlevel.enable_ki_protection
    def _write_now(self) -> None:
        """Write committed payloads without waiting; leave the rest to the pump."""
        buffers = self._frames.take()
        try:
            left = self._transport.send_nowait(buffers)
        except OSError:
            left = buffers  # the pump tries again and reports it
        if left:
            self._frames.give_back(left)
            self._wake_pump()
        else:
            self._written(self._sent_payloads, self._sent_size)

    def _written(self, payloads: int, size: int) -> None:
        """Update the state after a write."""
        self._written_payloads = payloads
        self._written_size = size
        self._room_up_to_payloads = payloads + self._limits.max_unsent_payloads
        self._room_up_to_size = size + self._limits.max_unsent_bytes
        if self.is_full:
            self._grant_permits()

    # ------------------------------------------------ carrying

    async def pump(self) -> None:
        """Write committed payloads until this half is closed; see `LinkTx.pump`.

        If cancelled during a write, it leaves the link dead, because the peer may have
        received a part of a payload. If cancelled while there is nothing to write, it
        can be run again.

        Raises:
            LinkError: the stream broke, or had failed before.
            trio.BusyResourceError: another task runs it.
        """
        if self._state is _State.OPEN:
            if self._carrying is not None:
                raise trio.BusyResourceError("another task runs the pump of this link")
            await self._carry()
        elif self._state is _State.CLOSING:
            await self.close()
        elif self._state is _State.FAILED:
            self._refuse_if_ended()

    def defer_pump(self, start: Callable[[], None]) -> bool:
        self._wake = start
        self._mode, _ = self._mode.on_uncork_prompt
        return True

    async def _carry(self) -> None:
        self._wake = None
        try:
            with trio.CancelScope() as self._carrying:  # cancelled by abort
                await self._write_until_closed()
        finally:
            self._carrying = None
            if self._carried is not None:
                self._carried.set()
                self._carried = None

    async def _write_until_closed(self) -> None:
        while self._state is not _State.CLOSED:
            if self._sent_payloads != self._written_payloads:
                await self._write_pending()
            elif self._state is _State.OPEN:
                await self._wait_for_work()
            else:
                await self._transport.end_sending()
                self._state = _State.CLOSED

    # Control-C in between would leave a record of a waiting task that does not wait.
    @trio.lowlevel.enable_ki_protection
    async def _wait_for_work(self) -> None:
        self._wake = partial(trio.lowlevel.reschedule, trio.lowlevel.current_task())
        await trio.lowlevel.wait_task_rescheduled(self._stop_waiting)

    def _stop_waiting(self, _: object) -> trio.lowlevel.Abort:
        self._wake = None
        return trio.lowlevel.Abort.SUCCEEDED

    def _wake_pump(self) -> None:
        # The pump then runs after all tasks that are ready now, and finds all their
        # payloads.
        if self._wake is not None:
            wake, self._wake = self._wake, None
            wake()

    async def _write_pending(self) -> None:
        payloads, size = self._sent_payloads, self._sent_size
        try:
            await self._transport.send_all(self._frames.take())
        except _STREAM_ERRORS as exc:
            if self._state is not _State.CLOSED:  # otherwise abort has caused it
                raise self._failed(_broken("sending", exc), exc) from exc
        except BaseException as exc:
            # Nothing may follow a payload that may be incomplete.
            by = f"{type(exc).__name__}: {text_of(exc)}"
            self._failed(LinkError(f"writing was cut short by {by}"), exc)
            raise
        else:
            self._written(payloads, size)

    def _failed(self, error: LinkError, cause: BaseException) -> LinkError:
        if self._state is not _State.CLOSED:
            self._state = _State.FAILED
            self._end(type(error), str(error), cause)
        return error

    # ------------------------------------------------ closing

    async def close(self) -> None:
        """Close gracefully; see `LinkTx.close`.

        Writes what is left itself if no task runs `pump`. A checkpoint.

        Raises:
            LinkError: the stream broke. An earlier failure of the link is not raised
                again, as only the stream is left to release.
        """
        if self._state is _State.OPEN:
            self._state = _State.CLOSING
            self._end(LinkClosed, _CLOSED_HERE)
            self._wake_pump()
        elif self._state is not _State.CLOSING:
            await self.abort()
            await checkpoint()
        while self._state is _State.CLOSING:
            if self._carrying is None:
                await self._carry()
            else:
                if self._carried is None:
                    self._carried = trio.Event()
                await self._carried.wait()
        if self._state is _State.FAILED:
            self._refuse_if_ended()

    async def abort(self) -> None:
        """Close at once; see `LinkTx.abort`. Not a checkpoint."""
        if self._state is _State.CLOSED:
            return
        self._state = _State.CLOSED
        self._end(LinkClosed, _CLOSED_HERE)
        self._frames.take()
        if self._carrying is None:
            self._wake = None  # drop the reference to what starts it
        self._written(self._sent_payloads, self._sent_size)
        if self._carrying is not None:
            self._carrying.cancel()
        await self._transport.abort_sending()

    # ------------------------------------------------ looking

    def statistics(self) -> TxStatistics:
        return TxStatistics(
            payloads=self._sent_payloads,
            payload_bytes=self._sent_size - HEADER_LENGTH * self._sent_payloads,
            permits=self._permits,
            unsent_payloads=self._sent_payloads - self._written_payloads,
            unsent_bytes=self._sent_size - self._written_size,
            tasks_waiting=len(self._waiting),
        )

    def __repr__(self) -> str:
        payloads = self._sent_payloads - self._written_payloads
        size = self._sent_size - self._written_size
        return (
            f"<StreamLinkTx {self._state.value}, "
            f"{payloads} payloads unsent ({size} bytes)>"
        )


class StreamLinkRx(LinkRx):
    """The receiving half of a stream link.

    `recv` is always a cancellation point, and a schedule point whenever it reads from
    the stream, so a busy peer cannot keep other tasks from running. A second task that
    tries to wait gets trio.BusyResourceError.
    """

    def __init__(self, transport: ByteTransport, decoder: PayloadDecoder) -> None:
        self._transport = transport
        self._decoder = decoder
        self._ready: list[bytes] = []  # reversed: the last one is next
        self._reading = False
        self._at_end = False
        self._is_closed = False
        self._failure: LinkError | None = None

    async def recv(self) -> bytes | None:
        await checkpoint_if_cancelled()
        while not self._ready:
            if self._at_end:
                self._raise_failure()
                return None
            self._ready = await self._read()
            self._ready.reverse()
        return self._ready.pop()

    def recv_nowait(self) -> bytes | None:
        if self._ready:
            return self._ready.pop()
        if self._at_end:
            self._raise_failure()
            return None
        raise trio.WouldBlock

    async def recv_batch(self) -> Sequence[bytes]:
        await checkpoint_if_cancelled()
        while not self._ready:
            if self._at_end:
                self._raise_failure()
                break
            payloads = await self._read()
            if payloads:
                return payloads
        batch, self._ready = self._ready, []
        batch.reverse()
        return batch

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure.with_traceback(None)

    async def _read(self) -> list[bytes]:
        """Read once, and return the completed payloads; none at the end."""
        if self._reading:
            raise trio.BusyResourceError("another task receives from this link")
        self._reading = True
        decoder = self._decoder
        try:
            if decoder.large_buffer is None:
                chunk = await self._transport.receive_some(RECEIVE_AT_ONCE)
                count = len(chunk)
                decoder.feed(chunk)
            else:
                count = await self._transport.receive_into(decoder.large_buffer)
                decoder.filled(count)
            if not count:
                decoder.ended()
                self._end(None)
        except _STREAM_ERRORS as exc:
            told = decoder.named()
            error = ForeignProtocol(told) if told else _broken("receiving", exc)
            error.__cause__ = exc
            self._end(error)
        except LinkError as exc:
            self._end(exc)
        finally:
            self._reading = False
        payloads, decoder.payloads = decoder.payloads, []
        return [] if self._is_closed else payloads

    def _end(self, failure: LinkError | None) -> None:
        if not self._at_end:
            self._at_end = True
            if failure is not None:
                strip_tracebacks(failure)  # its frames refer to the link
            self._failure = failure

    def statistics(self) -> RxStatistics:
        return RxStatistics(self._decoder.count, self._decoder.payload_bytes)

    async def close(self) -> None:
        """Stop receiving, and drop unread payloads; see `LinkRx.close`."""
        if self._is_closed:
            return
        self._is_closed = self._at_end = True
        self._failure = LinkClosed(
            "this side has closed the receiving half of the link"
        )
        self._ready.clear()
        await self._transport.end_receiving()

    def __repr__(self) -> str:
        state = "open"
        if self._at_end:
            state = "at its end" if self._failure is None else repr(self._failure)
        return f"<StreamLinkRx {state}, {len(self._ready)} payloads ready>"


_STREAM_ERRORS = (OSError, trio.BrokenResourceError, trio.ClosedResourceError)

_CLOSED_HERE = "this side has closed the sending half of the link"


def _broken(doing: str, cause: Exception) -> LinkError:
    if isinstance(cause, trio.ClosedResourceError):
        return LinkClosed(f"{doing} failed: this side has closed the stream")
    return LinkError(f"{doing} failed: {text_of(cause)}")
