"""The outbox keeps one order: nothing overtakes what was pushed, nothing is lost."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from roam_trio.conduits.bare import BareConduit
from roam_trio.errors import (
    LimitExceeded,
    LinkClosed,
    LinkError,
    PayloadTooLarge,
    RoamTrioError,
)
from roam_trio.links.memory import memory_link_pair
from roam_trio.links.stream import StreamLimits, StreamLink
from roam_trio.metadata import Metadata, MetadataEntry, MetadataFlags
from roam_trio.session.held_messages import encoded_size
from roam_trio.session.outbox import Outbox
from roam_trio.wire.envelope import MessageFamily
from roam_trio.wire.messages import ConnectionClose, Ping, ProtocolError


class Bench:
    """An outbox on a link of `buffer` payloads, and the one that reads there.

    Every message is a Ping, numbered in the order in which it is handed over: when it
    is pushed, or when a permit for it is used.
    """

    def __init__(
        self, buffer: int = 1, most_kept: int = 1000, most_bytes: int = 1000_000
    ) -> None:
        ours, theirs = memory_link_pair(buffer)
        self.tx, _ = BareConduit(ours, MessageFamily()).split()
        _, self.rx = BareConduit(theirs, MessageFamily()).split()
        self.failures: list[RoamTrioError] = []
        self.outbox = Outbox(
            self.tx,
            most_kept,
            self.failures.append,
            lambda: self.on_need(),
            most_bytes=most_bytes,
        )
        self.on_need: Callable[[], None] = lambda: None
        self.handed_over = 0
        self.received: list[int] = []

    def next(self) -> Ping:
        self.handed_over += 1
        return Ping(0, self.handed_over)

    def push(self, *, last: bool = False) -> None:
        self.outbox.push(self.next(), last=last)

    def send_if_there_is_room(self) -> bool:
        if not self.outbox.has_room():
            return False
        self.outbox.send_nowait(self.next())
        return True

    async def send(self) -> None:
        with await self.outbox.reserve() as permit:
            permit.send(self.next())

    async def reserve_in_vain(self) -> None:
        with await self.outbox.reserve():
            pass

    def read(self) -> bool:
        """Read one message if there is one."""
        try:
            message = self.rx.recv_nowait()
        except trio.WouldBlock:
            return False
        assert isinstance(message, Ping)
        self.received.append(message.nonce)
        return True

    async def read_all(self) -> list[int]:
        """Read until nothing comes any more."""
        await wait_all_tasks_blocked()
        while self.read():
            await wait_all_tasks_blocked()
        return self.received

    def all_in_order(self) -> list[int]:
        return list(range(1, self.handed_over + 1))


def test_push_sends_at_once_where_there_is_room() -> None:
    bench = Bench()
    bench.push()
    assert bench.read()
    assert bench.received == [1]
    assert repr(bench.outbox) == "<Outbox 0 kept>"


async def test_what_finds_no_room_is_kept_and_sent_in_order(
    nursery: trio.Nursery,
) -> None:
    bench = Bench()
    for _ in range(5):
        bench.push()
    assert repr(bench.outbox) == "<Outbox 4 kept>"
    bench.on_need = lambda: nursery.start_soon(bench.outbox.drain)
    bench.on_need()
    assert await bench.read_all() == [1, 2, 3, 4, 5]
    for _ in range(3):
        bench.push()
    assert await bench.read_all() == bench.all_in_order()
    nursery.cancel_scope.cancel()


async def test_who_waits_for_room_does_not_overtake_what_is_kept(
    nursery: trio.Nursery,
) -> None:
    bench = Bench()
    bench.push()
    nursery.start_soon(bench.send)
    await wait_all_tasks_blocked()
    bench.push()  # while the other one waits already
    bench.push()
    # Nobody drains: whoever waits for room takes the kept ones along.
    assert await bench.read_all() == [1, 2, 3, 4]
    assert bench.handed_over == 4


async def test_room_is_nobodys_while_something_is_kept() -> None:
    bench = Bench(buffer=2)
    for _ in range(3):
        bench.push()
    assert bench.read()
    assert bench.read()
    assert not bench.send_if_there_is_room()
    bench.push()
    assert not bench.read()  # kept behind the one before it
    await bench.outbox.drain()
    assert await bench.read_all() == [1, 2, 3, 4]
    assert bench.send_if_there_is_room()


async def test_a_cancelled_reserver_loses_nothing(nursery: trio.Nursery) -> None:
    bench = Bench()
    bench.push()
    with trio.CancelScope() as scope:
        nursery.start_soon(cancel_when_idle, scope)
        await bench.send()
    assert scope.cancelled_caught
    assert bench.handed_over == 1
    bench.push()
    nursery.start_soon(bench.send)
    assert await bench.read_all() == [1, 2, 3]
    assert bench.send_if_there_is_room()


async def cancel_when_idle(scope: trio.CancelScope) -> None:
    await wait_all_tasks_blocked()
    scope.cancel()


async def test_a_reserver_cancelled_behind_a_kept_message_has_sent_it(
    nursery: trio.Nursery,
) -> None:
    bench = Bench()
    scope = trio.CancelScope()

    async def send() -> None:
        with scope:
            await bench.send()

    bench.push()
    nursery.start_soon(send)
    await wait_all_tasks_blocked()
    bench.push()
    assert bench.read()  # the reserver has room now, and does not know it yet
    scope.cancel()
    assert await bench.read_all() == [1, 2]
    assert scope.cancelled_caught
    assert bench.send_if_there_is_room()


async def test_a_permit_given_back_is_for_the_next(nursery: trio.Nursery) -> None:
    bench = Bench()
    nursery.start_soon(bench.reserve_in_vain)
    nursery.start_soon(bench.send)
    assert await bench.read_all() == [1]


def test_more_than_the_limit_is_refused_by_its_name() -> None:
    bench = Bench(most_kept=3)
    for _ in range(4):
        bench.push()
    assert bench.failures == []
    bench.push()
    (failure,) = bench.failures
    assert isinstance(failure, LimitExceeded)
    assert failure.limit == "unsent_replies"
    assert "3 messages wait" in str(failure)
    assert repr(bench.outbox) == "<Outbox 3 kept>"


async def test_the_last_message_goes_after_what_is_kept() -> None:
    bench = Bench(most_kept=1)
    bench.push()
    bench.push()
    bench.push(last=True)
    assert bench.failures == []
    assert bench.read()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.outbox.drain)
        assert await bench.read_all() == [1, 2, 3]


# ------------------------------------------------------------ decided without a run


def test_a_message_without_room_is_kept_and_has_to_be_drained_once() -> None:
    bench = Bench()
    needed: list[int] = []
    bench.on_need = lambda: needed.append(bench.outbox.kept)
    for _ in range(4):
        bench.push()
    assert bench.outbox.kept == 3
    assert needed == [1]


def test_there_is_no_room_while_something_is_kept() -> None:
    bench = Bench()
    assert bench.outbox.has_room()
    bench.push()
    bench.push()
    assert bench.read()
    assert not bench.outbox.has_room()


PING = encoded_size(Ping(0, 1))


def test_the_first_message_is_kept_however_large_it_is() -> None:
    bench = Bench(most_bytes=1)
    bench.push()
    bench.push()
    assert bench.failures == []
    assert bench.outbox.kept == 1


@pytest.mark.parametrize(("most_bytes", "kept"), [(2 * PING, 2), (2 * PING - 1, 1)])
def test_bytes_of_what_is_kept_are_limited(most_bytes: int, kept: int) -> None:
    bench = Bench(most_bytes=most_bytes)
    for _ in range(1 + kept):
        bench.push()
    assert bench.failures == []
    bench.push()
    (failure,) = bench.failures
    assert isinstance(failure, LimitExceeded)
    assert failure.limit == "unsent_reply_bytes"
    assert bench.outbox.kept == kept


def test_what_is_refused_counts_for_nothing() -> None:
    bench = Bench(most_kept=1)
    for _ in range(4):
        bench.push()
    assert len(bench.failures) == 2
    assert bench.outbox.kept == 1
    assert bench.outbox._kept_bytes == PING


@pytest.mark.parametrize("limits", [{"most_kept": 1}, {"most_bytes": 1}])
def test_the_last_message_is_beyond_both_limits(limits: dict[str, int]) -> None:
    bench = Bench(**limits)
    for _ in range(2):
        bench.push()
    bench.push(last=True)
    assert bench.failures == []
    assert bench.outbox.kept == 2


def test_after_the_end_nobody_is_told_of_anything() -> None:
    bench = Bench(most_kept=1)
    needed: list[None] = []
    bench.on_need = lambda: needed.append(None)
    bench.outbox.end()
    for _ in range(4):
        bench.push()
    assert bench.failures == []
    assert needed == []


async def test_push_reports_a_conduit_that_has_ended_and_does_not_raise() -> None:
    bench = Bench()
    await bench.rx.close()
    bench.push()
    (failure,) = bench.failures
    assert isinstance(failure, LinkError)


async def test_everybody_who_waits_learns_that_the_conduit_has_ended(
    nursery: trio.Nursery,
) -> None:
    bench = Bench()
    told: list[str] = []

    async def wait(name: str, how: object) -> None:
        assert callable(how)
        try:
            await how()
        except LinkClosed:
            told.append(name)

    bench.push()
    bench.push()
    nursery.start_soon(wait, "drain", bench.outbox.drain)
    nursery.start_soon(wait, "reserve", bench.outbox.reserve)
    await wait_all_tasks_blocked()
    await bench.tx.abort()
    await wait_all_tasks_blocked()
    assert sorted(told) == ["drain", "reserve"]


@pytest.mark.parametrize("kept", [False, True])
async def test_metadata_that_does_not_fit_is_left_out(
    kept: bool, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    here, there = trio.testing.memory_stream_pair()
    limits = StreamLimits(max_payload=100, max_unsent_payloads=1)
    tx, _ = BareConduit(StreamLink(here, limits=limits), MessageFamily()).split()
    _, rx = BareConduit(StreamLink(there), MessageFamily()).split()
    failures: list[RoamTrioError] = []
    outbox = Outbox(tx, 10, failures.append, lambda: None)
    secret = MetadataEntry("blob", b"secret" * 100, MetadataFlags.SENSITIVE)
    if kept:
        outbox.push(Ping(0, 1))
    outbox.push(ConnectionClose(3, Metadata([secret])))
    outbox.push(Ping(0, 2))
    assert bool(outbox.kept) is True
    nursery.start_soon(tx.pump)
    nursery.start_soon(outbox.drain)
    if kept:
        assert await rx.recv() == Ping(0, 1)
    close = await rx.recv()
    assert isinstance(close, ConnectionClose)
    assert close.connection_id == 3
    assert close.metadata.get("error") == "the metadata was too large to send"
    assert await rx.recv() == Ping(0, 2)
    assert failures == []
    assert "the metadata of a ConnectionClose is left out" in caplog.text
    assert "secret" not in caplog.text
    nursery.cancel_scope.cancel()


def test_what_does_not_fit_without_metadata_either_fails() -> None:
    here, _ = trio.testing.memory_stream_pair()
    tx, _ = BareConduit(
        StreamLink(here, limits=StreamLimits(max_payload=10)), MessageFamily()
    ).split()
    failures: list[RoamTrioError] = []
    outbox = Outbox(tx, 10, failures.append, lambda: None)
    outbox.push(ProtocolError(0, "a description longer than that"))
    (failure,) = failures
    assert isinstance(failure, PayloadTooLarge)


STEPS = st.lists(
    st.sampled_from(
        ["push", "push", "send", "send if room", "in vain", "cancel", "read", "run"]
    ),
    max_size=40,
)


@given(steps=STEPS, buffer=st.integers(1, 3), drained=st.booleans())
async def test_any_interleaving_keeps_the_order_and_loses_nothing(
    steps: list[str], buffer: int, drained: bool
) -> None:
    bench = Bench(buffer)
    scopes: list[trio.CancelScope] = []

    async def cancellable(name: str) -> None:
        with trio.CancelScope() as scope:
            scopes.append(scope)
            await (bench.send() if name == "send" else bench.reserve_in_vain())

    async with trio.open_nursery() as nursery:
        draining = trio.CancelScope()

        async def drain() -> None:
            with draining:
                await bench.outbox.drain()

        if drained:
            bench.on_need = lambda: nursery.start_soon(drain)
        for step in steps:
            if step == "push":
                bench.push()
            elif step in ("send", "in vain"):
                nursery.start_soon(cancellable, step)
            elif step == "send if room":
                bench.send_if_there_is_room()
            elif step == "cancel" and scopes:
                scopes.pop(0).cancel()
            elif step == "read":
                bench.read()
            elif step == "run":
                await trio.lowlevel.checkpoint()
        if not drained:
            nursery.start_soon(drain)  # someone has to in the end
        await bench.read_all()
        draining.cancel()
    assert bench.received == bench.all_in_order()
    assert repr(bench.outbox) == "<Outbox 0 kept>"
    assert bench.failures == []
    assert bench.send_if_there_is_room()  # no room was lost


def test_several_are_sent_in_one_step_only_if_nothing_is_kept() -> None:
    bench = Bench()
    assert bench.outbox.send_many_nowait([bench.next()]) == 1
    bench.push()
    assert bench.read()
    assert bench.outbox.send_many_nowait([Ping(0, 99)]) == 0
    assert not bench.read()


async def test_several_that_find_the_conduit_ended_raise_and_report_it() -> None:
    bench = Bench()
    await bench.rx.close()
    with pytest.raises(LinkError):
        bench.outbox.send_many_nowait([bench.next(), bench.next()])
    (failure,) = bench.failures
    assert isinstance(failure, LinkError)


def test_the_first_of_several_that_is_too_long_raises_and_ends_nothing() -> None:
    stream, _ = trio.testing.memory_stream_pair()
    link = StreamLink(stream, limits=StreamLimits(max_payload=64))
    tx, _ = BareConduit(link, MessageFamily()).split()
    failures: list[RoamTrioError] = []
    outbox = Outbox(tx, 10, failures.append, lambda: None, most_bytes=1000)
    with pytest.raises(PayloadTooLarge):
        outbox.send_many_nowait([ProtocolError(0, "x" * 100)])
    assert failures == []
