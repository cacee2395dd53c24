"""Large payloads of many links take turns, and those that hold others up are given
up."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, memory_stream_pair, wait_all_tasks_blocked

from roam_trio import LinkError, StreamLimits, StreamLink
from roam_trio.errors import PayloadTooSlow
from roam_trio.links.arrivals import LARGE, PATIENCE, Arrivals, Passage
from roam_trio.links.base import LinkRx
from roam_trio.links.byte_streams import StreamTransport
from roam_trio.links.websocket import WebSocketLink

from .test_counted_payloads import Counting, begun
from .test_websocket import BINARY, frame

MIB = 1024 * 1024


class Of(Counting):
    """A budget of a session of a server."""

    def __init__(self, arrivals: Arrivals) -> None:
        super().__init__()
        self.arrivals = arrivals


class Client:
    """A client whose payloads a server receives."""

    def __init__(
        self,
        nursery: trio.Nursery,
        arrivals: Arrivals,
        *,
        websocket: bool = False,
    ) -> None:
        ours, self.stream = memory_stream_pair()
        limits = StreamLimits(max_payload=16 * MIB, payload_seconds=30)
        self.budget = Of(arrivals)
        self.lengths: list[int] = []
        self.errors: list[LinkError] = []
        if websocket:
            transport = StreamTransport(ours, None)
            link = WebSocketLink(transport, is_client=False, limits=limits)
            nursery.start_soon(self._receive, link.split()[1])
        else:
            nursery.start_soon(
                self._receive, StreamLink(ours, limits=limits).split()[1]
            )

    async def _receive(self, rx: LinkRx) -> None:
        rx.count_in(self.budget)
        try:
            while (payload := await rx.recv()) is not None:
                self.lengths.append(len(payload))
        except LinkError as error:
            self.errors.append(error)

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)
        await wait_all_tasks_blocked()


async def test_payload_beyond_the_room_of_all_waits_until_another_is_complete(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    arrivals = Arrivals(5 * MIB)
    first, second = Client(nursery, arrivals), Client(nursery, arrivals)
    await first.send(begun(3 * MIB, 2 * MIB))
    await second.send(begun(3 * MIB, 2 * MIB))
    assert (first.budget.held > 2 * MIB, second.budget.held) == (True, LARGE)
    await first.send(bytes(MIB))
    assert first.lengths == [3 * MIB]
    assert second.budget.held > 2 * MIB
    await second.send(bytes(MIB))
    assert second.lengths == [3 * MIB]
    assert "0 bytes of 0 payloads, 0 wait" in repr(arrivals)
    nursery.cancel_scope.cancel()


async def test_payload_longer_than_the_room_of_all_goes_on_alone(
    nursery: trio.Nursery,
) -> None:
    arrivals = Arrivals(MIB)
    client = Client(nursery, arrivals)
    await client.send(begun(3 * MIB, 3 * MIB))
    assert client.lengths == [3 * MIB]
    nursery.cancel_scope.cancel()


async def test_payloads_that_are_not_large_never_wait(nursery: trio.Nursery) -> None:
    arrivals = Arrivals(1)
    first, second = Client(nursery, arrivals), Client(nursery, arrivals)
    await first.send(begun(2 * MIB, MIB))
    await second.send(begun(LARGE, LARGE - 1))
    await second.send(b"1" + begun(100_000, 99_999))
    await second.send(b"1")
    assert second.lengths == [LARGE, 100_000]
    nursery.cancel_scope.cancel()


async def test_short_ones_go_first_but_long_ones_do_not_wait_for_ever(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    arrivals = Arrivals(3 * MIB)
    first, long, short = (Client(nursery, arrivals) for _ in range(3))
    await first.send(begun(3 * MIB, 2 * MIB))
    await long.send(begun(3 * MIB, MIB))
    await trio.sleep(PATIENCE - 1)
    await short.send(begun(2 * MIB, MIB))
    await first.send(bytes(MIB))
    assert short.budget.held > LARGE
    assert long.budget.held == LARGE
    late = Client(nursery, arrivals)
    await trio.sleep(PATIENCE - 1)
    await short.send(bytes(MIB // 2))
    await trio.sleep(PATIENCE - 1)
    await late.send(begun(2 * MIB, MIB))
    await short.send(bytes(MIB // 2))
    assert short.lengths == [2 * MIB]
    assert long.budget.held > LARGE
    assert late.budget.held == LARGE
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("websocket", [False, True])
async def test_payload_that_does_not_go_on_is_given_up_when_others_wait(
    nursery: trio.Nursery, autojump_clock: MockClock, websocket: bool
) -> None:
    arrivals = Arrivals(3 * MIB)
    stalled = Client(nursery, arrivals, websocket=websocket)
    waiting = Client(nursery, arrivals)
    start = frame(BINARY, bytes(3 * MIB))[: 2 * MIB] if websocket else b""
    await stalled.send(start or begun(3 * MIB, 2 * MIB))
    await trio.sleep(3 * PATIENCE)
    assert stalled.errors == []  # nobody waits
    await waiting.send(begun(MIB, MIB))
    await trio.sleep(2 * PATIENCE + 1)
    (error,) = stalled.errors
    assert isinstance(error, PayloadTooSlow)
    assert "limit: server_begun_bytes" in str(error)
    assert stalled.budget.held == 0
    assert waiting.lengths == [MIB]
    nursery.cancel_scope.cancel()


async def test_payload_that_goes_on_is_not_given_up(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    arrivals = Arrivals(3 * MIB)
    slow, waiting = Client(nursery, arrivals), Client(nursery, arrivals)
    await slow.send(begun(8 * MIB, MIB))
    await waiting.send(begun(MIB, MIB))
    for _ in range(7):
        await trio.sleep(PATIENCE - 0.5)
        await slow.send(bytes(MIB))
    assert slow.lengths == [8 * MIB]
    assert waiting.lengths == [MIB]
    nursery.cancel_scope.cancel()


async def test_time_in_which_a_payload_waits_does_not_count(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    arrivals = Arrivals(30 * MIB)
    slow, waiting = Client(nursery, arrivals), Client(nursery, arrivals)
    await slow.send(begun(16 * MIB, MIB))
    await waiting.send(begun(16 * MIB, MIB))
    for _ in range(15):
        await trio.sleep(PATIENCE - 0.5)
        await slow.send(bytes(MIB))
    assert slow.lengths == [16 * MIB]
    await trio.sleep(29)
    assert waiting.errors == []
    await waiting.send(bytes(15 * MIB))
    assert waiting.lengths == [16 * MIB]
    nursery.cancel_scope.cancel()


async def test_link_that_is_closed_makes_room(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    arrivals = Arrivals(3 * MIB)
    first, waiting, third = (Client(nursery, arrivals) for _ in range(3))
    await first.send(begun(3 * MIB, MIB))
    await waiting.send(begun(3 * MIB, MIB))
    await third.send(begun(2 * MIB, 2 * MIB))
    await first.stream.aclose()
    await wait_all_tasks_blocked()
    assert third.lengths == [2 * MIB]
    nursery.cancel_scope.cancel()


class Link:
    """A link that reads."""

    async def make_room(self) -> None:
        raise AssertionError("it need not")


async def test_read_that_is_cancelled_while_it_waits_goes_on_later(
    autojump_clock: MockClock,
) -> None:
    arrivals = Arrivals(3 * MIB)
    holder = Passage(arrivals)
    holder.announce(3 * MIB, MIB, Link())
    ours, theirs = memory_stream_pair()
    _, rx = StreamLink(ours).split()
    rx.count_in(Of(arrivals))
    await theirs.send_all(begun(MIB, MIB))
    with trio.move_on_after(1):
        await rx.recv()
    holder.end()
    payload = await rx.recv()
    assert payload is not None
    assert len(payload) == MIB
