"""The sending half of a resuming link."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import attrs
import trio
from trio.lowlevel import checkpoint

from ...errors import (
    EncodeError,
    LinkClosed,
    LinkDead,
    PayloadTooLarge,
    RoamTrioError,
    StableConduitError,
)
from ...wire.frames import HEADER_LENGTH, Frames, PayloadRun
from ..base import Buffer, ByteBudget, TxStatistics
from ..permits import PermitTx, QueuedPermit
from .conversation import Phase
from .port import TxPort
from .replay import Body, LongBody
from .sequence import LONGEST_HEADER

__all__ = ["ResumingTx", "StableTxStatistics"]

_KEPT_IN_PIECES: Final = 32 * 1024
"""Length of a message, in bytes, from which its pieces are kept and not joined. A piece
that is not `bytes` may change, and is copied."""


@attrs.frozen
class StableTxStatistics(TxStatistics):
    """Statistics of the sending half of a stable conduit.

    Unsent payloads are those that were not sent on the present link yet.

    Attributes:
        unacknowledged_frames: number of messages that the peer has not acknowledged.
        unacknowledged_bytes: their total length.
        links: number of links that were used so far.
        is_attached: whether it has a link now.
        full: the field of `StableLimits` that makes senders wait; None if none does.
    """

    unacknowledged_frames: int
    unacknowledged_bytes: int
    links: int
    is_attached: bool
    full: str | None


class ResumingTx(PermitTx):
    """The sending half: as that of a link, but with the errors of a stable conduit."""

    takes_frames = True

    def __init__(self, port: TxPort) -> None:
        super().__init__()
        self._port = port
        self._forwarding = port.forwarding
        self._replay = port.conversation.exchange.replay
        self._most_frames = port.limits.unacknowledged_frames
        self._most_bytes = port.limits.unacknowledged_bytes
        self._longest = port.limits.max_payload - LONGEST_HEADER
        # As messages are not empty, fewer bytes are fewer messages than may be.
        self._few_bytes = min(self._most_frames, self._most_bytes)
        self._last_length = 0

    # ------------------------------------------------ committing

    def _has_room(self) -> bool:
        replay, permits = self._replay, self._permits
        return (
            len(replay.bodies) + permits < self._most_frames
            and replay.size + permits * self._last_length < self._most_bytes
        )

    def _new_permit(self) -> QueuedPermit:
        return QueuedPermit(self)

    def _check_length(self, length: int) -> None:
        if length > self._longest:
            raise PayloadTooLarge(length, self._longest)
        if not length:
            raise EncodeError(
                "an empty message cannot be sent on a resuming link, where it "
                "would mean goodbye"
            )

    def send_nowait(self, pieces: Sequence[Buffer] | bytes) -> None:
        if self._ending is not None:
            raise self._ending.as_error()
        if self.is_full:
            raise trio.WouldBlock
        if not isinstance(pieces, bytes):
            self._publish(pieces)
        else:
            # A frame, of which the message is kept: as `_publish` does.
            body = pieces[HEADER_LENGTH:]
            length = len(body)
            if not 0 < length <= self._longest:
                self._check_length(length)
            self._last_length = length
            self._forwarding.push(body)
        if self._permits or self._replay.size >= self._few_bytes:
            # The size tells that there is no need to look.
            self.is_full = not self._has_room() and self._ending is None

    def _publish(self, pieces: Sequence[Buffer]) -> None:
        length = sum(map(len, pieces))
        if not 0 < length <= self._longest:
            self._check_length(length)
        body: Body
        if length < _KEPT_IN_PIECES:
            # This is the only copy, and none is made of an encoding in one piece.
            body = b"".join(pieces)
        else:
            body = LongBody(tuple(map(bytes, pieces)), length)
        self._last_length = length
        self._forwarding.push(body)

    def send_many_nowait(self, payloads: Sequence[Sequence[Buffer]]) -> int:
        if self._ending is not None:
            raise self._ending.as_error()
        if self.is_full or not payloads:
            return 0
        frames = payloads.framed() if type(payloads) is PayloadRun else None
        if frames is None or not self._has_room_for(frames):
            return super().send_many_nowait(payloads)  # those that can be sent
        bodies = frames.payloads()
        if not all(bodies):
            return super().send_many_nowait(payloads)  # up to the empty one
        self._last_length = frames.last
        self._forwarding.push_all(bodies, sum(map(len, bodies)))
        self.is_full = not self._has_room() and self._ending is None
        return len(bodies)

    def _has_room_for(self, frames: Frames) -> bool:
        """Return True if each of several messages finds room, without a close look."""
        replay, permits = self._replay, self._permits
        size = replay.size + len(frames.data) + permits * frames.longest
        return (
            frames.longest <= self._longest
            and len(replay.bodies) + permits + len(frames) <= self._most_frames
            and size < self._most_bytes
        )

    def was_acknowledged(self) -> None:
        """Wake senders if there is room; called after frames were received, if it
        `is_full`."""
        self._grant_permits()

    def cork(self) -> None:
        self._forwarding.cork()

    def uncork(self, *, prompt: bool = False) -> None:
        self._forwarding.uncork(prompt=prompt)

    def end(
        self, error: type[RoamTrioError], why: str, cause: BaseException | None
    ) -> None:
        """Refuse every further message."""
        self._end(error, why, cause)

    # ------------------------------------------------ carrying and closing

    def doubt(self) -> bool:
        """See `ConduitTx.doubt`."""
        return self._port.doubt()

    async def pump(self) -> None:
        """See `Resuming.pump`."""
        await self._port.pump()

    async def close(self) -> None:
        """Send the goodbye, and wait until the peer has received everything before it.

        The acknowledgement arrives only while a task receives. A checkpoint.

        Raises:
            StableConduitError: the resuming link failed first.
        """
        port, conversation = self._port, self._port.conversation
        if conversation.phase is Phase.OPEN:
            self._end(LinkClosed, _CLOSED_HERE, None)
            port.say_goodbye()
        await checkpoint()
        if port.is_pumped:
            await self._wait_for_the_answer()
        elif conversation.phase is Phase.CLOSING:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._pump_for_the_answer)
                await self._wait_for_the_answer()
                nursery.cancel_scope.cancel()
        conversation.raise_failure()

    async def _wait_for_the_answer(self) -> None:
        conversation = self._port.conversation
        while (
            conversation.phase is Phase.CLOSING
            and not conversation.is_goodbye_acknowledged
        ):
            await self._port.changed.park()

    async def _pump_for_the_answer(self) -> None:
        with suppress(StableConduitError):  # `close` raises it
            await self._port.pump()

    async def abort(self) -> None:
        """End at once; see `LinkTx.abort`. The peer may then wait for another link."""
        self._end(LinkClosed, _CLOSED_HERE, None)
        await self._port.abort()

    def count_in(self, budget: ByteBudget) -> None:
        """Count the unacknowledged messages in `budget` until `forget`."""
        self._replay.count_in(budget)

    def forget(self) -> None:
        """Drop the unacknowledged messages; see `ConduitTx.forget`."""
        self._replay.forget()
        if self._port.link is None:
            why = "the peer has no link, and there is no room for messages to it"
            self._port.fail(LinkDead(why))

    # ------------------------------------------------ looking

    @property
    def _full(self) -> str | None:
        if len(self._replay.bodies) + self._permits >= self._most_frames:
            return "unacknowledged_frames"
        return None if self._has_room() else "unacknowledged_bytes"

    def statistics(self) -> StableTxStatistics:
        replay, forwarding, link = self._replay, self._forwarding, self._port.link
        has_said_goodbye = self._port.conversation.has_said_goodbye
        on_link = None if link is None else link.tx.statistics()
        return StableTxStatistics(
            payloads=replay.total - forwarding.fillers - has_said_goodbye,
            payload_bytes=replay.total_size - forwarding.filler_bytes,
            permits=self._permits,
            unsent_payloads=replay.backlog
            + (on_link.unsent_payloads if on_link else 0),
            unsent_bytes=replay.backlog_size + (on_link.unsent_bytes if on_link else 0),
            tasks_waiting=len(self._waiting or ()),
            parts=on_link.parts if on_link else 0,
            unacknowledged_frames=len(replay.bodies),
            unacknowledged_bytes=replay.size,
            links=self._port.links,
            is_attached=link is not None,
            full=self._full,
        )

    def __repr__(self) -> str:
        port = self._port
        attached = "attached" if port.link is not None else "without a link"
        return (
            f"<ResumingTx {port.conversation.phase.value}, {attached}, "
            f"{len(self._replay.bodies)} messages not acknowledged>"
        )


_CLOSED_HERE = "this side has closed the sending half of the link"
