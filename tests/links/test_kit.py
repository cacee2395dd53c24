"""The conformance kit finds the faults it is there for."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import trio
import trio.testing

from roam_trio.links.base import Buffer, Link, LinkTxPermit, SplitLink, WriteSlot
from roam_trio.links.memory import MemoryLinkRx, MemoryLinkTx
from roam_trio.links.permits import PermitTx, QueuedPermit, QueuedSlot
from roam_trio.testing.link_conformance import CHECKS, LinkUnderTest

BUFFER = 4


class Tx(MemoryLinkTx):
    """What the faulty halves have in common: they reach into the memory link."""

    def put(self, payload: bytes) -> None:
        super()._publish((payload,))


class CutsPayloads(Tx):
    def _publish(self, pieces: Sequence[Buffer]) -> None:
        payload = b"".join(pieces)
        self.put(payload[:300])


class SendsPiecesApart(Tx):
    def _publish(self, pieces: Sequence[Buffer]) -> None:
        for piece in pieces or (b"",):
            self.put(bytes(piece))


class SkipsEmptyPayloads(Tx):
    def _publish(self, pieces: Sequence[Buffer]) -> None:
        if payload := b"".join(pieces):
            self.put(payload)


class Repeats(Tx):
    def _publish(self, pieces: Sequence[Buffer]) -> None:
        self.put(b"".join(pieces))
        if pieces == (b"\x07\0\0\0",):
            self.put(b"".join(pieces))


class HasNoBackpressure(Tx):
    def _has_room(self) -> bool:
        return True

    def _publish(self, pieces: Sequence[Buffer]) -> None:
        if self._queued < BUFFER:
            self.put(b"".join(pieces))


class KeepsReleasedRoom(Tx):
    def give_back_permit(self) -> None:
        pass


class LosesTheRoomOfCancelledReservers(Tx):
    async def reserve(self) -> LinkTxPermit:
        if self._has_room():
            return self.reserve_nowait()
        self._permits += 1
        await self._waiting.park()
        return self._new_permit()


class LetsOthersOvertake(Tx):
    async def reserve(self) -> LinkTxPermit:
        if not self._has_room():
            await self._waiting.park()
        self._permits += 1
        return self._new_permit()

    def _grant_permits(self) -> None:
        self._waiting.unpark()


class SendsNowaitWithoutRoom(Tx):
    def send_nowait(self, pieces: Sequence[Buffer]) -> None:
        if self._queued < BUFFER:
            self._publish(pieces)


class SeesRoomWhereNoneIs(Tx):
    def has_room(self) -> bool:
        return True


class ServesTheLastFirst(Tx):
    def __init__(
        self, channel: trio.MemorySendChannel[bytes], buffer: int = BUFFER
    ) -> None:
        super().__init__(channel, buffer)
        self.stack: list[trio.Event] = []

    async def reserve(self) -> LinkTxPermit:
        if not self._has_room():
            self.stack.append(event := trio.Event())
            await event.wait()
        self._permits += 1
        return self._new_permit()

    def _grant_permits(self) -> None:
        if self.stack:
            self.stack.pop().set()


class ClosesWithoutTellingReservers(Tx):
    async def abort(self) -> None:
        self._channel.close()
        self._closed.set()


class PublishesAfterClose(Tx):
    async def abort(self) -> None:
        self._waiting.unpark_all()
        self._closed.set()


class LosesTheLastOnClose(Tx):
    def _publish(self, pieces: Sequence[Buffer]) -> None:
        payload = b"".join(pieces)
        if not payload.startswith(b"199"):
            self.put(payload)


class KeepsPumpingAfterAbort(Tx):
    async def pump(self) -> None:
        await trio.sleep_forever()


class LooseSlot(QueuedSlot):
    """Too long."""

    def __init__(self, tx: PermitTx, length: int) -> None:
        super().__init__(tx, length + 1)


class HastySlot(QueuedSlot):
    """Published when discarded."""

    def discard(self) -> None:
        if self._tx is not None:
            self.commit()


class GivesLooseSlots(Tx):
    def _new_permit(self) -> LinkTxPermit:
        return PermitFor(self, LooseSlot)


class PublishesDiscardedSlots(Tx):
    def _new_permit(self) -> LinkTxPermit:
        return PermitFor(self, HastySlot)


class PermitFor(QueuedPermit):
    def __init__(self, tx: PermitTx, slot: type[QueuedSlot]) -> None:
        super().__init__(tx)
        self.slot = slot

    def _new_slot(self, tx: PermitTx, length: int) -> WriteSlot:
        return self.slot(tx, length)


class EndlessPermit(QueuedPermit):
    def _take(self) -> PermitTx:
        assert self._tx is not None
        return self._tx


class GivesEndlessPermits(Tx):
    def _new_permit(self) -> LinkTxPermit:
        return EndlessPermit(self)


class HandsOutBytearrays(MemoryLinkRx):
    async def recv(self) -> bytes | None:
        payload = await super().recv()
        return payload and bytearray(payload)  # type: ignore[return-value]


class LosesWhatComesAsItIsCancelled(MemoryLinkRx):
    async def recv(self) -> bytes | None:
        payload = await super().recv()
        await trio.lowlevel.checkpoint()
        return payload


class ForgetsTheEnd(MemoryLinkRx):
    async def recv(self) -> bytes | None:
        payload = await super().recv()
        if payload is None:
            await self._channel.aclose()
        return payload


class SpeaksOfTheEndTooSoon(MemoryLinkRx):
    def recv_nowait(self) -> bytes | None:
        try:
            return super().recv_nowait()
        except trio.WouldBlock:
            return None


class StaysOpen(MemoryLinkRx):
    async def close(self) -> None:
        pass


def under_test(
    tx: type[MemoryLinkTx] = MemoryLinkTx,
    rx: type[MemoryLinkRx] = MemoryLinkRx,
    max_payload: int | None = None,
) -> LinkUnderTest:
    async def make_pair() -> tuple[Link, Link]:
        there_send, there_receive = trio.open_memory_channel[bytes](BUFFER)
        back_send, back_receive = trio.open_memory_channel[bytes](BUFFER)
        there, back = tx(there_send, BUFFER), tx(back_send, BUFFER)
        return (
            SplitLink(there, rx(back_receive, back)),
            SplitLink(back, rx(there_receive, there)),
        )

    return LinkUnderTest(make_pair, max_payload)


async def passes(link: LinkUnderTest, name: str) -> bool:
    (check,) = [check for check in CHECKS if check.name == name]
    try:
        await check(link)
    except Exception:
        return False
    return True


@pytest.mark.parametrize(
    ("link", "check"),
    [
        (under_test(CutsPayloads), "payloads_keep_their_boundaries"),
        (under_test(CutsPayloads), "large_payloads_arrive"),
        (under_test(SendsPiecesApart), "send_publishes_the_pieces_as_one_payload"),
        (under_test(SkipsEmptyPayloads), "empty_payloads_arrive"),
        (under_test(Repeats), "payloads_arrive_in_order_of_commit"),
        (under_test(HasNoBackpressure), "full_link_makes_reserve_wait"),
        (under_test(HasNoBackpressure), "room_comes_back_as_payloads_are_carried"),
        (
            under_test(KeepsReleasedRoom),
            "released_permit_publishes_nothing_and_gives_room_back",
        ),
        (
            under_test(KeepsReleasedRoom),
            "discarded_slot_publishes_nothing_and_gives_room_back",
        ),
        (
            under_test(LosesTheRoomOfCancelledReservers),
            "cancelled_reserve_takes_no_room",
        ),
        (
            under_test(ServesTheLastFirst),
            "reservers_are_served_in_order",
        ),
        (
            under_test(LetsOthersOvertake),
            "nobody_overtakes_a_waiting_reserver",
        ),
        (under_test(ClosesWithoutTellingReservers), "abort_ends_the_link_at_once"),
        (
            under_test(ClosesWithoutTellingReservers),
            "closed_half_refuses_everything_new",
        ),
        (
            under_test(SendsNowaitWithoutRoom),
            "send_nowait_sends_only_where_there_is_room",
        ),
        (
            under_test(SeesRoomWhereNoneIs),
            "send_nowait_sends_only_where_there_is_room",
        ),
        (under_test(PublishesAfterClose), "closed_half_refuses_everything_new"),
        (
            under_test(LosesTheLastOnClose),
            "close_delivers_everything_then_the_end_for_ever",
        ),
        (under_test(KeepsPumpingAfterAbort), "abort_ends_the_link_at_once"),
        (under_test(GivesLooseSlots), "slot_has_exactly_the_length_asked_for"),
        (
            under_test(PublishesDiscardedSlots),
            "discarded_slot_publishes_nothing_and_gives_room_back",
        ),
        (under_test(GivesEndlessPermits), "used_permit_cannot_be_used_again"),
        (under_test(max_payload=100), "payload_over_the_limit_is_refused"),
        (
            under_test(rx=HandsOutBytearrays),
            "received_payloads_are_the_callers_own",
        ),
        (under_test(rx=LosesWhatComesAsItIsCancelled), "cancelled_recv_loses_nothing"),
        (
            under_test(rx=ForgetsTheEnd),
            "close_delivers_everything_then_the_end_for_ever",
        ),
        (under_test(rx=SpeaksOfTheEndTooSoon), "recv_nowait_takes_only_what_has_come"),
        (under_test(rx=StaysOpen), "closed_receiving_half_refuses_to_receive"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_kit_finds_the_fault(
    link: LinkUnderTest, check: str, autojump_clock: trio.testing.MockClock
) -> None:
    assert await passes(under_test(), check)
    assert not await passes(link, check)
