"""Every kind of conduit passes every check of the conformance kit."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import trio
import trio.testing

from roam_trio.conduits.bare import BareConduit
from roam_trio.conduits.base import Conduit
from roam_trio.conduits.stable import StableConduit
from roam_trio.links.base import Link
from roam_trio.links.memory import memory_link_pair
from roam_trio.links.resuming.handshake import prepare_acceptor_attachment
from roam_trio.links.resuming.limits import StableLimits
from roam_trio.links.resuming.source import (
    Attachment,
    Backoff,
    LinkSource,
    RedialingSource,
)
from roam_trio.links.stream import StreamLink
from roam_trio.testing import Faults, FaultyLink, faulty_stream_pair
from roam_trio.testing.conduit_conformance import (
    CHECKS,
    Check,
    ConduitUnderTest,
    Texts,
)
from tests.links.views import on_views

Pair = tuple[Conduit[str], Conduit[str]]

LIMITS = StableLimits(
    unacknowledged_frames=64, acknowledge_frames=16, acknowledge_seconds=0.001
)


async def bare_pair() -> Pair:
    left, right = memory_link_pair(8)
    return BareConduit(left, Texts()), BareConduit(right, Texts())


async def bare_pair_on_views() -> Pair:
    left, right = memory_link_pair(8)
    return BareConduit(on_views(left), Texts()), BareConduit(on_views(right), Texts())


class Comers(LinkSource):
    """The links that a client opens, at the server's side."""

    def __init__(self) -> None:
        self._send, self._receive = trio.open_memory_channel[Link](100)

    def come(self, link: Link) -> None:
        self._send.send_nowait(link)

    async def next_link(self) -> Attachment:
        return await prepare_acceptor_attachment(await self._receive.receive())


def stable_conduits(cuts: Iterator[int]) -> Pair:
    """Joined by streams, of which each is cut after so many bytes."""
    comers = Comers()

    async def dial() -> Link:
        await trio.lowlevel.checkpoint()
        after = next(cuts, math.inf)
        left, right = faulty_stream_pair(
            sending=Faults(cut_after=after), receiving=Faults(cut_after=after)
        )
        comers.come(StreamLink(right))
        return StreamLink(left)

    backoff = Backoff(initial=0.001, longest=0.001)
    return (
        StableConduit(RedialingSource(dial, backoff), Texts(), limits=LIMITS),
        StableConduit(comers, Texts(), limits=LIMITS),
    )


def repeating_conduits() -> Pair:
    """Joined by a link on which everything but the hellos comes twice."""
    comers = Comers()
    twice = Faults(duplicates=range(1, 10_000))

    async def dial() -> Link:
        await trio.lowlevel.checkpoint()
        left, right = memory_link_pair(8)
        comers.come(right)
        return FaultyLink(left, sending=twice, receiving=twice)

    return (
        StableConduit(RedialingSource(dial), Texts(), limits=LIMITS),
        StableConduit(comers, Texts(), limits=LIMITS),
    )


async def stable_pair_on_views() -> Pair:
    comers = Comers()

    async def dial() -> Link:
        await trio.lowlevel.checkpoint()
        left, right = memory_link_pair(8)
        comers.come(on_views(right))
        return on_views(left)

    return (
        StableConduit(RedialingSource(dial), Texts(), limits=LIMITS),
        StableConduit(comers, Texts(), limits=LIMITS),
    )


async def stable_pair() -> Pair:
    return stable_conduits(iter(()))


async def stable_pair_on_bad_links() -> Pair:
    return stable_conduits(75 * 2**number for number in range(20))


async def stable_pair_on_links_that_repeat() -> Pair:
    return repeating_conduits()


CONDUITS = {
    "bare": ConduitUnderTest(bare_pair),
    "bare, on views": ConduitUnderTest(bare_pair_on_views),
    "stable": ConduitUnderTest(stable_pair),
    "stable, on views": ConduitUnderTest(stable_pair_on_views),
    "stable, on links that are cut": ConduitUnderTest(stable_pair_on_bad_links),
    "stable, repeated": ConduitUnderTest(stable_pair_on_links_that_repeat),
}

KIND_RULES = {
    "bare": ("conduit.bare",),
    "bare, on views": ("conduit.bare", "zerocopy.backing"),
}
STABLE_RULES = ("conduit.stable", "stable")


@pytest.mark.parametrize(
    ("kind", "check"),
    [
        pytest.param(
            kind,
            check,
            id=f"{kind}-{check}",
            marks=pytest.mark.rule(*check.rules, *KIND_RULES.get(kind, STABLE_RULES)),
        )
        for kind in CONDUITS
        for check in CHECKS
    ],
)
async def test_conduit_passes(
    kind: str, check: Check, autojump_clock: trio.testing.MockClock
) -> None:
    await check(CONDUITS[kind])
