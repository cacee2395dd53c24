"""Faulty streams go wrong exactly as they were told to."""

from __future__ import annotations

import pytest
import trio
from trio.abc import ReceiveStream
from trio.testing import MockClock, wait_all_tasks_blocked

from roam_trio.testing import Faults, FaultyStream, faulty_stream_pair


async def read_all(stream: ReceiveStream) -> bytes:
    return b"".join([bytes(chunk) async for chunk in stream])


async def test_without_faults_it_is_as_any_stream(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    left, right = faulty_stream_pair()
    await left.send_all(b"there")
    await left.wait_send_all_might_not_block()
    assert await right.receive_some() == b"there"
    await right.send_all(b"back and")
    assert (await left.receive_some(4), await left.receive_some()) == (b"back", b" and")
    await left.send_eof()
    assert await right.receive_some() == b""
    assert (left.sent, left.received) == (5, 8)
    await right.aclose()
    assert await left.receive_some() == b""
    await left.aclose()
    with pytest.raises(trio.ClosedResourceError):
        await left.receive_some()
    with pytest.raises(trio.ClosedResourceError):
        await left.send_all(b"x")


@pytest.mark.parametrize("after", range(11))
async def test_sending_is_cut_after_exactly_so_many_bytes(after: int) -> None:
    left, right = faulty_stream_pair(sending=Faults(cut_after=after))

    async def send_all_there_is() -> None:
        for chunk in (b"01234", b"56789", b"!"):
            await left.send_all(chunk)

    with pytest.raises(trio.BrokenResourceError):
        await send_all_there_is()
    assert left.sent == after
    assert await read_all(right) == b"0123456789"[:after]
    for _ in range(2):
        with pytest.raises(trio.BrokenResourceError):
            await left.send_all(b"more")
        with pytest.raises(trio.BrokenResourceError):
            await left.receive_some()
    with pytest.raises(trio.BrokenResourceError):
        await left.send_eof()
    with pytest.raises(trio.BrokenResourceError):
        await right.send_all(b"back")
    assert "cut" in repr(left)


@pytest.mark.parametrize("after", range(11))
@pytest.mark.parametrize("cleanly", [False, True])
async def test_receiving_is_cut_after_exactly_so_many_bytes(
    after: int, cleanly: bool
) -> None:
    left, right = faulty_stream_pair(receiving=Faults(cut_after=after), cleanly=cleanly)
    await right.send_all(b"0123456789")
    got = b""
    while len(got) < after:
        got += await left.receive_some()
    assert got == b"0123456789"[:after]
    if cleanly:
        assert await left.receive_some() == b""
    else:
        with pytest.raises(trio.BrokenResourceError):
            await left.receive_some()
    assert await right.receive_some() == b""


@pytest.mark.parametrize("cleanly", [False, True])
async def test_cut_ends_what_is_under_way(
    cleanly: bool, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    left, right = faulty_stream_pair(cleanly=cleanly)
    ends: list[object] = []

    async def receive() -> None:
        try:
            ends.append(await left.receive_some())
        except trio.BrokenResourceError:
            ends.append("broken")

    nursery.start_soon(receive)
    await wait_all_tasks_blocked()
    await left.cut()
    await wait_all_tasks_blocked()
    assert ends == [b"" if cleanly else "broken"]
    assert await right.receive_some() == b""
    await left.cut()


async def test_stalled_bytes_pass_when_it_is_healed(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    left, right = faulty_stream_pair(
        sending=Faults(stall_after=3), receiving=Faults(stall_after=2)
    )
    nursery.start_soon(left.send_all, b"12345")
    await right.send_all(b"abcd")
    got = bytearray()

    async def receive() -> None:
        while len(got) < 4:
            got.extend(await left.receive_some())

    nursery.start_soon(receive)
    await wait_all_tasks_blocked()
    assert (left.sent, bytes(got)) == (3, b"ab")
    left.heal()
    await wait_all_tasks_blocked()
    assert (left.sent, bytes(got)) == (5, b"abcd")
    assert await right.receive_some() == b"12345"
    left.stall()
    with trio.move_on_after(1000) as scope:
        await left.send_all(b"6")
    assert scope.cancelled_caught
    assert left.sent == 5
    nursery.start_soon(self_cut, left)
    with pytest.raises(trio.BrokenResourceError):
        await left.send_all(b"6")


async def self_cut(stream: FaultyStream) -> None:
    await wait_all_tasks_blocked()
    await stream.cut()


async def test_lost_bytes_vanish_and_nobody_is_told(
    autojump_clock: MockClock,
) -> None:
    left, right = faulty_stream_pair(sending=Faults(lose_after=2))
    await left.send_all(b"1234")
    await left.send_all(b"5")
    await left.send_eof()
    assert await right.receive_some() == b"12"
    await right.send_all(b"the other way it works")
    assert await left.receive_some() == b"the other way it works"
    with trio.move_on_after(1000) as scope:
        await right.receive_some()
    assert scope.cancelled_caught
    left.lose(sending=False)
    await right.send_all(b"lost")
    with trio.move_on_after(1000) as scope:
        await left.receive_some()
    assert scope.cancelled_caught
    left.heal()
    await right.send_all(b"found")
    assert await left.receive_some() == b"found"
    assert left.received == 27
    left.lose()
    await left.send_all(b"lost")
    assert left.sent == 2


async def test_slow_bytes_take_their_time(autojump_clock: MockClock) -> None:
    left, right = faulty_stream_pair(
        sending=Faults(seconds_each=2), receiving=Faults(seconds_each=3)
    )
    await left.send_all(b"12345")
    assert trio.current_time() == 10
    await right.send_all(b"abc")
    with trio.move_on_after(5):
        await left.receive_some()
    assert await left.receive_some() == b"abc"  # cancelled, it has lost nothing
    assert trio.current_time() == 24


async def test_any_stream_can_be_made_faulty() -> None:
    class OneWay(trio.abc.Stream):
        def __init__(self) -> None:
            self.closed = False

        async def send_all(self, data: object) -> None: ...
        async def wait_send_all_might_not_block(self) -> None: ...
        async def receive_some(self, max_bytes: int | None = None) -> bytes:
            return b""

        async def aclose(self) -> None:
            self.closed = True

    inner = OneWay()
    await FaultyStream(inner).send_eof()  # it cannot be closed by halves
    assert inner.closed


async def test_one_direction_may_be_lost_alone(autojump_clock: MockClock) -> None:
    left, right = faulty_stream_pair()
    left.lose(receiving=False)
    await left.send_all(b"lost")
    await right.send_all(b"there")
    assert await left.receive_some() == b"there"
    with trio.move_on_after(1) as scope:
        await right.receive_some()
    assert scope.cancelled_caught
