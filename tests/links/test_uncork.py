"""Writing without the pump: `cork` and `uncork`, on sockets and on other streams."""

from __future__ import annotations

import socket
from collections.abc import Sequence

import pytest
import trio
import trio.testing
from trio.testing import wait_all_tasks_blocked

from roam_trio.errors import LinkError
from roam_trio.links.base import Buffer
from roam_trio.links.byte_streams import SocketTransport
from roam_trio.links.memory import memory_link_pair
from roam_trio.links.stream import StreamLink, StreamLinkTx

from .test_framing import frame
from .test_stream import RecordingStream, sender


class CountingTransport(SocketTransport):
    """A socket that counts how often it is written to, and by whom."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self.nowait = 0
        self.by_pump = 0

    def send_nowait(self, buffers: list[Buffer]) -> list[Buffer]:
        self.nowait += 1
        return super().send_nowait(buffers)

    async def send_all(self, buffers: Sequence[Buffer]) -> None:
        self.by_pump += 1
        await super().send_all(buffers)


class Pumped:
    """``with Pumped(nursery) as pumped:`` the sending half of a link whose pump waits
    for work, and the socket of its peer."""

    def __init__(self, *, narrow: bool = False) -> None:
        left, self.peer = socket.socketpair()
        self.peer.setblocking(False)
        if narrow:
            left.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        self.transport = CountingTransport(left)
        self.tx, self._rx = StreamLink.over(self.transport).split()
        self._nursery = trio.open_nursery()

    async def __aenter__(self) -> Pumped:
        nursery = await self._nursery.__aenter__()
        nursery.start_soon(self.tx.pump)
        await wait_all_tasks_blocked()
        return self

    async def __aexit__(self, *args: object) -> None:
        await self.tx.abort()
        await self._rx.close()
        self.peer.close()
        await self._nursery.__aexit__(None, None, None)

    def commit(self, *payloads: bytes) -> None:
        for payload in payloads:
            self.tx.send_nowait((payload,))

    def arrived(self) -> bytes:
        try:
            return self.peer.recv(1_000_000)
        except BlockingIOError:
            return b""

    @property
    def writes(self) -> tuple[int, int]:
        return self.transport.nowait, self.transport.by_pump


async def test_what_is_committed_between_cork_and_uncork_is_one_write_at_once() -> None:
    async with Pumped() as pumped:
        pumped.tx.cork()
        pumped.commit(b"one", b"two", b"three")
        assert pumped.arrived() == b""
        pumped.tx.uncork()
        assert pumped.arrived() == frame(b"one") + frame(b"two") + frame(b"three")
        assert pumped.tx.statistics().unsent_payloads == 0
        await wait_all_tasks_blocked()
        assert pumped.writes == (1, 0)


async def test_large_pieces_are_uncorked_without_a_copy_of_their_own() -> None:
    large = bytes(range(256)) * 256
    async with Pumped() as pumped:
        pumped.tx.cork()
        pumped.commit(b"small", large, b"end")
        pumped.tx.uncork()
        assert pumped.arrived() == frame(b"small") + frame(large) + frame(b"end")
        assert pumped.writes == (1, 0)


async def test_prompt_payload_is_written_as_it_is_committed_and_the_next_gathered() -> (
    None
):
    async with Pumped() as pumped:
        pumped.tx.cork()
        pumped.tx.uncork(prompt=True)
        pumped.commit(b"prompt")
        assert pumped.arrived() == frame(b"prompt")
        pumped.commit(b"then", b"more")
        assert pumped.arrived() == b""
        await wait_all_tasks_blocked()
        assert pumped.arrived() == frame(b"then") + frame(b"more")
        assert pumped.writes == (1, 1)


async def test_uncorking_that_wrote_something_has_no_prompt_payload_after_it() -> None:
    async with Pumped() as pumped:
        pumped.tx.cork()
        pumped.commit(b"answer")
        pumped.tx.uncork(prompt=True)
        pumped.commit(b"later")
        assert pumped.arrived() == frame(b"answer")
        await wait_all_tasks_blocked()
        assert pumped.writes == (1, 1)


async def test_without_prompt_the_pump_gathers_again() -> None:
    async with Pumped() as pumped:
        pumped.tx.cork()
        pumped.tx.uncork()
        pumped.commit(b"one", b"two")
        await wait_all_tasks_blocked()
        assert pumped.arrived() == frame(b"one") + frame(b"two")
        assert pumped.writes == (0, 1)


async def test_what_the_socket_does_not_take_at_once_is_written_by_the_pump() -> None:
    payloads = [bytes([number]) * 30_000 for number in range(4)]
    expected = b"".join(map(frame, payloads))
    async with Pumped(narrow=True) as pumped:
        pumped.tx.cork()
        pumped.commit(*payloads)
        pumped.tx.uncork()
        arrived = pumped.arrived()
        assert 0 < len(arrived) < len(expected)
        assert pumped.tx.statistics().unsent_payloads == 4
        while len(arrived) < len(expected):
            await wait_all_tasks_blocked()
            arrived += pumped.arrived()
        assert arrived == expected
        assert pumped.writes == (1, 1)
        await wait_all_tasks_blocked()
        assert pumped.tx.statistics().unsent_bytes == 0


async def test_nothing_overtakes_a_write_of_the_pump() -> None:
    payloads = [bytes([number]) * 30_000 for number in range(4)]
    expected = b"".join(map(frame, (*payloads, b"prompt", b"held")))
    async with Pumped(narrow=True) as pumped:
        pumped.commit(*payloads)
        await wait_all_tasks_blocked()
        pumped.tx.cork()
        pumped.tx.uncork(prompt=True)
        pumped.commit(b"prompt")
        pumped.tx.cork()
        pumped.commit(b"held")
        pumped.tx.uncork()
        arrived = b""
        while len(arrived) < len(expected):
            arrived += pumped.arrived()
            await wait_all_tasks_blocked()
        assert arrived == expected
        assert pumped.writes == (0, 2)


async def test_uncorked_room_is_for_those_who_wait_for_it() -> None:
    left, right = socket.socketpair()
    async with trio.open_nursery() as nursery:
        tx, rx = StreamLink.over(SocketTransport(left)).split()
        nursery.start_soon(tx.pump)
        await wait_all_tasks_blocked()
        permits = [tx.reserve_nowait() for _ in range(1023)]
        tx.cork()
        tx.send_nowait((b"last",))
        reserved = 0

        async def reserve() -> None:
            nonlocal reserved
            (await tx.reserve()).release()
            reserved += 1

        nursery.start_soon(reserve)
        await wait_all_tasks_blocked()
        assert not reserved
        tx.uncork()
        await wait_all_tasks_blocked()
        assert reserved
        for permit in permits:
            permit.release()
        await tx.abort()
        await rx.close()
        right.close()


async def test_error_of_uncorking_is_reported_by_the_pump() -> None:
    left, right = socket.socketpair()
    tx, rx = StreamLink.over(SocketTransport(left)).split()
    with pytest.RaisesGroup(LinkError):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(tx.pump)
            await wait_all_tasks_blocked()
            right.close()
            tx.cork()
            tx.send_nowait((b"for nobody",))
            tx.uncork()
            assert tx.statistics().unsent_payloads == 1
    with pytest.raises(LinkError):
        tx.send_nowait((b"",))
    await tx.abort()
    await rx.close()


async def test_without_a_pump_nothing_is_written_before_close() -> None:
    left, right = socket.socketpair()
    right.setblocking(False)
    with right:
        tx, rx = StreamLink.over(SocketTransport(left)).split()
        tx.cork()
        tx.send_nowait((b"kept",))
        tx.uncork(prompt=True)
        tx.send_nowait((b"too",))
        with pytest.raises(BlockingIOError):
            right.recv(1)
        await tx.close()
        assert right.recv(100) == frame(b"kept") + frame(b"too")
        await rx.close()


async def test_close_writes_what_is_held(nursery: trio.Nursery) -> None:
    stream = RecordingStream()
    tx = sender(stream)
    nursery.start_soon(tx.pump)
    await wait_all_tasks_blocked()
    tx.cork()
    tx.send_nowait((b"held",))
    await tx.close()
    assert stream.writes == [frame(b"held")]


async def test_stream_that_may_make_it_wait_is_left_to_the_pump(
    nursery: trio.Nursery,
) -> None:
    stream = RecordingStream()
    tx: StreamLinkTx = sender(stream)
    nursery.start_soon(tx.pump)
    await wait_all_tasks_blocked()
    tx.cork()
    tx.send_nowait((b"one",))
    tx.send_nowait((b"two",))
    tx.uncork()
    assert stream.writes == []
    await wait_all_tasks_blocked()
    tx.uncork(prompt=True)
    tx.send_nowait((b"three",))
    await tx.close()
    assert stream.writes == [frame(b"one") + frame(b"two"), frame(b"three")]


def test_link_without_a_use_for_it_takes_cork_and_uncork() -> None:
    left, right = memory_link_pair(2)
    (tx, _), (_, rx) = left.split(), right.split()
    tx.cork()
    tx.send_nowait((b"payload",))
    assert rx.recv_nowait() == b"payload"
    tx.uncork(prompt=True)
