"""When messages become frames, and go to the link."""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import wait_all_tasks_blocked

from roam_trio.errors import LinkError, PayloadTooLarge
from roam_trio.links.base import Buffer, LinkRx, LinkTx
from roam_trio.links.memory import memory_link_pair
from roam_trio.links.resuming.exchange import Exchange
from roam_trio.links.resuming.forwarding import Forwarding
from roam_trio.links.resuming.link_run import LinkRun
from roam_trio.links.resuming.replay import MESSAGE_BYTES, STEP, Body, ReplayBuffer
from roam_trio.links.resuming.source import Attachment
from roam_trio.links.stream import StreamLink

from .test_counted import Counting


class Owner:
    """A resuming link, as far as it matters, with a link of some capacity.

    Attributes:
        rx: the other end of the link.
        failed: what the link has refused.
    """

    def __init__(self, capacity: int = 64) -> None:
        ours, theirs = memory_link_pair(capacity)
        self.link: LinkRun | None = LinkRun(Attachment.to_server(ours))
        self.rx: LinkRx
        _, self.rx = theirs.split()
        self.failed: list[Exception] = []
        self.exchange = Exchange()
        self.forwarding = Forwarding(self.exchange, self)

    def use_byte_stream(self, nursery: trio.Nursery) -> None:
        """Take a link on a byte stream instead."""
        ours, theirs = trio.testing.memory_stream_pair()
        self.link = LinkRun(Attachment.to_server(StreamLink(ours)))
        nursery.start_soon(self.link.tx.pump)
        _, self.rx = StreamLink(theirs).split()

    def sending_failed(self, link: LinkRun, error: LinkError | PayloadTooLarge) -> None:
        self.failed.append(error)

    def heard(self) -> list[bytes]:
        """The messages that have gone to the link since the last time."""
        heard: list[bytes] = []
        while True:
            try:
                payload = self.rx.recv_nowait()
            except trio.WouldBlock:
                return heard
            assert payload is not None
            heard.append(bytes(payload[2:]))


async def test_first_message_goes_at_once_and_the_next_ones_wait_for_the_task(
    nursery: trio.Nursery,
) -> None:
    owner = Owner()
    assert owner.link is not None
    nursery.start_soon(owner.forwarding.run, owner.link)
    await wait_all_tasks_blocked()
    owner.forwarding.push(b"a")
    assert owner.heard() == [b"a"]
    owner.forwarding.push(b"b")
    owner.forwarding.push(b"c")
    assert owner.heard() == []
    assert repr(owner.forwarding) == (
        "<Forwarding PUMP, <ReplayBuffer of 3 from 0, 2 to be sent>>"
    )
    await wait_all_tasks_blocked()
    assert owner.heard() == [b"b", b"c"]
    nursery.cancel_scope.cancel()


async def test_messages_between_cork_and_uncork_go_together_without_the_task() -> None:
    owner = Owner()
    owner.forwarding.cork()
    owner.forwarding.push(b"a")
    owner.forwarding.push(b"b")
    assert owner.heard() == []
    owner.forwarding.uncork()
    assert owner.heard() == [b"a", b"b"]
    owner.forwarding.push(b"c")
    assert owner.heard() == []  # there is no task here
    owner.forwarding.uncork(prompt=True)
    assert owner.heard() == [b"c"]


async def test_several_messages_go_together_as_one_that_is_committed_goes(
    nursery: trio.Nursery,
) -> None:
    owner = Owner()
    assert owner.link is not None
    owner.forwarding.push_all([b"a", b"b"], 2)
    assert owner.heard() == [b"a", b"b"]
    owner.forwarding.push_all([b"c", b"d"], 2)
    assert owner.heard() == []  # there is no task yet
    nursery.start_soon(owner.forwarding.run, owner.link)
    await wait_all_tasks_blocked()
    assert owner.heard() == [b"c", b"d"]
    owner.forwarding.push_all([b"e", b"f"], 2)
    assert owner.heard() == []
    await wait_all_tasks_blocked()
    assert owner.heard() == [b"e", b"f"]
    owner.forwarding.cork()
    owner.forwarding.push_all([b"g"], 1)
    owner.forwarding.uncork()
    assert owner.heard() == [b"g"]
    assert owner.exchange.replay.size == 7
    nursery.cancel_scope.cancel()


async def test_messages_are_counted_in_the_budget_as_they_come() -> None:
    owner, budget = Owner(), Counting(2 * STEP)
    owner.exchange.replay.count_in(budget)
    owner.forwarding.cork()
    for _ in range(3):
        owner.forwarding.push(bytes(STEP + 1))
    assert len(owner.exchange.replay.bodies) == 1  # there is no room for the others
    assert budget.held == STEP + 1 + MESSAGE_BYTES


