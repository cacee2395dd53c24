"""Interfaces of a resuming link for its two halves: no more than they use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from trio.lowlevel import ParkingLot

from ...errors import StableConduitError
from ...wire.backing import Backing
from .conversation import Conversation
from .forwarding import Forwarding
from .limits import StableLimits
from .link_run import LinkRun

__all__ = ["Port", "RxPort", "TxPort"]


class Port(Protocol):
    """The interface for either half.

    Attributes:
        conversation: decides what to send, and what received frames mean.
        link: the present link; None if there is none.
        changed: wakes tasks that wait for a link or for the next phase.
    """

    conversation: Conversation
    link: LinkRun | None
    changed: ParkingLot


class TxPort(Port, Protocol):
    """The interface for the sending half.

    Attributes:
        forwarding: puts messages on the link.
        limits: bounds.
        links: number of links that were used so far.
    """

    forwarding: Forwarding
    limits: StableLimits
    links: int

    @property
    def is_pumped(self) -> bool:
        """True if a task runs the pump."""
        ...

    def say_goodbye(self) -> None:
        """Send the goodbye, after which nothing is sent."""
        ...

    def fail(self, error: StableConduitError) -> None:
        """End with an error that another link would not cure. The first counts."""
        ...

    def doubt(self) -> bool:
        """Drop a link on which the peer does not answer; see `ConduitTx.doubt`."""
        ...

    async def pump(self) -> None:
        """Use one link after another, until the end."""
        ...

    async def abort(self) -> None:
        """End at once, without a goodbye."""
        ...


class RxPort(Port, Protocol):
    """The interface for the receiving half."""

    def receive(self, link: LinkRun, payloads: Sequence[Backing]) -> Sequence[Backing]:
        """Return the messages of what one read of a link has brought, if any."""
        ...

    def lose(self, link: LinkRun, why: object) -> None:
        """Stop using a link."""
        ...

    def look_for_the_end(self) -> None:
        """Close the link if it is done, and wake tasks that wait for the end."""
        ...
