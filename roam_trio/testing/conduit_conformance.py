"""Checks that every conduit must pass.

Pass a function that makes a connected pair of conduits for texts, and run all of
`CHECKS`:

    @pytest.mark.parametrize("check", CHECKS, ids=str)
    async def test_my_conduit(check):
        await check(ConduitUnderTest(make_pair))

Every check makes its own pair and uses it like a session: it pumps and receives on both
sides all the time. A failed check raises AssertionError, or trio.TooSlowError if the
conduit blocks it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, TypeAlias

import attrs
import trio
from trio.testing import wait_all_tasks_blocked

from ..conduits.base import Conduit, ConduitRx, ConduitTx, ConduitTxPermit
from ..errors import ConduitError, DecodeError, EncodeError, LinkClosed, LinkError
from ..wire.family import MsgFamily
from .requirements import TIME_LIMIT, Requirement, expect_equal, refused

__all__ = ["CHECKS", "Check", "ConduitUnderTest", "Texts"]

_MOST_MESSAGES: Final = 100_000
"""Number of messages; a conduit with room for this many has no backpressure."""


class Texts(MsgFamily[str]):
    """The messages of the pair: texts that are not empty.

    A text with a NUL cannot be encoded. The encoding of a text that begins with an
    exclamation mark is not a message.
    """

    def encode(self, message: str) -> list[bytes | memoryview]:
        if "\0" in message:
            raise EncodeError("expected a text without NUL")
        if message.startswith("!"):
            return [b"\xff"]
        half = len(message) // 2
        return [message[:half].encode(), memoryview(message[half:].encode())]

    def decode(self, payload: bytes | memoryview) -> str:
        try:
            return str(payload, "utf-8")
        except UnicodeDecodeError as error:
            raise DecodeError("expected UTF-8") from error

    def filler(self) -> str:
        return "\N{WHITE SQUARE}"


@attrs.frozen
class ConduitUnderTest:
    """Makes the conduits to check.

    Attributes:
        make_pair: makes two conduits of `Texts`, each the peer of the other; called
            once per check.
    """

    make_pair: Callable[[], Awaitable[tuple[Conduit[str], Conduit[str]]]]


Check: TypeAlias = Requirement[ConduitUnderTest]
"""A requirement on every conduit; call it with the conduit."""

CHECKS: list[Check] = []
"""All checks."""


class _End:
    """One end of the pair, pumped and received from."""

    def __init__(self, conduit: Conduit[str], nursery: trio.Nursery) -> None:
        self.tx: ConduitTx[str]
        self.rx: ConduitRx[str]
        self.tx, self.rx = conduit.split()
        self.got: deque[str | Exception | None] = deque()
        self.reads = trio.Event()
        self.reads.set()
        self._came = trio.lowlevel.ParkingLot()
        nursery.start_soon(self._pump)
        nursery.start_soon(self._receive_all)

    async def _pump(self) -> None:
        with suppress(LinkError, ConduitError):
            await self.tx.pump()

    async def _receive_all(self) -> None:
        while not self.got or self.got[-1] is not None:
            await self.reads.wait()
            try:
                self.got.append(await self.rx.recv())
            except ConduitError as error:
                self.got.append(error)
            except LinkError as error:
                self.got.append(error)
                return
            finally:
                self._came.unpark_all()

    async def send(self, message: str) -> None:
        (await self.tx.reserve()).send(message)

    async def receive(self) -> str | Exception | None:
        while not self.got:
            await self._came.park()
        return self.got.popleft()

    async def expect(self, *messages: str | None) -> None:
        """Check that these come next."""
        for message in messages:
            come = await self.receive()
            if come != message:
                raise AssertionError(f"expected {message!r}, and got {come!r}")

    def fill(self) -> list[ConduitTxPermit[str]]:
        """Return all available permits."""
        permits: list[ConduitTxPermit[str]] = []
        while len(permits) < _MOST_MESSAGES:
            try:
                permits.append(self.tx.reserve_nowait())
            except trio.WouldBlock:
                return permits
        raise AssertionError(f"{len(permits)} permits are out, and there is still room")


_Scenario = Callable[[_End, _End, trio.Nursery], Awaitable[None]]


def _check(*rules: str) -> Callable[[_Scenario], Check]:
    def register(scenario: _Scenario) -> Check:
        async def run(conduit: ConduitUnderTest) -> None:
            await _run(conduit, scenario)

        check = Requirement(scenario.__name__, rules, run)
        CHECKS.append(check)
        return check

    return register


async def _run(conduit: ConduitUnderTest, scenario: _Scenario) -> None:
    """Run a scenario on a new pair, then close the pair."""
    with trio.fail_after(TIME_LIMIT):
        async with trio.open_nursery() as nursery:
            ends = [_End(half, nursery) for half in await conduit.make_pair()]
            try:
                # Both have sent a message, as in every session.
                await ends[0].send("hello")
                await ends[1].expect("hello")
                await ends[1].send("hello yourself")
                await ends[0].expect("hello yourself")
                await scenario(ends[0], ends[1], nursery)
            finally:
                for end in ends:
                    await end.tx.abort()
                    await end.rx.close()
                nursery.cancel_scope.cancel()


# ---------------------------------------------------------------- messages


@_check("conduit", "conduit.split", "conduit.permit", "conduit.permit.send")
async def messages_arrive_once_and_in_order_both_ways(
    left: _End, right: _End, nursery: trio.Nursery
) -> None:
    texts = [str(number) * (number % 50 + 1) for number in range(500)]

    async def send_all(end: _End) -> None:
        for text in texts:
            await end.send(text)

    nursery.start_soon(send_all, left)
    nursery.start_soon(send_all, right)
    await right.expect(*texts)
    await left.expect(*texts)
    await wait_all_tasks_blocked()
    expect_equal(len(left.got) + len(right.got), 0)


@_check("conduit")
async def large_messages_arrive(left: _End, right: _End, nursery: trio.Nursery) -> None:
    text = "".join(map(str, range(60_000)))
    await left.send(text)
    await left.send("small")
    await right.expect(text, "small")


@_check("conduit.permit.send")
async def order_is_that_of_sending_not_of_reserving(
    left: _End, right: _End, nursery: trio.Nursery
) -> None:
    first, second = await left.tx.reserve(), await left.tx.reserve()
    second.send("sooner")
    first.send("later")
    await right.expect("sooner", "later")


@_check("conduit.permit.send")
async def message_is_sent_without_a_permit_where_there_is_room(
    left: _End, right: _End, nursery: trio.Nursery
) -> None:
    expect_equal(left.tx.has_room(), True)
    left.tx.send_nowait("straight")
    await right.expect("straight")


@_check("conduit")
async def messages_sent_in_one_step_arrive_in_order(
    left: _End, right: _End, nursery: trio.Nursery
) -> None:
    messages = ["one", "two", "three"]
    sent = 0
    while sent < len(messages):
        count = left.tx.send_many_nowait(messages[sent:])
        await right.expect(*messages[sent : sent + count])
        sent += count
        with await left.tx.reserve():
            pass  # there is room again


@_check("conduit")
async def messages_held_back_go_out_together(
    left: _End, right: _End, nursery: trio.Nursery
) -> None:
    left.tx.cork()
    left.tx.send_nowait("one")
    left.tx.send_nowait("two")
    left.tx.uncork()
    left.tx.cork()
    left.tx.uncork(prompt=True)
    left.tx.send_nowait("three")
    await right.expect("one", "two", "three")


# ---------------------------------------------------------------- permits


@_check("conduit.permit", "conduit.permit.send")
async def released_permit_sends_nothing_and_gives_its_room_back(
    left: _End, right: _End, nursery: trio.Nursery
) -> None:
    permits = left.fill()
    expect_equal(left.tx.has_room(), False)
    refused(trio.WouldBlock, left.tx.send_nowait, "no room")
    for permit in permits:
        with permit:
            pass
        permit.release()  # harmless now
    again = left.fill()
    expect_equal(len(again), len(permits))
    for permit in again:
        permit.release()
    await left.send("marker")
    await right.expect("marker")


@_check("conduit.permit")
async def full_conduit_makes_reserve_wait_and_serves_in_order(
    left: _End, right: _End, nursery: trio.Nursery
) -> None:
    permits = left.fill()
    served: list[int] = []

    async def wait_in_line(number: int) -> None:
        await left.tx.reserve()
        served.append(number)

    for number in range(3):
        nursery.start_soon(wait_in_line, number)
        await wait_all_tasks_blocked()
    expect_equal(served, [])
    for permit in permits:
        permit.release()
        await wait_all_tasks_blocked()
        if len(served) == 3:
            break
    expect_equal(served, [0, 1, 2])


@_check("conduit.permit")
async def cancelled_reserve_takes_no_room(
    left: _End, right: _End, nursery: trio.Nursery
) -> None:
    permits = left.fill()
    async with trio.open_nursery() as waiting:
        for _ in range(3):
            waiting.start_soon(left.tx.reserve)
        await wait_all_tasks_blocked()
        waiting.cancel_scope.cancel()
    for permit in permits:
        permit.release()
    again = left.fill()
    expect_equal(len(again), len(permits))
    for permit in again:
        permit.release()


@_check("conduit.permit")
async def peer_that_does_not_read_makes_senders_wait(
    left: _End, right: _End, nursery: trio.Nursery
) -> None:
    right.reads = trio.Event()
    await left.send("the last that is read for now")
    sent = 0

    async def send_for_ever() -> None:
        nonlocal sent
        while True:
            await left.send("x" * 1000)
            sent += 1

    async with trio.open_nursery() as sending:
        sending.start_soon(send_for_ever)
        await wait_all_tasks_blocked()
        sending.cancel_scope.cancel()
    if sent >= _MOST_MESSAGES:
        raise AssertionError(f"{sent} messages were sent that nobody has read")
    right.reads.set()
    await right.expect("the last that is read for now", *["x" * 1000] * sent)


# ---------------------------------------------------------------- codecs


@_check("conduit")
async def message_that_cannot_be_encoded_is_not_sent_and_takes_no_room(
    left: _End, right: _End, nursery: trio.Nursery
) -> None:
    count = len(permits := left.fill())
    for permit in permits:
        refused(EncodeError, permit.send, "a\0b")
    refused(EncodeError, left.tx.send_nowait, "a\0b")
    expect_equal(len(permits := left.fill()), count)
    for permit in permits:
        permit.release()
    await left.send("marker")
    await right.expect("marker")


@_check("conduit")
async def what_is_no_message_is_a_conduit_error_with_its_reason(
    left: _End, right: _End, nursery: trio.Nursery
) -> None:
    await left.send("!")
    error = await right.receive()
    if not isinstance(error, ConduitError):
        raise AssertionError(f"expected a ConduitError, and got {error!r}")
    expect_equal(type(error.__cause__), DecodeError)


# ---------------------------------------------------------------- the end


@_check("link.tx.close", "link.rx.eof")
async def close_delivers_everything_then_the_end_for_ever(
    left: _End, right: _End, nursery: trio.Nursery
) -> None:
    texts = [str(number) for number in range(50)]
    for text in texts:
        await left.send(text)
    await left.tx.close()
    await right.expect(*texts, None)
    for _ in range(3):
        expect_equal((await right.rx.recv(), right.rx.recv_nowait()), (None, None))
    refused(LinkClosed, left.tx.send_nowait, "too late")
    await right.send("the other way it is open")
    await left.expect("the other way it is open")
    await right.tx.close()
    await left.expect(None)
    await left.tx.close()
    await left.tx.abort()


@_check("link.tx.close", "link.tx.reserve")
async def closed_conduit_refuses_everything_new(
    left: _End, right: _End, nursery: trio.Nursery
) -> None:
    permits = left.fill()
    refusals: list[Exception] = []

    async def note_refusal() -> None:
        try:
            await left.tx.reserve()
        except LinkClosed as error:
            refusals.append(error)

    for _ in range(2):
        nursery.start_soon(note_refusal)
    await wait_all_tasks_blocked()
    await left.tx.close()
    await wait_all_tasks_blocked()
    expect_equal(len(refusals), 2)
    expect_equal(left.tx.has_room(), True)  # so that senders find out
    refused(LinkClosed, permits[0].send, "too late")
    refused(LinkClosed, left.tx.reserve_nowait)
    await right.expect(None)


@_check("link.tx.reserve")
async def abort_wakes_who_waits(left: _End, right: _End, nursery: trio.Nursery) -> None:
    left.fill()
    was_refused = trio.Event()

    async def wait_in_line() -> None:
        try:
            await left.tx.reserve()
        except LinkClosed:
            was_refused.set()

    nursery.start_soon(wait_in_line)
    await wait_all_tasks_blocked()
    await left.tx.abort()
    await was_refused.wait()
    refused(LinkClosed, left.tx.send_nowait, "too late")


@_check("conduit")
async def statistics_count_messages(
    left: _End, right: _End, nursery: trio.Nursery
) -> None:
    sent, received = left.tx.statistics().payloads, right.rx.statistics().payloads
    for text in ("a", "bb", "ccc"):
        await left.send(text)
    await right.expect("a", "bb", "ccc")
    expect_equal(left.tx.statistics().payloads, sent + 3)
    expect_equal(right.rx.statistics().payloads, received + 3)
    permit = await left.tx.reserve()
    expect_equal(left.tx.statistics().permits, 1)
    permit.release()
    expect_equal(left.tx.statistics().permits, 0)
