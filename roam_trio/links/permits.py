"""Permits, slots, and the queue of tasks that wait for room.

This is the common part of the sending halves of all links. A subclass determines
whether there is room, and how to publish a payload. The base class ensures that waiting
tasks are served in order, that no permit is lost, and that all tasks are woken at the
end.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import attrs
import trio
from trio.lowlevel import ParkingLot, checkpoint_if_cancelled, enable_ki_protection

from ..errors import PayloadTooLarge, RoamTrioError
from ..kept_errors import strip_tracebacks
from .base import Buffer, LinkTx, LinkTxPermit, WriteSlot
from .fillable_bytes import FillableBytes

__all__ = ["PermitTx", "QueuedPermit", "QueuedSlot"]


class PermitTx(LinkTx):
    """A sending half that grants permits in the order of the requests for them.

    A subclass determines whether there is room, and calls `_grant_permits` whenever
    there is room again while `is_full` is True. Hence no task waits while there is
    room.
    """

    # A server holds such a half for each session: a dict would take more memory.
    __slots__ = (
        "_ending",
        "_permits",
        "_sent_bytes",
        "_sent_payloads",
        "_waiting",
        "is_full",
    )

    def __init__(self) -> None:
        self.is_full = False
        """True if there is no room for another payload; updated by everything that
        takes or releases room. False when this half has ended.
        """
        self._permits = 0
        self._sent_payloads: int = 0
        self._sent_bytes: int = 0
        self._waiting: ParkingLot | None = None  # most halves never have to wait
        self._ending: _Ending | None = None

    # ------------------------------------------------ what a subclass decides

    @abstractmethod
    def _has_room(self) -> bool:
        """Return True if one more permit may be granted."""

    @abstractmethod
    def _new_permit(self) -> LinkTxPermit: ...

    @abstractmethod
    def _check_length(self, length: int) -> None:
        """Raise PayloadTooLarge if `length` exceeds the limit."""

    @abstractmethod
    def _publish(self, pieces: Sequence[Buffer]) -> None:
        """Publish one payload; raises PayloadTooLarge or LinkError if it cannot."""

    # ------------------------------------------------ reserving

    async def reserve(self) -> LinkTxPermit:
        await checkpoint_if_cancelled()
        if self._ending is not None:
            raise self._ending.as_error()
        if not self._has_room():
            # The task that wakes us has already counted our permit: no other task can
            # take it in between, and a cancellation can no longer be delivered here.
            self.is_full = True
            if self._waiting is None:
                self._waiting = ParkingLot()
            await self._waiting.park()
            try:
                self._refuse_if_ended()
            except BaseException:
                self._permits -= 1
                raise
        else:
            self._permits += 1
            self.is_full = not self._has_room()
        return self._new_permit()

    def reserve_nowait(self) -> LinkTxPermit:
        self._refuse_if_ended()
        if not self._has_room():
            raise trio.WouldBlock
        self._permits += 1
        self.is_full = not self._has_room()
        return self._new_permit()

    def has_room(self) -> bool:
        return not self.is_full

    @enable_ki_protection  # Control-C would leave a part of a payload
    def send_nowait(self, pieces: Sequence[Buffer]) -> None:
        if self._ending is not None:
            raise self._ending.as_error()
        if self.is_full:
            raise trio.WouldBlock
        self._publish(pieces)
        if not self._has_room():
            self.is_full = self._ending is None

    def _grant_permits(self) -> None:
        """Update `is_full`, and wake as many waiting tasks as there is room for."""
        while has_room := self._has_room():
            if not self._waiting:
                break
            self._permits += 1
            self._waiting.unpark()
        self.is_full = not has_room and self._ending is None

    # ------------------------------------------------ permits and slots

    @enable_ki_protection  # as for `send_nowait`
    def use_permit(self, pieces: Sequence[Buffer]) -> None:
        """Publish a payload with a permit. The permit is used up even on failure."""
        self._permits -= 1
        try:
            if self._ending is not None:
                raise self._ending.as_error()
            self._publish(pieces)
        finally:
            self._grant_permits()

    @enable_ki_protection
    def give_back_permit(self) -> None:
        """Release an unused permit."""
        self._permits -= 1
        self._grant_permits()

    def check_slot(self, length: int) -> None:
        """Check the length of a slot; release the permit if it is too large."""
        try:
            self._check_length(length)
        except PayloadTooLarge:
            self.give_back_permit()
            raise

    # ------------------------------------------------ the end

    def _end(
        self, error: type[RoamTrioError], why: str, cause: BaseException | None = None
    ) -> None:
        """Refuse every payload from now on, with the reason."""
        if cause is not None:
            strip_tracebacks(cause)  # its frames refer to the link
        self._ending = _Ending(error, why, cause)
        self.is_full = False  # senders find out at once
        if self._waiting is not None:
            # They give them back as they are refused.
            self._permits += len(self._waiting)
            self._waiting.unpark_all()

    def _refuse_if_ended(self) -> None:
        if self._ending is not None:
            raise self._ending.as_error()


@attrs.frozen
class _Ending:
    """The reason why no more can be sent. Each task gets its own exception, because a
    shared one would collect the tracebacks of all.
    """

    error: type[RoamTrioError]
    why: str
    cause: BaseException | None

    def as_error(self) -> RoamTrioError:
        error = self.error(self.why)
        error.__cause__ = self.cause
        return error


class QueuedPermit(LinkTxPermit):
    """A permit of an `PermitTx`."""

    __slots__ = ("_tx",)

    def __init__(self, tx: PermitTx) -> None:
        self._tx: PermitTx | None = tx

    def send(self, pieces: Sequence[Buffer]) -> None:
        self._take().use_permit(pieces)

    def alloc(self, length: int) -> WriteSlot:
        tx = self._take()
        tx.check_slot(length)
        return self._new_slot(tx, length)

    def release(self) -> None:
        if self._tx is not None:
            self._take().give_back_permit()

    def _new_slot(self, tx: PermitTx, length: int) -> WriteSlot:
        return QueuedSlot(tx, length)

    def _take(self) -> PermitTx:
        tx = self._tx
        if tx is None:
            raise RuntimeError("this permit is used up; reserve() another one")
        self._tx = None
        return tx


class QueuedSlot(WriteSlot):
    """A slot of an `PermitTx`; it holds the room of its permit."""

    __slots__ = ("_storage", "_tx")

    def __init__(self, tx: PermitTx, length: int) -> None:
        self._tx: PermitTx | None = tx
        self._storage = FillableBytes(length)

    @property
    def buffer(self) -> memoryview:
        return self._storage.view

    def commit(self) -> None:
        if self._tx is None:
            raise RuntimeError(
                "this slot is used up; reserve() and alloc() another one"
            )
        tx, self._tx = self._tx, None
        tx.use_permit((self._storage.finish(),))

    def discard(self) -> None:
        if self._tx is not None:
            tx, self._tx = self._tx, None
            self._storage.view.release()
            tx.give_back_permit()