async def test_message_for_a_byte_stream_is_framed(nursery: trio.Nursery) -> None:
    owner = Owner()
    ours, theirs = trio.testing.memory_stream_pair()
    link = owner.link = LinkRun(Attachment.to_server(StreamLink(ours)))
    nursery.start_soon(link.tx.pump)
    _, heard = StreamLink(theirs).split()
    owner.forwarding.push(b"alone")
    assert await heard.recv() == b"\0\0alone"
    owner.forwarding.cork()
    for body in (b"a", b"b"):
        owner.forwarding.push(body)
    owner.forwarding.uncork()
    assert list(await heard.recv_batch()) == [b"\1\0a", b"\2\0b"]
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("size", [16, 30, 40])
async def test_few_frames_are_made_that_the_link_does_not_take(
    size: int, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, size, make, made = Owner(), 1024 * size, Exchange.next_frames, 0

    def counted(exchange: Exchange, most: int) -> Sequence[Sequence[Buffer]]:
        nonlocal made
        frames = make(exchange, most)
        made += len(frames)
        return frames

    monkeypatch.setattr(Exchange, "next_frames", counted)
    ours, theirs = trio.testing.memory_stream_pair()
    link = owner.link = LinkRun(Attachment.to_server(StreamLink(ours)))
    nursery.start_soon(link.tx.pump)
    nursery.start_soon(owner.forwarding.run, link)
    _, heard = StreamLink(theirs).split()
    owner.forwarding.cork()
    for _ in range(200):
        owner.forwarding.push(bytes(size))
    owner.forwarding.uncork()
    sent = 0
    while sent < 200:
        sent += len(await heard.recv_batch())
    assert sent == 200 <= made < 300
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("prompt", [False, True])
async def test_message_after_an_uncork_goes_at_once_only_if_it_comes_alone(
    prompt: bool,
) -> None:
    owner = Owner()
    owner.forwarding.cork()
    owner.forwarding.uncork(prompt=prompt)
    owner.forwarding.push(b"a")
    assert owner.heard() == [b"a"] * prompt


async def test_what_finds_no_room_is_sent_by_the_task_in_order(
    nursery: trio.Nursery,
) -> None:
    owner = Owner(capacity=3)
    assert owner.link is not None
    nursery.start_soon(owner.forwarding.run, owner.link)
    await wait_all_tasks_blocked()
    bodies = [b"%d" % number for number in range(10)]
    owner.forwarding.cork()
    for body in bodies:
        owner.forwarding.push(body)
    owner.forwarding.uncork()
    heard = owner.heard()
    assert 0 < len(heard) <= 3
    while len(heard) < len(bodies):
        await wait_all_tasks_blocked()
        heard += owner.heard()
    assert heard == bodies
    nursery.cancel_scope.cancel()


async def test_messages_are_kept_for_the_next_link() -> None:
    owner = Owner()
    link, owner.link = owner.link, None
    owner.forwarding.push(b"a")
    owner.forwarding.push_now(b"b")
    owner.link = link
    owner.forwarding.uncork()
    assert owner.heard() == [b"a", b"b"]


async def test_link_that_refuses_a_message_is_reported_by_whoever_sends(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = Owner()
    assert owner.link is not None

    def refuse(pieces: Sequence[Buffer]) -> None:
        raise PayloadTooLarge(100, 10)

    tx: LinkTx = owner.link.tx
    monkeypatch.setattr(tx, "send_nowait", refuse)
    owner.forwarding.push(b"a")
    assert [type(error) for error in owner.failed] == [PayloadTooLarge]
    owner.exchange.replay.rewind()
    await owner.forwarding.run(owner.link)
    assert [type(error) for error in owner.failed] == [PayloadTooLarge] * 2


@pytest.mark.parametrize(
    ("make", "bodies"),
    [
        (Exchange.next_frame, [b"a"]),
        (Exchange.next_frame_with_length, [b"a"]),
        (Exchange.next_frames, [b"a", b"b"]),
    ],
    ids=["alone", "alone on a byte stream", "several"],
)
def test_control_c_leaves_no_message_between_the_buffer_and_the_link(
    make: Any, bodies: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupts = 0

    def interrupted(*args: Any) -> Any:
        nonlocal interrupts
        frames = make(*args)
        interrupts += 1
        signal.raise_signal(signal.SIGINT)
        return frames

    async def send(forwarding: Forwarding) -> None:
        forwarding.cork()
        for body in bodies:
            forwarding.push(body)
        forwarding.uncork()
        await trio.lowlevel.checkpoint()

    async def main(nursery: trio.Nursery) -> None:
        owner = Owner()
        if make is Exchange.next_frame_with_length:
            owner.use_byte_stream(nursery)
        with monkeypatch.context() as patch:
            patch.setattr(Exchange, make.__name__, interrupted)
            with pytest.raises(KeyboardInterrupt):
                await send(owner.forwarding)
        assert interrupts == 1
        owner.forwarding.push(b"next")
        owner.forwarding.uncork()
        heard = owner.heard()
        while len(heard) <= len(bodies):
            heard += [bytes(each[2:]) for each in await owner.rx.recv_batch()]
        assert heard == [*bodies, b"next"]
        assert owner.exchange.replay.backlog == 0

    run_in_nursery(main)


@pytest.mark.parametrize("push", [Forwarding.push, Forwarding.push_now])
def test_control_c_leaves_no_message_that_is_not_counted(
    push: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    add = ReplayBuffer.add

    def interrupted(replay: ReplayBuffer, body: Body) -> None:
        signal.raise_signal(signal.SIGINT)
        add(replay, body)

    async def send(forwarding: Forwarding) -> None:
        push(forwarding, b"a")
        await trio.lowlevel.checkpoint()

    async def main(nursery: trio.Nursery) -> None:
        owner = Owner()
        monkeypatch.setattr(ReplayBuffer, "add", interrupted)
        with pytest.raises(KeyboardInterrupt):
            await send(owner.forwarding)
        assert owner.heard() == [b"a"]
        assert owner.exchange.replay.total == 1
        assert owner.forwarding.fillers == (push is Forwarding.push_now)

    run_in_nursery(main)


def run_in_nursery(main: Callable[[trio.Nursery], Awaitable[None]]) -> None:
    """Run it where Control-C has its effect: in the first task."""

    async def with_nursery() -> None:
        async with trio.open_nursery() as nursery:
            await main(nursery)
            nursery.cancel_scope.cancel()

    trio.run(with_nursery)
