"""``virtual://name``: links between the clients and the servers of a fleet."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from random import Random

import attrs
import trio

from roam_trio.links.base import Link
from roam_trio.transports import registry
from roam_trio.transports.base import (
    LinkFactory,
    LinkListener,
    LinkOptions,
    ListenerFactory,
    Transport,
)

from ..clockwork import TICK
from ..network import VirtualLink
from ..progress import Progress

__all__ = ["CLIENT", "Network"]

CLIENT: ContextVar[int] = ContextVar("CLIENT")
"""The number of the client that dials."""

_ROOM = 65536


class Network:
    """All links, and who listens.

    Args:
        progress: has the time and the log.
        slowest: longest delay of a write, in ticks.

    Attributes:
        hidden: the names that do not answer at all.
    """

    def __init__(self, progress: Progress, slowest: int) -> None:
        self.hidden: set[str] = set()
        self._progress = progress
        self._slowest = slowest
        self._chance = Random(f"network {progress.seed}")
        self._listeners: dict[str, _Listener] = {}
        self._dialed: list[tuple[int, str, VirtualLink]] = []

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Let `connect` and `serve` have these links."""
        assert "virtual" not in registry._transports, "one world at a time"
        registry._transports["virtual"] = _VirtualTransport(self)
        try:
            yield
        finally:
            del registry._transports["virtual"]

    def links(self, name: str, client: int | None = None) -> list[VirtualLink]:
        """Return the links with a server that carry something, or those of a client."""
        self._dialed = [one for one in self._dialed if not one[2].is_over]
        return [
            link
            for number, to, link in self._dialed
            if to == name and client in (None, number)
        ]

    def heal(self) -> None:
        """Let everything arrive."""
        self.hidden.clear()
        for _, _, link in self._dialed:
            for pipe in link.pipes:
                pipe.heal()

    def cut_off(self, name: str) -> None:
        """Have a server be gone with all of its links, and all that is under way."""
        listener = self._listeners.get(name)
        if listener is not None:
            listener.close()
        for link in self.links(name):
            link.cut()

    async def dial(self, client: int, name: str) -> Link:
        """Return the end of a new link of a client.

        Raises:
            ConnectionRefusedError: nobody listens there.
        """
        stage = self._progress
        await trio.sleep(self._chance.randint(1, self._slowest) * TICK)
        if name in self.hidden:
            await trio.sleep_forever()
        listener = self._listeners.get(name)
        stage.figures["dialed"] += 1
        if listener is None:
            raise ConnectionRefusedError("nobody listens there")
        number = stage.figures["links"] = stage.figures["links"] + 1
        link = VirtualLink(
            stage.clockwork,
            Random(f"link {stage.seed} {number}"),
            slowest=self._slowest,
            room=_ROOM,
            may_double=False,
            host=f"client {client}",
            note=lambda what, *args: stage.note(what, number, *args),
        )
        stage.note("link", client, name)
        self._dialed.append((client, name, link))
        listener.come(link)
        return link.ends[0]

    def listen(self, name: str) -> LinkListener:
        """Listen under a name.

        Raises:
            OSError: somebody does.
        """
        if name in self._listeners:
            raise OSError("somebody listens there")
        listener = self._listeners[name] = _Listener(self._listeners, name)
        return listener


@attrs.define(eq=False)
class _Listener(LinkListener):
    """Has clients wait until they are accepted."""

    listeners: dict[str, _Listener]
    name: str
    waiting: deque[VirtualLink] = attrs.Factory(deque[VirtualLink])
    changed: trio.lowlevel.ParkingLot = attrs.Factory(trio.lowlevel.ParkingLot)

    @property
    def url(self) -> str:
        return f"virtual://{self.name}"

    def come(self, link: VirtualLink) -> None:
        """Take a client."""
        self.waiting.append(link)
        self.changed.unpark()

    async def accept(self) -> LinkFactory:
        await trio.lowlevel.checkpoint()
        while not self.waiting:
            await self.changed.park()
        end = self.waiting.popleft().ends[1]

        async def accepted() -> Link:
            return end

        return accepted

    def close(self) -> None:
        if self.listeners.get(self.name) is self:
            del self.listeners[self.name]
        for link in self.waiting:
            link.cut()
        self.waiting.clear()


class _VirtualTransport(Transport):
    example = "virtual://bank-1"

    def __init__(self, network: Network) -> None:
        self._network = network

    def to_connect(self, url: str, options: LinkOptions) -> LinkFactory:
        # Now, as links are opened again in other contexts.
        client = CLIENT.get(-1)
        return lambda: self._network.dial(client, url.removeprefix("virtual://"))

    def to_listen(self, url: str, options: LinkOptions) -> ListenerFactory:
        async def listen() -> Sequence[LinkListener]:
            await trio.lowlevel.checkpoint()
            return [self._network.listen(url.removeprefix("virtual://"))]

        return listen
