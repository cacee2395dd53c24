"""The receiving half of a resuming link."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress

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
        self._payloads = 0
        self._payload_bytes = 0
        self._budget: RxBudget | None = None

    def count_in(self, budget: RxBudget) -> None:
        """See `LinkRx.count_in`."""
        self._budget = budget

    async def recv(self) -> Backing | None:
        """See `LinkRx.recv`."""
        await checkpoint_if_cancelled()
        port = self._port
        while not self._is_at_end_or_raises():
            link = port.link
            if link is None:
                await port.changed.park()
                continue
            self._is_reading = True
            if self._budget is not None:
                link.rx.count_in(self._budget)  # it may be another link by now
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

    async def recv_batch(self) -> Iterable[bytes | memoryview]:
        """See `LinkRx.recv_batch`.

        All but the first are received during iteration, which raises what `recv` would
        raise."""
        first = await self.recv()
        return () if first is None else self._with_the_others(first)

    def _with_the_others(
        self, first: bytes | memoryview
    ) -> Iterator[bytes | memoryview]:
        yield first
        with suppress(trio.WouldBlock):
            while (message := self.recv_nowait()) is not None:
                yield message

    def _is_at_end_or_raises(self) -> bool:
        conversation = self._port.conversation
        is_at_end = conversation.is_at_end
        if conversation.is_receiver_closed or (
            conversation.phase is Phase.CLOSED and not is_at_end
        ):
            raise LinkClosed("this side has closed the receiving half of the link")
        if conversation.failure is not None:
            conversation.raise_failure()
        return is_at_end

    def _message_of(self, link: LinkRun, payload: Backing | None) -> Backing | None:
        port = self._port
        if payload is None:
            port.lose(link, "the peer has closed it")
            return None
        if link is not port.link:
            return None  # the peer was told, on another link, that it is missing
        message = port.receive(link, payload)
        if message is not None:
            self._payloads += 1
            self._payload_bytes += len(message)
        return message

    def statistics(self) -> RxStatistics:
        """Return the totals received, without the frame headers."""
        link = self._port.link
        begun = 0 if link is None else link.rx.statistics().begun
        return RxStatistics(self._payloads, self._payload_bytes, begun)

    async def close(self) -> None:
        """Stop receiving; see `LinkRx.close`. Later messages are dropped."""
        port = self._port
        port.conversation.is_receiver_closed = True
        if self._is_reading and port.link is not None:
            port.lose(port.link, "its reader was told to stop")
        port.look_for_the_end()
        port.changed.unpark_all()

    def __repr__(self) -> str:
        conversation = self._port.conversation
        state = "at its end" if conversation.is_at_end else "open"
        if conversation.is_receiver_closed:
            state = "closed"
        return f"<ResumingRx {state}, {self._payloads} messages received>"
