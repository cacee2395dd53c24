"""Links on byte streams: TCP, Unix sockets, pipes, TLS, and any other trio stream.

`framing` interprets the bytes, `byte_streams` moves them, `backlog` counts what is to
be written, and `write_policy` decides when. This module waits, and reports failures of
the stream.

To send, a commit copies the payload into the write buffer and wakes the pump, which
writes everything committed since the last write at once. With `cork` and `uncork`, a
task that commits several payloads, or a single one, can write them without the pump.
`stream_rx` has the receiving half.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from functools import partial
from math import inf
from typing import TYPE_CHECKING

import attrs
import trio
from trio.lowlevel import checkpoint

from ..errors import LinkClosed, LinkError, PayloadTooLarge
from ..failures import text_of
from ..limits import DEFAULT_LIMITS
from ..peers import Peer
from ..quantities import check_seconds
from ..wire.frames import HEADER_LENGTH, PASSED_BY_REFERENCE, PayloadRun, framed
from .backlog import Backlog
from .base import Buffer, ByteBudget, Link, TxStatistics
from .byte_streams import ByteTransport, StreamTransport
from .framing import LARGEST_LENGTH, FrameDecoder, FrameEncoder
from .permits import PermitTx, QueuedPermit
from .stream_rx import STREAM_ERRORS, StreamLinkRx, broken
from .write_policy import Mode, Write

if TYPE_CHECKING:
    from typing import Self

    from trio.abc import ReceiveStream, SendStream, Stream

__all__ = ["StreamLimits", "StreamLink", "StreamLinkTx"]


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
        payload_seconds: number of seconds that a payload may take for each MiB of it,
            once its first bytes have arrived. Then the link fails.
    """

    max_payload: int = 16 * 1024 * 1024
    max_unsent_bytes: int = 1024 * 1024
    max_unsent_payloads: int = 1024
    payload_seconds: float = DEFAULT_LIMITS.payload_seconds

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
        if self.payload_seconds != inf:
            check_seconds("payload_seconds", self.payload_seconds)


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
            StreamLinkRx(
                transport,
                FrameDecoder(limits.max_payload),
                payload_seconds=limits.payload_seconds,
            ),
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


_WAKE, _NOW, _NOTHING = (
    Write.WAKE,
    Write.NOW,
    Write.NOTHING,
)  # local aliases save a lookup each time


