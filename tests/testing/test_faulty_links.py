"""Faulty links go wrong exactly as they were told to, and are good links otherwise."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from roam_trio.errors import LinkClosed, LinkError
from roam_trio.links.base import Link, LinkRx, LinkTx
from roam_trio.links.memory import memory_link_pair
from roam_trio.testing import Faults, FaultyLink
from roam_trio.testing.link_conformance import CHECKS, Check, LinkUnderTest
from tests.links import pairs


async def faulty_memory_pair() -> tuple[Link, Link]:
    left, right = memory_link_pair(8)
    return FaultyLink(left), FaultyLink(right)


async def faulty_stream_pair() -> tuple[Link, Link]:
    left, right = await pairs.memory_stream_pair()
    return FaultyLink(left, max_payload=pairs.MAX_PAYLOAD), right


KINDS = {
    "memory": LinkUnderTest(faulty_memory_pair),
    "stream": LinkUnderTest(faulty_stream_pair, pairs.MAX_PAYLOAD),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("check", CHECKS, ids=str)
async def test_without_faults_it_is_as_any_link(kind: str, check: Check) -> None:
    await check(KINDS[kind])


class Ends:
    """A faulty link, and the other end of it."""

    def __init__(
        self,
        nursery: trio.Nursery,
        *,
        sending: Faults | None = None,
        receiving: Faults | None = None,
        cleanly: bool = False,
    ) -> None:
        left, right = memory_link_pair(16)
        self.link = FaultyLink(
            left,
            sending=sending or Faults(),
            receiving=receiving or Faults(),
            cleanly=cleanly,
        )
        self.tx, self.rx = self.link.split()
        self.far_tx: LinkTx
        self.far_rx: LinkRx
        self.far_tx, self.far_rx = right.split()
        self.pump_error: LinkError | None = None
        nursery.start_soon(self._pump)

    async def _pump(self) -> None:
        try:
            await self.tx.pump()
        except LinkError as error:
            self.pump_error = error

    async def send(self, *payloads: bytes) -> None:
        for payload in payloads:
            (await self.tx.reserve()).send((payload,))

    async def send_back(self, *payloads: bytes) -> None:
        for payload in payloads:
            (await self.far_tx.reserve()).send((payload,))

    async def arrived(self) -> list[bytes | None]:
        await wait_all_tasks_blocked()
        return self.all_of(self.far_rx)

    @staticmethod
    def all_of(rx: LinkRx) -> list[bytes | None]:
        """What has come, and None if that is the end."""
        come: list[bytes | None] = []
        while True:
            try:
                come.append(rx.recv_nowait())
            except trio.WouldBlock:
                return come
            if come[-1] is None:
                return come


@pytest.mark.parametrize("after", range(4))
async def test_sending_is_cut_after_exactly_so_many_payloads(
    after: int, nursery: trio.Nursery
) -> None:
    ends = Ends(nursery, sending=Faults(cut_after=after))
    for number in range(3):
        if after > number:
            await ends.send(b"%d" % number)
            await wait_all_tasks_blocked()
    await wait_all_tasks_blocked()
    expected: list[bytes | None] = [b"0", b"1", b"2"][:after]
    assert await ends.arrived() == [*expected, None][: after + (after < 4)]
    assert "cut" in str(ends.pump_error)
    for _ in range(2):
        with pytest.raises(LinkError, match="cut"):
            await ends.tx.reserve()
        with pytest.raises(LinkError, match="cut"):
            await ends.rx.recv()
        with pytest.raises(LinkError, match="cut"):
            ends.rx.recv_nowait()


@pytest.mark.parametrize("cleanly", [False, True])
async def test_receiving_is_cut_after_exactly_so_many_payloads(
    cleanly: bool, nursery: trio.Nursery
) -> None:
    ends = Ends(nursery, receiving=Faults(cut_after=2), cleanly=cleanly)
    await ends.send_back(b"0", b"1", b"2")
    assert [await ends.rx.recv(), ends.rx.recv_nowait()] == [b"0", b"1"]
    with pytest.raises(trio.WouldBlock):
        ends.rx.recv_nowait()  # the cut comes with the next
    if cleanly:
        assert await ends.rx.recv() is None
        assert ends.rx.recv_nowait() is None
    else:
        with pytest.raises(LinkError, match="cut"):
            await ends.rx.recv()
    assert await ends.arrived() == [None]


async def test_cut_ends_what_is_under_way(nursery: trio.Nursery) -> None:
    ends = Ends(nursery)
    caught: list[Exception] = []

    async def receive() -> None:
        try:
            await ends.rx.recv()
        except LinkError as error:
            caught.append(error)

    nursery.start_soon(receive)
    await wait_all_tasks_blocked()
    await ends.link.cut()
    await wait_all_tasks_blocked()
    assert [str(error) for error in caught] == ["the link is cut"]
    assert ends.pump_error is not None
    await ends.rx.close()
    with pytest.raises(LinkClosed):
        await ends.rx.recv()


async def test_stalled_payloads_pass_when_it_is_healed(nursery: trio.Nursery) -> None:
    ends = Ends(nursery, sending=Faults(stall_after=1), receiving=Faults(stall_after=1))
    await ends.send(b"0", b"1")
    await ends.send_back(b"a", b"b")
    assert await ends.arrived() == [b"0"]
    assert await ends.rx.recv() == b"a"
    with pytest.raises(trio.WouldBlock):
        ends.rx.recv_nowait()
    ends.link.heal()
    assert await ends.arrived() == [b"1"]
    assert await ends.rx.recv() == b"b"
    ends.link.stall()
    await ends.send(b"2")
    assert await ends.arrived() == []
    assert (ends.link.sent, ends.link.received) == (2, 2)


async def test_lost_payloads_vanish_and_nobody_is_told(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    ends = Ends(nursery, sending=Faults(lose_after=1))
    await ends.send(b"0", b"1", b"2")
    assert await ends.arrived() == [b"0"]
    await ends.send_back(b"the other way it works")
    assert await ends.rx.recv() == b"the other way it works"
    ends.link.lose(sending=False)
    await ends.send_back(b"lost")
    with pytest.raises(trio.WouldBlock):
        ends.rx.recv_nowait()
    await ends.send_back(b"lost")
    with trio.move_on_after(1000) as scope:
        await ends.rx.recv()
    assert scope.cancelled_caught
    ends.link.heal()
    ends.link.lose(receiving=False)
    await ends.send_back(b"found")
    assert await ends.rx.recv() == b"found"
    await ends.send(b"lost")
    assert await ends.arrived() == []


async def test_duplicates_come_twice(nursery: trio.Nursery) -> None:
    ends = Ends(
        nursery, sending=Faults(duplicates={1}), receiving=Faults(duplicates={0, 2})
    )
    await ends.send(b"0", b"1", b"2")
    assert await ends.arrived() == [b"0", b"1", b"1", b"2"]
    await ends.send_back(b"a", b"b", b"c")
    assert ends.all_of(ends.rx) == [b"a", b"a", b"b", b"c", b"c"]
    assert ends.rx.statistics().payloads == 5


async def test_slow_payloads_take_their_time(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    ends = Ends(
        nursery, sending=Faults(seconds_each=2), receiving=Faults(seconds_each=3)
    )
    await ends.send(b"0", b"1")
    assert [await ends.far_rx.recv(), await ends.far_rx.recv()] == [b"0", b"1"]
    assert trio.current_time() == 4
    await ends.send_back(b"a")
    with pytest.raises(trio.WouldBlock):
        ends.rx.recv_nowait()
    with trio.move_on_after(1):
        await ends.rx.recv()
    with pytest.raises(trio.WouldBlock):
        ends.rx.recv_nowait()  # it has come, and is on its way still
    assert await ends.rx.recv() == b"a"  # cancelled, it has lost nothing
    assert trio.current_time() == 8
    assert "2 sent" in repr(ends.tx)
    assert "1 received" in repr(ends.rx)


async def test_a_link_has_one_pump_at_a_time(nursery: trio.Nursery) -> None:
    ends = Ends(nursery)
    await wait_all_tasks_blocked()
    with pytest.raises(trio.BusyResourceError, match="another task runs the pump"):
        await ends.tx.pump()


async def test_a_link_that_is_cut_stays_cut_for_later_receivers(
    nursery: trio.Nursery,
) -> None:
    ends = Ends(nursery, receiving=Faults(cut_after=0))
    for _ in range(2):
        with pytest.raises(LinkError, match="cut"):
            await ends.rx.recv()
