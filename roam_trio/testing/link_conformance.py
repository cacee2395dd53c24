"""Checks that every link must pass.

Pass a function that makes a connected pair of links, and run all of `CHECKS`:

    @pytest.mark.parametrize("check", CHECKS, ids=str)
    async def test_my_link(check):
        await check(LinkUnderTest(make_pair))

Every check makes its own pair, runs the pumps, and closes both links. A failed check
raises AssertionError, or trio.TooSlowError if the link blocks it. Use `carry` to send
payloads of your choice, for example from a property test.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

import trio
from trio.lowlevel import checkpoint
from trio.testing import wait_all_tasks_blocked

from ..errors import LinkClosed, LinkError, PayloadTooLarge
from ..links.base import LinkRx, LinkTx
from ..wire.backing import Backing
from .link_pairs import (
    MOST_PAYLOADS,
    LinkEnd,
    LinkUnderTest,
    fill_with_permits,
    release,
    run_pair,
)
from .requirements import Requirement, expect_equal, refused, refused_async

__all__ = ["CHECKS", "Check", "LinkUnderTest", "carry"]

Check: TypeAlias = Requirement[LinkUnderTest]
"""A requirement on every link; call it with the link."""

CHECKS: list[Check] = []
"""All checks."""


def _check(
    *rules: str,
) -> Callable[[Callable[[LinkUnderTest], Awaitable[None]]], Check]:
    def register(run: Callable[[LinkUnderTest], Awaitable[None]]) -> Check:
        check = Requirement(run.__name__.removeprefix("_"), rules, run)
        CHECKS.append(check)
        return check

    return register


async def carry(link: LinkUnderTest, payloads: Sequence[bytes]) -> None:
    """Check that these payloads arrive unchanged and in order, in both directions."""

    async def scenario(left: LinkEnd, right: LinkEnd, nursery: trio.Nursery) -> None:
        async def send_all(end: LinkEnd) -> None:
            for payload in payloads:
                await end.send(payload)

        async with trio.open_nursery() as senders:
            senders.start_soon(send_all, left)
            senders.start_soon(send_all, right)
            for end in (left, right):
                expect_equal([await end.rx.recv() for _ in payloads], list(payloads))

    await run_pair(link, scenario)


# ---------------------------------------------------------------- payloads


@_check("link", "link.message")
async def payloads_keep_their_boundaries(link: LinkUnderTest) -> None:
    await carry(link, [bytes([n % 256]) * n for n in (1, 2, 3, 4, 5, 300, 1, 65_536)])


@_check("link.message.empty")
async def empty_payloads_arrive(link: LinkUnderTest) -> None:
    await carry(link, [b"", b"", b"x", b"", b"yz", b""])


@_check("link.order")
async def payloads_arrive_in_order_of_commit(link: LinkUnderTest) -> None:
    await carry(link, [n.to_bytes(4, "little") for n in range(1000)])


@_check("link.order", "link.tx.commit")
async def order_is_that_of_commit_not_of_reserve(link: LinkUnderTest) -> None:
    async def scenario(left: LinkEnd, right: LinkEnd, nursery: trio.Nursery) -> None:
        permits = fill_with_permits(left.tx)
        if len(permits) < 2:
            return  # one payload at a time, so there is only one order
        slot = permits[0].alloc(5)
        slot.buffer[:] = b"later"
        permits[1].send((b"sooner",))
        expect_equal(await right.rx.recv(), b"sooner")
        slot.commit()
        expect_equal(await right.rx.recv(), b"later")

    await run_pair(link, scenario)


@_check("link", "zerocopy.recv")
async def large_payloads_arrive(link: LinkUnderTest) -> None:
    largest = 3 * 1024 * 1024
    if link.max_payload is not None:
        largest = min(largest, link.max_payload)
    pattern = bytes(range(251)) * (largest // 251 + 1)
    await carry(link, [pattern[:largest], b"small", pattern[1:largest], b""])


@_check("link.split")
async def halves_work_in_tasks_of_their_own(link: LinkUnderTest) -> None:
    async def scenario(left: LinkEnd, right: LinkEnd, nursery: trio.Nursery) -> None:
        payloads = {n: [b"%d.%d" % (n, i) for i in range(50)] for n in range(4)}

        async def send(end: LinkEnd, number: int) -> None:
            for payload in payloads[number]:
                await end.send(payload)
                await checkpoint()

        async def receive(end: LinkEnd, numbers: tuple[int, int]) -> None:
            got = [bytes(await end.rx.recv() or b"") for _ in range(100)]
            for number in numbers:
                prefix = b"%d." % number
                of_one_task = [p for p in got if p.startswith(prefix)]
                expect_equal(of_one_task, payloads[number])

        async with trio.open_nursery() as workers:
            for number in range(4):
                workers.start_soon(send, left if number < 2 else right, number)
            workers.start_soon(receive, right, (0, 1))
            workers.start_soon(receive, left, (2, 3))

    await run_pair(link, scenario)


@_check("link.rx.recv", "zerocopy.backing", "zerocopy.backing.boxed")
async def received_payloads_are_the_callers_own(link: LinkUnderTest) -> None:
    async def scenario(left: LinkEnd, right: LinkEnd, nursery: trio.Nursery) -> None:
        sizes = (3, 70_000, 10, 200_000)
        held: list[Backing | None] = []
        for number in range(3):
            for size in sizes:
                await left.send(bytes([number]) * size)
                held.append(await right.rx.recv())
        kinds = [isinstance(payload, bytes | memoryview) for payload in held]
        expect_equal(kinds, [True] * len(held))
        expected = [bytes([n]) * size for n in range(3) for size in sizes]
        expect_equal(held, expected)

    await run_pair(link, scenario)


# ---------------------------------------------------------------- permits and slots


@_check("link.tx.slot.len")
async def slot_has_exactly_the_length_asked_for(link: LinkUnderTest) -> None:
    async def scenario(left: LinkEnd, right: LinkEnd, nursery: trio.Nursery) -> None:
        for length in (0, 1, 2, 17, 70_000):
            with await left.tx.reserve() as permit, permit.alloc(length) as slot:
                buffer = slot.buffer
                expect_equal((len(buffer), buffer.readonly), (length, False))
                buffer[:] = b"s" * length
                slot.commit()
            expect_equal(await right.rx.recv(), b"s" * length)

    await run_pair(link, scenario)


@_check("link.tx.commit")
async def commit_publishes_the_bytes_of_that_moment(link: LinkUnderTest) -> None:
    async def scenario(left: LinkEnd, right: LinkEnd, nursery: trio.Nursery) -> None:
        for length in (1, 2, 100, 70_000):
            slot = (await left.tx.reserve()).alloc(length)
            kept = slot.buffer[:]
            slot.buffer[:] = b"a" * length
            slot.commit()
            kept[:] = b"z" * length
            slot.discard()  # harmless now
            expect_equal(await right.rx.recv(), b"a" * length)

    await run_pair(link, scenario)


@_check("link.tx.commit")
async def send_publishes_the_pieces_as_one_payload(link: LinkUnderTest) -> None:
    async def scenario(left: LinkEnd, right: LinkEnd, nursery: trio.Nursery) -> None:
        mutable = bytearray(b"m" * 70_000)
        view = memoryview(b"v" * 100_000)
        (await left.tx.reserve()).send((b"a", mutable, b"", view[5:], view[:2], b"e"))
        mutable[:] = bytes(len(mutable))
        expected = b"a" + b"m" * 70_000 + b"v" * 99_997 + b"e"
        expect_equal(await right.rx.recv(), expected)
        (await left.tx.reserve()).send(())
        expect_equal(await right.rx.recv(), b"")

    await run_pair(link, scenario)


@_check("link.tx.discard")
async def discarded_slot_publishes_nothing_and_gives_room_back(
    link: LinkUnderTest,
) -> None:
    async def scenario(left: LinkEnd, right: LinkEnd, nursery: trio.Nursery) -> None:
        permits = fill_with_permits(left.tx)
        for permit in permits:
            with permit.alloc(4) as slot:
                slot.buffer[:] = b"nope"
            slot.discard()  # harmless now
        again = fill_with_permits(left.tx)
        expect_equal(len(again), len(permits))
        release(again)
        await left.send(b"marker")
        expect_equal(await right.rx.recv(), b"marker")

    await run_pair(link, scenario)


@_check("link.tx.permit.drop")
async def released_permit_publishes_nothing_and_gives_room_back(
    link: LinkUnderTest,
) -> None:
    async def scenario(left: LinkEnd, right: LinkEnd, nursery: trio.Nursery) -> None:
        permits = fill_with_permits(left.tx)
        for permit in permits:
            with permit:
                pass
            permit.release()  # harmless now
        again = fill_with_permits(left.tx)
        expect_equal(len(again), len(permits))
        release(again)
        await left.send(b"marker")
        expect_equal(await right.rx.recv(), b"marker")

    await run_pair(link, scenario)


@_check("link.tx.permit.drop", "link.tx.commit")
async def used_permit_cannot_be_used_again(link: LinkUnderTest) -> None:
    async def scenario(left: LinkEnd, right: LinkEnd, nursery: trio.Nursery) -> None:
        permit = await left.tx.reserve()
        permit.send((b"once",))
        permit.release()  # harmless
        refused(RuntimeError, permit.send, (b"twice",))
        refused(RuntimeError, permit.alloc, 5)
        expect_equal(await right.rx.recv(), b"once")
        slot = (await left.tx.reserve()).alloc(4)
        slot.buffer[:] = b"then"
        slot.commit()
        refused(RuntimeError, slot.commit)
        expect_equal(await right.rx.recv(), b"then")
        await left.send(b"marker")
        expect_equal(await right.rx.recv(), b"marker")

    await run_pair(link, scenario)


@_check("link.tx.alloc.limits")
async def payload_over_the_limit_is_refused(link: LinkUnderTest) -> None:
    if link.max_payload is None:
        return
    limit = link.max_payload
    too_long = bytes(limit + 1)

    async def scenario(left: LinkEnd, right: LinkEnd, nursery: trio.Nursery) -> None:
        permits = fill_with_permits(left.tx)
        for number, permit in enumerate(permits):
            if number % 2:
                refused(PayloadTooLarge, permit.alloc, limit + 1)
            else:
                refused(PayloadTooLarge, permit.send, (too_long,))
        refused(PayloadTooLarge, left.tx.send_nowait, (too_long,))
        again = fill_with_permits(left.tx)
        expect_equal(len(again), len(permits))
        release(again)
        await left.send(too_long[:limit])
        expect_equal(await right.rx.recv(), too_long[:limit])

    await run_pair(link, scenario)


# ---------------------------------------------------------------- backpressure


async def _wait_then_note(tx: LinkTx, number: int, served: list[int]) -> None:
    with await tx.reserve():
        served.append(number)


@_check("link.tx.reserve")
async def full_link_makes_reserve_wait(link: LinkUnderTest) -> None:
    async def scenario(left: LinkEnd, right: LinkEnd, nursery: trio.Nursery) -> None:
        permits = fill_with_permits(left.tx)
        served: list[int] = []
        nursery.start_soon(_wait_then_note, left.tx, 1, served)
        await wait_all_tasks_blocked()
        expect_equal(served, [])
        release(permits[:1])
        await wait_all_tasks_blocked()
        expect_equal(served, [1])
        release(permits)

    await run_pair(link, scenario)


@_check("link.tx.reserve")
async def reservers_are_served_in_order(link: LinkUnderTest) -> None:
    async def scenario(left: LinkEnd, right: LinkEnd, nursery: trio.Nursery) -> None:
        permits = fill_with_permits(left.tx)
        served: list[int] = []
        for number in range(5):
            nursery.start_soon(_wait_then_note, left.tx, number, served)
            await wait_all_tasks_blocked()
        release(permits[:1])
        await wait_all_tasks_blocked()
        expect_equal(served, [0, 1, 2, 3, 4])
        release(permits)

    await run_pair(link, scenario)


@_check("link.tx.reserve")
async def nobody_overtakes_a_waiting_reserver(link: LinkUnderTest) -> None:
    async def scenario(left: LinkEnd, right: LinkEnd, nursery: trio.Nursery) -> None:
        permits = fill_with_permits(left.tx)
        served: list[int] = []
        nursery.start_soon(_wait_then_note, left.tx, 1, served)
        await wait_all_tasks_blocked()
        release(permits[:1])
        # The room belongs to the waiting task, although it has not run yet.
        expect_equal(left.tx.has_room(), False)
        refused(trio.WouldBlock, left.tx.reserve_nowait)
        refused(trio.WouldBlock, left.tx.send_nowait, (b"overtaking",))
        await wait_all_tasks_blocked()
        expect_equal(served, [1])
        release(permits)

    await run_pair(link, scenario)


@_check("link.tx.reserve", "link.order")
async def send_nowait_sends_only_where_there_is_room(link: LinkUnderTest) -> None:
    async def scenario(left: LinkEnd, right: LinkEnd, nursery: trio.Nursery) -> None:
        permits = fill_with_permits(left.tx)
        expect_equal(left.tx.has_room(), False)
        refused(trio.WouldBlock, left.tx.send_nowait, (b"refused",))
        permits[0].release()
        for payload in (b"one", b"", b"three"):
            expect_equal(left.tx.has_room(), True)
            left.tx.send_nowait((payload[:1], payload[1:]))
            expect_equal(await right.rx.recv(), payload)
            with await left.tx.reserve():
                pass  # there is room for one only: the payload has released it
        release(permits)
        again = fill_with_permits(left.tx)
        expect_equal(len(again), len(permits))
        release(again)

    await run_pair(link, scenario)


@_check("link.order", "link.message")
async def payloads_sent_in_one_step_arrive_in_order(link: LinkUnderTest) -> None:
    payloads = [b"one", b"", b"x" * 40_000, b"four" * 100, b"five"]

    async def scenario(left: LinkEnd, right: LinkEnd, nursery: trio.Nursery) -> None:
        expect_equal(left.tx.send_many_nowait([]), 0)
        sent = 0
        while sent < len(payloads):
            rest = [(payload[:1], payload[1:]) for payload in payloads[sent:]]
            count = left.tx.send_many_nowait(rest)
            for payload in payloads[sent : sent + count]:
                expect_equal(await right.rx.recv(), payload)
            sent += count
            with await left.tx.reserve():
                pass  # there is room again
        expect_equal(left.tx.statistics().payloads, len(payloads))

    await run_pair(link, scenario)


@_check("link.tx.reserve", "link.order")
async def only_payloads_with_room_are_sent_in_one_step(link: LinkUnderTest) -> None:
    async def scenario(left: LinkEnd, right: LinkEnd, nursery: trio.Nursery) -> None:
        permits = fill_with_permits(left.tx)
        expect_equal(left.tx.send_many_nowait([(b"refused",)]), 0)
        permits.pop().release()
        expect_equal(left.tx.send_many_nowait([(b"sent",), (b"refused",)]), 1)
        expect_equal(await right.rx.recv(), b"sent")
        release(permits)

    await run_pair(link, scenario)


@_check("link.tx.cancel-safe")
async def cancelled_reserve_takes_no_room(link: LinkUnderTest) -> None:
    async def scenario(left: LinkEnd, right: LinkEnd, nursery: trio.Nursery) -> None:
        permits = fill_with_permits(left.tx)
        served: list[int] = []
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as waiters:
                for number in range(3):
                    waiters.start_soon(_wait_then_note, left.tx, number, served)
                await wait_all_tasks_blocked()
                scope.cancel()
        with trio.CancelScope() as scope:
            scope.cancel()
            await left.tx.reserve()
        expect_equal(scope.cancelled_caught, True)
        expect_equal(served, [])
        release(permits)
        with trio.CancelScope() as scope:
            scope.cancel()
            await left.tx.reserve()
        expect_equal(scope.cancelled_caught, True)
        again = fill_with_permits(left.tx)
        expect_equal(len(again), len(permits))
        release(again)

    await run_pair(link, scenario)


@_check("link.tx.cancel-safe", "link.tx.reserve")
async def reserve_cancelled_as_room_comes_loses_none(link: LinkUnderTest) -> None:
    async def scenario(left: LinkEnd, right: LinkEnd, nursery: trio.Nursery) -> None:
        permits = fill_with_permits(left.tx)
        served: list[int] = []
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as waiters:
                waiters.start_soon(_wait_then_note, left.tx, 1, served)
                await wait_all_tasks_blocked()
                release(permits[:1])
                scope.cancel()
        release(permits)
        again = fill_with_permits(left.tx)
        expect_equal(len(again), len(permits))
        release(again)

    await run_pair(link, scenario)


@_check("link.tx.reserve", "link.order")
async def room_comes_back_as_payloads_are_carried(link: LinkUnderTest) -> None:
    async def scenario(left: LinkEnd, right: LinkEnd, nursery: trio.Nursery) -> None:
        # Without a pump and a reader nothing is written, so the link fills up.
        count = 0
        while count < MOST_PAYLOADS:
            try:
                permit = left.tx.reserve_nowait()
            except trio.WouldBlock:
                break
            permit.send((count.to_bytes(4, "little"),))
            count += 1
        expect_equal(count < MOST_PAYLOADS, True)
        nursery.start_soon(left.tx.pump)
        async with trio.open_nursery() as senders:
            for number in range(count, count + 10):
                payload = number.to_bytes(4, "little")
                senders.start_soon(left.send, payload)
                await checkpoint()
            got = [bytes(await right.rx.recv() or b"") for _ in range(count + 10)]
        expected = [n.to_bytes(4, "little") for n in range(count + 10)]
        expect_equal((got[:count], sorted(got)), (expected[:count], sorted(expected)))

    await run_pair(link, scenario, pumped=False)


# ---------------------------------------------------------------- receiving


@_check("link.rx.recv")
async def recv_nowait_takes_only_what_has_come(link: LinkUnderTest) -> None:
    async def scenario(left: LinkEnd, right: LinkEnd, nursery: trio.Nursery) -> None:
        refused(trio.WouldBlock, right.rx.recv_nowait)
        payloads = [b"%d" % n for n in range(20)]

        async def send_all() -> None:
            for payload in payloads:
                await left.send(payload)

        nursery.start_soon(send_all)
        got: list[bytes] = []
        while len(got) < len(payloads):
            got.append(bytes(await right.rx.recv() or b""))
            _take_all_ready(right.rx, got)
        expect_equal(got, payloads)

    await run_pair(link, scenario)


def _take_all_ready(rx: LinkRx, into: list[bytes]) -> None:
    while True:
        try:
            into.append(bytes(rx.recv_nowait() or b""))
        except trio.WouldBlock:
            return


@_check("link.rx.recv")
async def cancelled_recv_loses_nothing(link: LinkUnderTest) -> None:
    async def scenario(left: LinkEnd, right: LinkEnd, nursery: trio.Nursery) -> None:
        payloads = [bytes([n]) * (n * 997) for n in range(100)]

        async def send_all() -> None:
            for payload in payloads:
                await left.send(payload)
                await checkpoint()

        got: list[bytes] = []

        async def receive_some() -> None:
            while len(got) < len(payloads):
                got.append(bytes(await right.rx.recv() or b""))

        with trio.CancelScope() as scope:
            scope.cancel()
            await right.rx.recv()
        expect_equal(scope.cancelled_caught, True)
        nursery.start_soon(send_all)
        for attempt in range(10_000):
            async with trio.open_nursery() as receiving:
                receiving.start_soon(receive_some)
                for _ in range(attempt % 7):
                    await checkpoint()
                receiving.cancel_scope.cancel()
            if len(got) >= len(payloads):
                break
        expect_equal(got, payloads)

    await run_pair(link, scenario)


# ---------------------------------------------------------------- the end


@_check("link.tx.close", "link.rx.eof")
async def close_delivers_everything_then_the_end_for_ever(link: LinkUnderTest) -> None:
    async def scenario(left: LinkEnd, right: LinkEnd, nursery: trio.Nursery) -> None:
        payloads = [b"%d" % n * 100 for n in range(200)]

        async def send_and_close() -> None:
            for payload in payloads:
                await left.send(payload)
            await left.tx.close()

        nursery.start_soon(send_and_close)
        expect_equal(await right.receive_all(), payloads)
        for _ in range(3):
            expect_equal((await right.rx.recv(), right.rx.recv_nowait()), (None, None))
        await left.pump_done.wait()

    await run_pair(link, scenario)


@_check("link.tx.close")
async def close_carries_the_rest_itself_if_no_pump_runs(link: LinkUnderTest) -> None:
    async def scenario(left: LinkEnd, right: LinkEnd, nursery: trio.Nursery) -> None:
        left.tx.reserve_nowait().send((b"last",))
        nursery.start_soon(left.tx.close)
        expect_equal(await right.receive_all(), [b"last"])
        await left.tx.pump()  # returns, because there is nothing left to do

    await run_pair(link, scenario, pumped=False)


@_check("link.tx.commit")
async def pump_that_is_deferred_begins_when_it_is_needed(link: LinkUnderTest) -> None:
    async def scenario(left: LinkEnd, right: LinkEnd, nursery: trio.Nursery) -> None:
        starts = 0

        def start() -> None:
            nonlocal starts
            starts += 1
            nursery.start_soon(left.pump)

        if not left.tx.defer_pump(start):
            start()
        payloads = [b"first", b"", b"m" * 200_000, b"last"]

        async def send_and_close() -> None:
            for payload in payloads:
                await left.send(payload)
            await left.tx.close()

        nursery.start_soon(send_and_close)
        expect_equal((await right.receive_all(), starts), (payloads, 1))

    await run_pair(link, scenario, pumped=False)


async def _note_refusal(tx: LinkTx, noted: list[type[LinkError]]) -> None:
    try:
        await tx.reserve()
    except LinkError as exc:
        noted.append(type(exc))


@_check("link.tx.close", "link.tx.reserve")
async def closed_half_refuses_everything_new(link: LinkUnderTest) -> None:
    async def scenario(left: LinkEnd, right: LinkEnd, nursery: trio.Nursery) -> None:
        permits = fill_with_permits(left.tx)
        slot = permits.pop().alloc(1) if len(permits) > 1 else None
        refusals: list[type[LinkError]] = []
        for _ in range(2):
            nursery.start_soon(_note_refusal, left.tx, refusals)
        await wait_all_tasks_blocked()
        await left.tx.close()
        await wait_all_tasks_blocked()
        expect_equal(refusals, [LinkClosed, LinkClosed])
        refused(LinkClosed, permits[0].send, (b"",))
        if slot is not None:
            refused(LinkClosed, slot.commit)
        release(permits)
        await refused_async(LinkClosed, left.tx.reserve)
        refused(LinkClosed, left.tx.reserve_nowait)
        expect_equal(left.tx.has_room(), True)  # so that senders find out
        refused(LinkClosed, left.tx.send_nowait, (b"",))
        await left.tx.close()
        await left.tx.abort()
        expect_equal(await right.receive_all(), [])

    await run_pair(link, scenario)


@_check("link.rx.error", "link.tx.reserve")
async def abort_ends_the_link_at_once(link: LinkUnderTest) -> None:
    async def scenario(left: LinkEnd, right: LinkEnd, nursery: trio.Nursery) -> None:
        permits = fill_with_permits(left.tx)
        refusals: list[type[LinkError]] = []
        nursery.start_soon(_note_refusal, left.tx, refusals)
        await wait_all_tasks_blocked()
        await left.tx.abort()
        await left.pump_done.wait()
        await wait_all_tasks_blocked()
        expect_equal(refusals, [LinkClosed])
        refused(LinkClosed, permits[0].send, (b"",))
        await refused_async(LinkClosed, left.tx.reserve)
        await left.tx.abort()
        await left.tx.close()
        await _same_end_for_ever(right.rx)

    await run_pair(link, scenario, may_break=True)


async def _same_end_for_ever(rx: LinkRx) -> None:
    ends: list[type[BaseException] | None] = []
    for _ in range(3):
        try:
            expect_equal(await rx.recv(), None)
            ends.append(None)
        except LinkError as exc:
            ends.append(type(exc))
    expect_equal(ends, ends[:1] * 3)


@_check("link.split")
async def closed_receiving_half_refuses_to_receive(link: LinkUnderTest) -> None:
    async def scenario(left: LinkEnd, right: LinkEnd, nursery: trio.Nursery) -> None:
        noted: list[type[LinkError]] = []

        async def receive() -> None:
            try:
                await right.rx.recv()
            except LinkError as exc:
                noted.append(type(exc))

        nursery.start_soon(receive)
        await wait_all_tasks_blocked()
        await right.rx.close()
        await wait_all_tasks_blocked()
        expect_equal(noted, [LinkClosed])
        await refused_async(LinkClosed, right.rx.recv)
        refused(LinkClosed, right.rx.recv_nowait)
        await right.rx.close()
        await right.send(b"the other half still works")
        expect_equal(await left.rx.recv(), b"the other half still works")

    await run_pair(link, scenario, may_break=True)
