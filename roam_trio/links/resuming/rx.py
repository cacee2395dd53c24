"""The receiving half of a resuming link."""

from __future__ import annotations

from collections.abc import Sequence

import trio
from trio.lowlevel import checkpoint_if_cancelled

from ...errors import LinkClosed, LinkError
from ...wire.backing import Backing
from ..base import RxBudget, RxStatistics
from .conversation import Phase
from .link_run import LinkRun
from .port import RxPort

__all__ = ["ResumingRx"]


class ResumingRx:
    """The receiving half: as that of a link, but a large message is a memoryview."""

    def __init__(self, port: RxPort) -> None:
        self._port = port
        self._is_reading = False
        self._budget: RxBudget | None = None
        self._counted: LinkRun | None = None  # the link that counts in it

    def count_in(self, budget: RxBudget) -> None:
        """See `LinkRx.count_in`."""
        self._budget, self._counted = budget, None

    async def recv(self) -> Backing | None:
        """See `LinkRx.recv`."""
        await checkpoint_if_cancelled()
        port = self._port
        while not self._is_at_end_or_raises():
            link = port.link
            if link is None:
                await port.changed.park()
                continue
            if link is not self._counted:
                self._count(link)
            self._is_reading = True
            try:
                payload = await link.rx.recv()
            except LinkError as error:
                port.lose(link, error)
            else:
                message = self._message_of(link, payload)
                if message is not None:
                    return message
            finally:
                self._is_reading = False
        return None

    def recv_nowait(self) -> Backing | None:
        """See `LinkRx.recv_nowait`."""
        port = self._port
        while not self._is_at_end_or_raises():
            link = port.link
            if link is None:
                raise trio.WouldBlock
            try:
                payload = link.rx.recv_nowait()
            except LinkError as error:
                port.lose(link, error)
            else:
                message = self._message_of(link, payload)
                if message is not None:
                    return message
        return None

    async def recv_batch(self) -> Sequence[Backing]:
        """See `LinkRx.recv_batch`."""
        port, conversation = self._port, self._port.conversation
        while True:
            if not conversation.can_receive:
                await checkpoint_if_cancelled()
                self._is_at_end_or_raises()
                return ()
            link = port.link
            if link is None:
                await port.changed.park()
                continue
            if link is not self._counted:
                self._count(link)
            self._is_reading = True
            try:
                payloads = await link.rx.recv_batch()  # a cancellation point
            except LinkError as error:
                port.lose(link, error)
            else:
                messages = port.receive(link, payloads)
                if messages:
                    return messages
            finally:
                self._is_reading = False

    def _count(self, link: LinkRun) -> None:
        """Count in the budget what a link receives; each link, as it comes."""
        self._counted = link
        if self._budget is not None:
            link.rx.count_in(self._budget)

    def _is_at_end_or_raises(self) -> bool:
        conversation = self._port.conversation
        is_at_end = conversation.is_at_end
        if conversation.is_receiver_closed or (
            conversation.phase is Phase.CLOSED and not is_at_end
        ):
            raise LinkClosed("this side has closed the receiving half of the link")
        if conversation.failure is not None:
            conversation.raise_failure()
        if conversation.refusal is not None:
            error, conversation.refusal = conversation.refusal, None
            try:
                raise error
            finally:
                # Or else the error would hold this frame, and this frame the error.
                del error
        return is_at_end

    def _message_of(self, link: LinkRun, payload: Backing | None) -> Backing | None:
        messages = self._port.receive(link, () if payload is None else (payload,))
        return messages[0] if messages else None

    def statistics(self) -> RxStatistics:
        """Return the totals received, without the frame headers."""
        link = self._port.link
        begun = 0 if link is None else link.rx.statistics().begun
        payloads, payload_bytes = self._port.conversation.delivered
        return RxStatistics(payloads, payload_bytes, begun)

    async def close(self) -> None:
        """Stop receiving; see `LinkRx.close`. Later messages are dropped."""
        port, conversation = self._port, self._port.conversation
        conversation.delivered_in_all = conversation.delivered
        conversation.is_receiver_closed = True
        if self._is_reading and port.link is not None:
            port.lose(port.link, "its reader was told to stop")
        port.look_for_the_end()
        port.changed.unpark_all()

    def __repr__(self) -> str:
        conversation = self._port.conversation
        state = "at its end" if conversation.is_at_end else "open"
        if conversation.is_receiver_closed:
            state = "closed"
        return f"<ResumingRx {state}, {conversation.delivered[0]} messages received>"
