"""Links with injected faults.

    link = FaultyLink(some_link, sending=Faults(duplicates={3}))

`Faults` plans faults; `cut`, `stall`, `lose` and `heal` act at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final

import trio
from trio.lowlevel import ParkingLot, checkpoint, checkpoint_if_cancelled

from ..errors import LinkClosed, LinkError, PayloadTooLarge
from ..links.base import Buffer, Link, LinkRx, LinkTx, RxStatistics, TxStatistics
from ..links.permits import PermitTx, QueuedPermit
from ..peers import Peer
from ..wire.backing import Backing
from .faults import NO_FAULTS, Faults, Way

__all__ = ["FaultyLink", "FaultyLinkRx", "FaultyLinkTx"]

_MOST_WAITING: Final = 8
"""Number of payloads that may wait to be written to the link."""


class FaultyLink(Link):
    """One end of any link, with injected faults.

    Without faults it behaves like the link inside. After a cut, the other end receives
    what has passed, and then the end; this end gets a `LinkError`, or the end if the
    cut is clean. Sent payloads pass only while the pump runs.

    Args:
        link: the link, which this object owns.
        sending: the faults of payloads that are sent here.
        receiving: the faults of payloads that are received here.
        cleanly: whether a cut looks like an orderly end by the peer.
        max_payload: length of the longest payload in bytes, if the link has a limit.
    """

    def __init__(
        self,
        link: Link,
        *,
        sending: Faults = NO_FAULTS,
        receiving: Faults = NO_FAULTS,
        cleanly: bool = False,
        max_payload: int | None = None,
    ) -> None:
        self._link = link
        tx, rx = link.split()
        self._tx = FaultyLinkTx(self, tx, Way(sending), max_payload)
        self._rx = FaultyLinkRx(self, rx, Way(receiving), cleanly)

    def split(self) -> tuple[FaultyLinkTx, FaultyLinkRx]:
        return self._tx, self._rx

    def peer(self) -> Peer:
        return self._link.peer()

    @property
    def sent(self) -> int:
        """Number of payloads sent, without lost ones."""
        return self._tx.way.passed

    @property
    def received(self) -> int:
        """Number of payloads received, without lost ones."""
        return self._rx.way.passed

    async def cut(self) -> None:
        """Break the link now. Has no effect if it is cut. Does not wait."""
        self._tx.was_cut()
        self._rx.was_cut()
        await self._tx.inner.abort()
        await self._rx.inner.close()

    async def cut_after_what_has_passed(self) -> None:
        """Break the link after it has delivered the payloads that it has accepted."""
        self._tx.was_cut()
        self._rx.was_cut()
        try:
            await self._tx.inner.close()
        finally:
            await self.cut()

    def stall(self) -> None:
        """Let nothing pass in either direction until `heal`. Payloads in transit may
        still arrive.
        """
        self._tx.way.stall_at = self._rx.way.stall_at = 0

    def lose(self, *, sending: bool = True, receiving: bool = True) -> None:
        """Silently lose everything from now on."""
        if sending:
            self._tx.way.lose_at = 0
        if receiving:
            self._rx.way.lose_at = 0

    def heal(self) -> None:
        """Remove all faults. A link that was cut stays cut."""
        self._tx.way.heal()
        self._rx.way.heal()


class FaultyLinkTx(PermitTx):
    """The sending half; payloads wait here until the pump passes them on."""

    def __init__(
        self, link: FaultyLink, inner: LinkTx, way: Way, max_payload: int | None
    ) -> None:
        super().__init__()
        self._max_payload = max_payload
        self.inner = inner
        self.way = way
        self._link = link
        self._queue: deque[bytes] = deque()
        self._number = 0
        self._is_closing = False
        self._wake = ParkingLot()
        self._pump: trio.CancelScope | None = None
        self._left = ParkingLot()

    # ------------------------------------------------ committing

    def _has_room(self) -> bool:
        return len(self._queue) + self._permits < _MOST_WAITING

    def _new_permit(self) -> QueuedPermit:
        return QueuedPermit(self)

    def _check_length(self, length: int) -> None:
        if self._max_payload is not None and length > self._max_payload:
            raise PayloadTooLarge(length, self._max_payload)

    def _publish(self, pieces: Sequence[Buffer]) -> None:
        payload = b"".join(pieces)
        self._check_length(len(payload))
        self._queue.append(payload)
        self._sent_payloads += 1
        self._sent_bytes += len(payload)
        self._wake.unpark_all()

    # ------------------------------------------------ carrying

    async def pump(self) -> None:
        """Write payloads to the link, as far as the faults allow."""
        if self._is_closing:
            await self.close()
        elif self._pump is not None:
            raise trio.BusyResourceError("another task runs the pump of this link")
        else:
            await self._run()

    async def _run(self) -> None:
        try:
            with trio.CancelScope() as self._pump:  # cancelled by abort
                await self._carry_all()
        finally:
            self._pump = None
            self._left.unpark_all()

    async def _carry_all(self) -> None:
        failures: list[LinkError] = []

        async def note_failure(work: Callable[[], Awaitable[None]]) -> None:
            try:
                await work()
            except LinkError as error:
                failures.append(error)
                self._end(type(error), str(error), error.__cause__)
                nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(note_failure, self.inner.pump)
            await note_failure(self._carry)
            nursery.cancel_scope.cancel()
        if failures:
            raise failures[0]

    async def _carry(self) -> None:
        while True:
            await self.way.wait_while_stalled()
            if self.way.is_cut:
                await self._link.cut_after_what_has_passed()
                raise LinkError(_CUT)
            if self._queue:
                await self._let_pass(self._queue[0])
                self._queue.popleft()
                self._grant_permits()
            elif self._is_closing:
                return await self.inner.close()
            else:
                await self._wake.park()

    async def _let_pass(self, payload: bytes) -> None:
        number, self._number = self._number, self._number + 1
        if self.way.is_lost:
            return await checkpoint()
        await trio.sleep(self.way.seconds_each)
        for _ in range(2 if number in self.way.duplicates else 1):
            (await self.inner.reserve()).send((payload,))
        self.way.passed += 1

    def was_cut(self) -> None:
        """Handle a cut of the link; called by the link."""
        self._end(LinkError, _CUT)
        self.way.cut()
        self._wake.unpark_all()

    # ------------------------------------------------ closing

    async def close(self) -> None:
        """See `LinkTx.close`. Stalled payloads must be healed first."""
        if self._ending is None:
            self._end(LinkClosed, "this side has closed the sending half of the link")
        self._is_closing = True
        self._wake.unpark_all()
        await checkpoint()
        if self._pump is None:
            with suppress(LinkError):
                await self._run()
        while self._pump is not None:
            await self._left.park()

    async def abort(self) -> None:
        """See `LinkTx.abort`."""
        self._end(LinkClosed, "this side has closed the sending half of the link")
        self._queue.clear()
        if self._pump is not None:
            self._pump.cancel()
        await self.inner.abort()

    def statistics(self) -> TxStatistics:
        inner = self.inner.statistics()
        return TxStatistics(
            payloads=self._sent_payloads,
            payload_bytes=self._sent_bytes,
            permits=self._permits,
            unsent_payloads=inner.unsent_payloads + len(self._queue),
            unsent_bytes=inner.unsent_bytes + sum(map(len, self._queue)),
            tasks_waiting=len(self._waiting or ()),
            parts=inner.parts,
        )

    def __repr__(self) -> str:
        return f"<FaultyLinkTx, {self.way.passed} sent, on {self.inner!r}>"


class FaultyLinkRx(LinkRx):
    """The receiving half."""

    def __init__(
        self, link: FaultyLink, inner: LinkRx, way: Way, cleanly: bool
    ) -> None:
        self.inner = inner
        self.way = way
        self._link = link
        self._cleanly = cleanly
        self._is_cut = False
        self._is_closed = False
        self._number = 0
        # The arrived payload that is not received yet, kept so that cancelling loses
        # nothing.
        self._come: deque[Backing] = deque()
        self._payloads = 0
        self._payload_bytes = 0

    async def recv(self) -> Backing | None:
        await checkpoint_if_cancelled()
        way = self.way
        while not self._come:
            await way.wait_while_stalled()
            if way.is_cut and not self._is_cut:
                await self._link.cut()
            if self._is_at_a_cut():
                return None
            try:
                payload = await self.inner.recv()
            except LinkClosed:
                if self._is_at_a_cut():
                    return None
                raise
            if payload is None:
                return None
            self._take(payload)
        await trio.sleep(way.seconds_each)
        return self._received()

    def recv_nowait(self) -> Backing | None:
        if not self._come:
            way = self.way
            if self._is_at_a_cut():
                return None
            if way.is_cut or way.passed >= way.stall_at or way.seconds_each:
                raise trio.WouldBlock
            payload = self.inner.recv_nowait()
            if payload is None:
                return None
            self._take(payload)
            if not self._come:
                raise trio.WouldBlock
        if self.way.seconds_each:
            raise trio.WouldBlock
        return self._received()

    def _take(self, payload: Backing) -> None:
        number, self._number = self._number, self._number + 1
        if not self.way.is_lost:
            self._come.extend([payload] * (2 if number in self.way.duplicates else 1))
            self.way.passed += 1

    def _received(self) -> Backing:
        payload = self._come.popleft()
        self._payloads += 1
        self._payload_bytes += len(payload)
        return payload

    def _is_at_a_cut(self) -> bool:
        if not self._is_cut or self._is_closed:
            return False
        if not self._cleanly:
            raise LinkError(_CUT)
        return True

    def was_cut(self) -> None:
        """Handle a cut of the link; called by the link."""
        self._is_cut = True
        self.way.cut()

    def statistics(self) -> RxStatistics:
        return RxStatistics(self._payloads, self._payload_bytes)

    async def close(self) -> None:
        """See `LinkRx.close`."""
        self._is_closed = True
        self._come.clear()
        await self.inner.close()

    def __repr__(self) -> str:
        return f"<FaultyLinkRx, {self.way.passed} received, on {self.inner!r}>"


_CUT = "the link is cut"
