"""Pairs of links at work, for the checks of `link_conformance`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final, TypeAlias

import attrs
import trio

from ..errors import LinkError
from ..links.base import Link, LinkRx, LinkTx, LinkTxPermit
from .requirements import TIME_LIMIT

__all__ = [
    "MOST_PAYLOADS",
    "LinkEnd",
    "LinkUnderTest",
    "fill_with_permits",
    "release",
    "run_pair",
]

MOST_PAYLOADS: Final = 100_000
"""Number of payloads; a link with room for this many has no backpressure."""


@attrs.frozen
class LinkUnderTest:
    """Makes the links to check.

    Attributes:
        make_pair: makes two links, each the peer of the other; called once per check.
        max_payload: the longest payload in bytes if the links have a limit.
    """

    make_pair: Callable[[], Awaitable[tuple[Link, Link]]]
    max_payload: int | None = None


@attrs.define
class LinkEnd:
    """One end of the pair: both halves of its link, and its pump."""

    tx: LinkTx
    rx: LinkRx
    pump_done: trio.Event = attrs.field(factory=trio.Event)

    async def pump(self) -> None:
        """Run the pump until it ends."""
        await self.tx.pump()
        self.pump_done.set()

    async def pump_till_broken(self) -> None:
        """As `pump`, for a link that may break."""
        with suppress(LinkError):
            await self.tx.pump()
        self.pump_done.set()

    async def send(self, payload: bytes) -> None:
        """Send a payload when there is room."""
        (await self.tx.reserve()).send((payload,))

    async def receive_all(self) -> list[bytes]:
        """Return the payloads until the end."""
        payloads: list[bytes] = []
        while (payload := await self.rx.recv()) is not None:
            payloads.append(bytes(payload))
        return payloads


_Scenario: TypeAlias = Callable[[LinkEnd, LinkEnd, trio.Nursery], Awaitable[None]]


async def run_pair(
    link: LinkUnderTest,
    scenario: _Scenario,
    *,
    pumped: bool = True,
    may_break: bool = False,
) -> None:
    """Run a scenario on a new pair, then close the pair.

    Args:
        link: makes the pair.
        scenario: gets both ends, and a nursery that is cancelled when it returns.
        pumped: run the pumps of both ends meanwhile.
        may_break: accept that the pumps end because the link has broken.
    """
    ends = [LinkEnd(*half.split()) for half in await link.make_pair()]
    try:
        with trio.fail_after(TIME_LIMIT):
            async with trio.open_nursery() as nursery:
                for end in ends if pumped else ():
                    nursery.start_soon(end.pump_till_broken if may_break else end.pump)
                await scenario(ends[0], ends[1], nursery)
                nursery.cancel_scope.cancel()
    finally:
        for end in ends:
            await end.tx.abort()
            await end.rx.close()


def fill_with_permits(tx: LinkTx) -> list[LinkTxPermit]:
    """Return all permits that the link has room for."""
    permits: list[LinkTxPermit] = []
    while len(permits) < MOST_PAYLOADS:
        try:
            permits.append(tx.reserve_nowait())
        except trio.WouldBlock:
            return permits
    raise AssertionError(f"{len(permits)} permits are out, and there is still room")


def release(permits: Sequence[LinkTxPermit]) -> None:
    """Release permits."""
    for permit in permits:
        permit.release()
