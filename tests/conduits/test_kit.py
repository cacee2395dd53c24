"""The conformance kit for conduits finds the faults it is there for."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from roam_trio.conduits.bare import (
    BareConduit,
    BareConduitPermit,
    BareConduitRx,
    BareConduitTx,
)
from roam_trio.conduits.base import Conduit
from roam_trio.errors import ConduitError
from roam_trio.links.base import Link
from roam_trio.links.memory import memory_link_pair
from roam_trio.testing.conduit_conformance import CHECKS, ConduitUnderTest, Texts

LIMIT = 8


class LosesAMessage(BareConduitTx[str]):
    def send_nowait(self, message: str) -> None:
        if message != "straight":
            super().send_nowait(message)


class RepeatsAMessage(BareConduitTx[str]):
    def send_nowait(self, message: str) -> None:
        super().send_nowait(message)
        super().send_nowait(message)


class SendsWhenReserved(BareConduitTx[str]):
    """As if the order were that of the permits."""

    async def reserve(self) -> BareConduitPermit[str]:
        permit = await super().reserve()
        messages.append(permit)
        return Waiting(permit)


messages: list[BareConduitPermit[str]] = []


class Waiting(BareConduitPermit[str]):
    def __init__(self, permit: BareConduitPermit[str]) -> None:
        self._own = permit
        self._message: str | None = None

    def send(self, message: str) -> None:
        first = messages.pop(0)
        if first is self._own:
            first.send(message)
        else:
            self._own.send("overtaken")

    def release(self) -> None:
        if self._own in messages:
            messages.remove(self._own)
        self._own.release()


class KeepsReleasedRoom(BareConduitTx[str]):
    async def reserve(self) -> BareConduitPermit[str]:
        return self.reserve_nowait()

    def reserve_nowait(self) -> BareConduitPermit[str]:
        permit = super().reserve_nowait()
        permit.release = lambda: None  # type: ignore[method-assign]
        return permit


class KeepsTheRoomOfWhatCannotBeEncoded(BareConduitTx[str]):
    def reserve_nowait(self) -> BareConduitPermit[str]:
        return Stubborn(self._tx.reserve_nowait(), self.encode)


class Stubborn(BareConduitPermit[str]):
    def send(self, message: str) -> None:
        self._permit.send(self._encode(message))


class SeesNoRoom(BareConduitTx[str]):
    def has_room(self) -> bool:
        return False


class NeverHasEnough(BareConduitTx[str]):
    """Takes whatever comes, and has no backpressure."""

    def reserve_nowait(self) -> BareConduitPermit[str]:
        return Bottomless(self._tx.reserve_nowait(), self.encode)


class Bottomless(BareConduitPermit[str]):
    def __init__(self, permit: object, encode: object) -> None:
        permit.release()  # type: ignore[attr-defined]
        super().__init__(permit, encode)  # type: ignore[arg-type]


class ClosesWithoutAWord(BareConduitTx[str]):
    async def close(self) -> None:
        await trio.lowlevel.checkpoint()


class ReceivesAnything(BareConduitRx[str]):
    def _message(self, payload: bytes) -> str:
        return payload.decode(errors="replace")


class HidesTheReason(BareConduitRx[str]):
    def _message(self, payload: bytes) -> str:
        try:
            return super()._message(payload)
        except ConduitError:
            raise ConduitError("something is wrong") from None


class EndsOnce(BareConduitRx[str]):
    ended = False

    async def recv(self) -> str | None:
        if self.ended:
            raise ConduitError("it has ended already")
        message = await super().recv()
        self.ended = message is None
        return message


class Faulty(Conduit[str]):
    def __init__(
        self, link: Link, tx: type[BareConduitTx[str]], rx: type[BareConduitRx[str]]
    ) -> None:
        self._halves = BareConduit(link, Texts()).split()
        link_tx, link_rx = link.split()
        self._halves = tx(link_tx, Texts()), rx(link_rx, Texts())

    def split(self) -> tuple[BareConduitTx[str], BareConduitRx[str]]:
        return self._halves


@pytest.mark.parametrize(
    ("fault", "found_by"),
    [
        (LosesAMessage, "message_is_sent_without_a_permit_where_there_is_room"),
        (RepeatsAMessage, "messages_held_back_go_out_together"),
        (SendsWhenReserved, "order_is_that_of_sending_not_of_reserving"),
        (KeepsReleasedRoom, "released_permit_sends_nothing_and_gives_its_room_back"),
        (
            KeepsTheRoomOfWhatCannotBeEncoded,
            "message_that_cannot_be_encoded_is_not_sent_and_takes_no_room",
        ),
        (SeesNoRoom, "message_is_sent_without_a_permit_where_there_is_room"),
        (NeverHasEnough, "full_conduit_makes_reserve_wait_and_serves_in_order"),
        (ClosesWithoutAWord, "closed_conduit_refuses_everything_new"),
        (ReceivesAnything, "what_is_no_message_is_a_conduit_error_with_its_reason"),
        (HidesTheReason, "what_is_no_message_is_a_conduit_error_with_its_reason"),
        (EndsOnce, "close_delivers_everything_then_the_end_for_ever"),
    ],
)
async def test_fault_is_found(
    fault: type, found_by: str, autojump_clock: trio.testing.MockClock
) -> None:
    tx = fault if issubclass(fault, BareConduitTx) else BareConduitTx
    rx = fault if issubclass(fault, BareConduitRx) else BareConduitRx

    async def make_pair() -> tuple[Conduit[str], Conduit[str]]:
        messages.clear()
        left, right = memory_link_pair(LIMIT)
        return Faulty(left, tx, rx), Faulty(right, tx, rx)

    (check,) = [check for check in CHECKS if str(check) == found_by]
    with pytest.RaisesGroup(
        pytest.RaisesExc((AssertionError, trio.TooSlowError, ConduitError)),
        allow_unwrapped=True,
        flatten_subgroups=True,
    ):
        await check(ConduitUnderTest(make_pair))
