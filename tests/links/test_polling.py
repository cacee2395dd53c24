"""Looks at sockets, and what counts the tasks that are ready meanwhile."""

from __future__ import annotations

import socket

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from roam_trio import LinkClosed
from roam_trio.links.byte_streams import SocketTransport
from roam_trio.links.poll_policy import PAUSE, UNUSED_STEPS
from roam_trio.links.polling import PollWatch, poll_watch
from roam_trio.links.stream import StreamLink

from .test_framing import frame


async def test_one_watch_counts_for_all_of_a_run() -> None:
    assert poll_watch() is poll_watch()


async def test_tasks_that_were_ready_before_have_run_when_all_are_counted() -> None:
    watch, ran = PollWatch(), []

    async def run(number: int) -> None:
        ran.append(number)

    async with trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(run, number)
        await watch.turn()
        assert len(ran) == 20
        assert watch.policy.is_exact
        assert not watch.policy.ready
    trio.lowlevel.remove_instrument(watch)


async def test_counts_that_ended_in_a_turn_are_not_taken_for_exact() -> None:
    watch = PollWatch()

    async def run() -> None:
        await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        for _ in range(UNUSED_STEPS + 20):
            nursery.start_soon(run)
        await watch.turn()
        assert not watch.policy.is_exact
    with pytest.raises(KeyError):
        trio.lowlevel.remove_instrument(watch)


@pytest.mark.parametrize("reader_looks", [True, False])
async def test_closing_a_link_that_is_polled_wakes_its_reader(
    reader_looks: bool,
) -> None:
    ours, theirs = socket.socketpair()
    tx, rx = StreamLink.over(SocketTransport(ours)).split()
    rx.begin_polling(0.001, reader_looks=reader_looks)
    with theirs:
        async with trio.open_nursery() as nursery:

            async def receive() -> None:
                with pytest.raises(LinkClosed):
                    await rx.recv()

            nursery.start_soon(receive)
            await wait_all_tasks_blocked()
            await rx.close()
        await tx.close()


async def test_cancelled_reader_does_not_look() -> None:
    ours, theirs = socket.socketpair()
    tx, rx = StreamLink.over(SocketTransport(ours)).split()
    rx.begin_polling(0.001, reader_looks=True)
    with theirs:
        for _ in range(PAUSE + 2):  # the reader looks after the first pause
            theirs.sendall(frame(b"taken"))
            assert await rx.recv() == b"taken"
            theirs.sendall(frame(b"left"))
            with trio.CancelScope() as scope:
                scope.cancel()
                await rx.recv()
            assert scope.cancelled_caught
            assert await rx.recv() == b"left"
        await rx.close()
        await tx.close()


async def test_cancelled_reader_does_not_learn_of_the_end() -> None:
    ours, theirs = socket.socketpair()
    tx, rx = StreamLink.over(SocketTransport(ours)).split()
    theirs.close()
    assert await rx.recv() is None
    with trio.CancelScope() as scope:
        scope.cancel()
        await rx.recv()
    assert scope.cancelled_caught
    assert await rx.recv() is None
    await rx.close()
    await tx.close()
