"""Getting through to a server again: when, how often, and for how long."""

from __future__ import annotations

import itertools

import pytest
import trio
from trio.testing import MockClock

from roam_trio import Attachment, Backoff, LinkDead, LinkError, LinkSource
from roam_trio.links.base import Link
from roam_trio.links.memory import memory_link_pair
from roam_trio.links.resuming.source import RedialingSource

EXACT = Backoff(initial=1, factor=2, longest=5, jitter=0, give_up_after=100)


class Server:
    """Takes note of when it is dialled, and answers or not."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.is_up = False
        self.error: Exception = ConnectionRefusedError("nobody there")

    async def dial(self) -> Link:
        await trio.lowlevel.checkpoint()
        self.times.append(trio.current_time())
        if not self.is_up:
            raise self.error
        return memory_link_pair(1)[0]


async def test_tries_come_at_growing_intervals_up_to_a_longest(
    autojump_clock: MockClock,
) -> None:
    server = Server()
    source = RedialingSource(server.dial, EXACT)

    async def come_up() -> None:
        await trio.sleep(14)
        server.is_up = True

    async with trio.open_nursery() as nursery:
        nursery.start_soon(come_up)
        attachment = await source.next_link()
    assert server.times == [0, 1, 3, 7, 12, 17]
    assert attachment.client_hello is None


@pytest.mark.rule("stable.link-source")
async def test_server_that_does_not_come_up_is_given_up(
    autojump_clock: MockClock,
) -> None:
    server = Server()
    server.error = LinkError("speaks something else")
    source = RedialingSource(server.dial, EXACT)
    with pytest.raises(LinkDead, match=r"for 100 s.*give_up_after") as caught:
        await source.next_link()
    assert trio.current_time() == 100
    assert caught.value.__cause__ is server.error


async def test_link_that_has_lasted_is_replaced_at_once(
    autojump_clock: MockClock,
) -> None:
    server = Server()
    server.is_up = True
    source = RedialingSource(server.dial, EXACT)
    for _ in range(3):
        await source.next_link()
        source.established()
        await trio.sleep(10)
    assert server.times == [0, 10, 20]


async def test_server_that_drops_every_link_is_not_flooded(
    autojump_clock: MockClock,
) -> None:
    server = Server()
    server.is_up = True
    source = RedialingSource(server.dial, EXACT)
    for _ in range(7):
        await source.next_link()
        source.established()
    assert server.times == [0, 1, 3, 7, 12, 17, 22]


async def test_links_that_lead_nowhere_use_up_the_time(
    autojump_clock: MockClock,
) -> None:
    server = Server()
    server.is_up = True
    source = RedialingSource(server.dial, EXACT)

    async def try_for_ever() -> None:
        while True:
            await source.next_link()  # and the hellos go wrong

    with pytest.raises(LinkDead):
        await try_for_ever()
    assert trio.current_time() == 100


async def test_link_that_is_open_already_is_the_first(
    autojump_clock: MockClock,
) -> None:
    server = Server()
    server.is_up = True
    first, other = memory_link_pair(1)
    source = RedialingSource(server.dial, EXACT, first=first)
    attachment = await source.next_link()
    assert (attachment.tx, attachment.rx) == first.split()
    assert server.times == []
    await source.next_link()
    assert server.times == [0]
    assert "1 failures" in repr(source)
    await source.close()
    _, rx = other.split()
    with pytest.raises(trio.WouldBlock):
        rx.recv_nowait()  # what was taken is not the source's any more


async def test_first_link_that_nobody_took_is_closed() -> None:
    first, other = memory_link_pair(1)
    source = RedialingSource(Server().dial, first=first)
    await source.close()
    await source.close()
    assert await other.split()[1].recv() is None


def test_chance_shortens_pauses_by_up_to_the_jitter() -> None:
    chances = itertools.cycle([0.0, 1.0, 0.5])
    backoff = Backoff(initial=8, longest=8, jitter=0.5, chance=lambda: next(chances))
    assert [backoff.pause(1) for _ in range(3)] == [8, 4, 6]
    assert backoff.pause(0) == 0
    assert Backoff(jitter=0).pause(10_000) == 10


@pytest.mark.parametrize(
    "wrong",
    [
        {"initial": 0},
        {"factor": 0.5},
        {"longest": -1},
        {"jitter": 1.5},
        {"give_up_after": 0},
    ],
)
def test_backoff_that_makes_no_sense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Backoff(**wrong)  # type: ignore[arg-type]


def test_backoff_whose_longest_pause_is_less_than_its_first_is_refused() -> None:
    assert Backoff(initial=2, longest=2).pause(1) <= 2
    with pytest.raises(
        ValueError,
        match=r"^Backoff\.longest: expected no less than .* \(initial=2\), got 1$",
    ):
        Backoff(initial=2, longest=1)


async def test_source_of_ones_own_has_to_supply_links_and_nothing_else(
    autojump_clock: MockClock,
) -> None:
    class Mine(LinkSource):
        async def next_link(self) -> Attachment:
            return Attachment.to_server(memory_link_pair(1)[0])

    source = Mine()
    source.established()
    await source.close()
    with trio.move_on_after(1000) as scope:
        await source.superseded()
    assert scope.cancelled_caught