class StreamLinkTx(PermitTx):
    """The sending half of a stream link.

    `reserve` is always a cancellation point, and a schedule point only if it waits.
    There are more than 25 methods, as it does all that a `LinkTx` can do.
    """

    __slots__ = (
        "_backlog",
        "_carried",
        "_carrying",
        "_frames",
        "_max_payload",
        "_mode",
        "_state",
        "_transport",
        "_wake",
        "takes_frames",
    )

    def __init__(
        self, transport: ByteTransport, limits: StreamLimits, frames: FrameEncoder
    ) -> None:
        super().__init__()
        self._transport = transport
        self._max_payload = limits.max_payload
        self.takes_frames = (
            frames.takes_frames and limits.max_payload >= PASSED_BY_REFERENCE
        )
        self._state = _State.OPEN
        self._frames = frames
        self._backlog = Backlog(limits.max_unsent_payloads, limits.max_unsent_bytes)
        self._mode = Mode.PUMP
        self._carrying: trio.CancelScope | None = None
        self._carried: trio.Event | None = None
        self._wake: Callable[[], None] | None = None  # the pump, if it is idle

    # ------------------------------------------------ committing

    def _has_room(self) -> bool:
        return self._backlog.has_room(self._permits)

    def _new_permit(self) -> QueuedPermit:
        return QueuedPermit(self)

    def _check_length(self, length: int) -> None:
        if length > self._max_payload:
            raise PayloadTooLarge(length, self._max_payload)

    # Control-C in between would leave a part of a payload, or one that is not counted.
    @trio.lowlevel.enable_ki_protection
    def send_nowait(self, pieces: Sequence[Buffer] | bytes) -> None:
        if self._ending is not None:
            raise self._ending.as_error()
        if self.is_full:
            raise trio.WouldBlock
        if not isinstance(pieces, bytes):
            self._publish(pieces)
            return
        # A frame: as `_publish` does, and without a call for each part of it.
        size = len(pieces)
        self._frames.small.append(pieces)
        backlog = self._backlog
        backlog.last_length = size - HEADER_LENGTH
        backlog.payloads = payloads = backlog.payloads + 1
        backlog.size = size = backlog.size + size
        if (
            payloads >= backlog.room_up_to_payloads
            or size >= backlog.room_up_to_size
            or self._permits
        ):
            self.is_full = not self._has_room()
        self._mode, write = self._mode.on_commit
        if self._wake is not None:
            if write is not _NOTHING:
                self._do(write)
        elif size > backlog.count_from:
            self._count()

    def _publish(self, pieces: Sequence[Buffer]) -> None:
        """See `PermitTx._publish`; finds out as well whether there is room left."""
        length = sum(map(len, pieces))
        if length > self._max_payload:
            self._check_length(length)
        self._frames.add(pieces, length)
        backlog = self._backlog
        if not backlog.add(length) or self._permits:
            self.is_full = not self._has_room()
        self._mode, write = self._mode.on_commit
        # A pump that is writing will find this payload itself.
        if self._wake is not None:
            self._do(write)
        elif backlog.size > backlog.count_from:
            self._count()

    @trio.lowlevel.enable_ki_protection  # as for `send_nowait`
    def send_many_nowait(self, payloads: Sequence[Sequence[Buffer]]) -> int:
        if self._ending is not None:
            raise self._ending.as_error()
        if self.is_full or not payloads:
            return 0
        if type(payloads) is PayloadRun:
            frames = payloads.framed()
        else:
            frames = framed(b"", payloads)
        if (
            frames is None
            or frames.longest > self._max_payload
            or not self._backlog.add_all(frames, self._permits)
        ):
            return super().send_many_nowait(payloads)  # those that can be sent
        self._frames.add_frames(frames)
        self._mode, write = self._mode.on_commit
        if self._wake is not None:
            self._do(write)
        elif self._backlog.size > self._backlog.count_from:
            self._count()
        self.is_full = not self._has_room() and self._ending is None
        return len(payloads)

    def cork(self) -> None:
        self._mode, _ = self._mode.on_cork

    def uncork(self, *, prompt: bool = False) -> None:
        backlog = self._backlog
        if backlog.payloads != backlog.written_payloads:
            self._mode, write = self._mode.on_uncork
            if self._wake is not None:
                self._do(write)
        elif prompt:
            self._mode, _ = self._mode.on_uncork_prompt
        else:
            self._mode, _ = self._mode.on_uncork_idle

    def _do(self, write: Write) -> None:
        if write is _NOW:
            self._write_now()
        elif write is _WAKE:
            self._wake_pump()

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
            if self._backlog.size > self._backlog.count_from:
                self._count()
            self._wake_pump()
        else:
            self._written(self._backlog.payloads, self._backlog.size)

    def _written(self, payloads: int, size: int) -> None:
        """Everything up to these totals is written."""
        self._backlog.written(payloads, size)
        if self.is_full:
            self._grant_permits()

    def count_in(self, budget: ByteBudget) -> None:
        self._backlog.count_in(budget)

    def _count(self) -> None:
        """Count what is not written; drop it if there is no room for it."""
        if not self._backlog.count():
            self.forget()

    def forget(self) -> None:
        if not self._backlog.is_long or self._state is _State.FAILED:
            return
        self._failed(LinkError(_NO_ROOM), None)
        self._drop_unwritten()

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
            if self._backlog.unwritten_payloads:
                await self._write_pending()
            elif self._state is _State.OPEN:
                await self._wait_for_work()
            else:
                await self._end_stream()

    async def _end_stream(self) -> None:
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
        backlog = self._backlog
        payloads, size = backlog.payloads, backlog.size
        if size > backlog.count_from:
            self._count()
            if self._state is _State.FAILED:
                await trio.sleep_forever()  # it is cancelled
        try:
            await self._transport.send_all(self._frames.take())
        except STREAM_ERRORS as exc:
            if self._state is not _State.CLOSED:  # otherwise abort has caused it
                raise self._failed(broken("sending", exc), exc) from exc
        except BaseException as exc:
            # Nothing may follow a payload that may be incomplete.
            by = f"{type(exc).__name__}: {text_of(exc)}"
            self._failed(LinkError(f"writing was cut short by {by}"), exc)
            raise
        else:
            self._written(payloads, size)
            if backlog.counted:
                backlog.count()

    def _failed(self, error: LinkError, cause: BaseException | None) -> LinkError:
        if self._state in (_State.OPEN, _State.CLOSING):
            self._state = _State.FAILED
            self._end(type(error), str(error), cause)
        return error

    # ------------------------------------------------ closing

    @property
    def closes_at_once(self) -> bool:
        return (
            self._transport.ends_at_once
            and self._carrying is None
            and not self._backlog.unwritten_payloads
        )

    async def close(self) -> None:
        """Close gracefully; see `LinkTx.close`.

        Writes what is left itself if no task runs `pump`. A checkpoint.

        Raises:
            LinkError: the stream broke. An earlier failure of the link is not raised
                again, as only the stream is left to release.
        """
        if self._state is _State.OPEN:
            at_once = self.closes_at_once
            self._state = _State.CLOSING
            self._end(LinkClosed, _CLOSED_HERE)
            if at_once:
                self._wake = None
                await self._end_stream()
                return
            if self._carrying is None:
                self._wake = None  # not started only to close
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
        self._drop_unwritten()
        await self._transport.abort_sending()

    def _drop_unwritten(self) -> None:
        self._frames.take()
        if self._carrying is None:
            self._wake = None  # drop the reference to what starts it
        self._written(self._backlog.payloads, self._backlog.size)
        self._backlog.count()
        if self._carrying is not None:
            self._carrying.cancel()

    # ------------------------------------------------ looking

    def statistics(self) -> TxStatistics:
        backlog = self._backlog
        return TxStatistics(
            payloads=backlog.payloads,
            payload_bytes=backlog.payload_bytes,
            permits=self._permits,
            unsent_payloads=backlog.unwritten_payloads,
            unsent_bytes=backlog.unwritten_size,
            tasks_waiting=len(self._waiting or ()),
            parts=self._transport.parts,
        )

    def __repr__(self) -> str:
        backlog = self._backlog
        return (
            f"<StreamLinkTx {self._state.value}, "
            f"{backlog.unwritten_payloads} payloads unsent "
            f"({backlog.unwritten_size} bytes)>"
        )


_NO_ROOM = (
    "the peer does not read, and there is no room for what waits for it "
    "(limits: session_bytes, memory)"
)
_CLOSED_HERE = "this side has closed the sending half of the link"
