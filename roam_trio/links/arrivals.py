"""Room for the large payloads that are on their way to a server, for all of its links.

A large payload has room for its announced length, or waits: its link reads no further.
Shorter payloads go first, but a long one does not wait for ever. While payloads wait,
those that have room must go on, or they are given up.

`Arrivals` decides; only `enter` waits.
"""

from __future__ import annotations

from operator import attrgetter
from typing import Final, Protocol

import trio

__all__ = ["LARGE", "PATIENCE", "Arrivals", "Passage", "Traveller"]

LARGE: Final = 128 * 1024
"""Number of bytes of a payload that need no room."""

PATIENCE: Final = 5.0
"""Number of seconds in which a payload must go on by 1 MiB while others wait."""

_MIB: Final = 1024 * 1024


class Traveller(Protocol):
    """A link with a large payload on its way."""

    async def make_room(self) -> None:
        """Give the payload up, and wake the task that reads it. Never waits."""
        ...


class Passage:
    """The large payloads of one link, one at a time.

    Args:
        arrivals: those of all links of the server.

    Attributes:
        length: the length of the present one, in bytes.
        begun: number of bytes of it that had come at the last look.
        due: orders those that wait.
        has_all: True if it has room for all of its bytes.
    """

    __slots__ = (
        "_arrivals",
        "_checked_at",
        "_checked_begun",
        "begun",
        "due",
        "has_all",
        "length",
        "link",
    )

    def __init__(self, arrivals: Arrivals) -> None:
        self._arrivals = arrivals
        self._checked_at = 0.0
        self._checked_begun = 0
        self.length = 0
        self.begun = 0
        self.due = 0.0
        self.has_all = False
        self.link: Traveller | None = None  # while a payload is on its way

    def announce(self, length: int, begun: int, link: Traveller) -> None:
        """Note the length of the payload, which gets room if there is any.

        Args:
            length: the length in bytes; 0 if it is not known yet.
            begun: number of bytes that have come.
            link: the link.
        """
        self.begun, self.link = begun, link
        if 0 < length <= LARGE:
            self.has_all = True
        elif length and not self.length:
            self.length = length
            self.due = trio.current_time() + PATIENCE * length / _MIB
            self._arrivals.enter_nowait(self)

    def may_go_on(self, begun: int) -> bool:
        """Note how many bytes have come. Return False if the payload must wait now."""
        self.begun = begun
        return self.has_all or begun < LARGE

    async def wait(self) -> None:
        """Wait until there is room for the payload."""
        await self._arrivals.enter(self)

    def end(self) -> None:
        """Note that the payload is complete, or never will be."""
        if self.length:
            self._arrivals.leave(self)
        self.length, self.has_all, self.link = 0, False, None

    def check(self, now: float) -> None:
        """Note the time, and how much has come by then."""
        self._checked_at, self._checked_begun = now, self.begun

    def goes_on(self, now: float) -> bool:
        """Return False if it has had time enough to go on, and has not."""
        if now - self._checked_at < PATIENCE:
            return True
        goes_on = self.begun - self._checked_begun >= _MIB
        self.check(now)
        return goes_on


class Arrivals:
    """The large payloads on their way to one server.

    Args:
        most: number of bytes of them in all. One alone may be longer.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._held = 0
        self._holders: dict[Passage, None] = {}
        self._waiting: dict[Passage, trio.Event] = {}

    def enter_nowait(self, arrival: Passage) -> bool:
        """Give a payload room, unless it has to wait for it."""
        if self._waiting or not self._has_room(arrival):
            return False
        self._admit(arrival)
        return True

    async def enter(self, arrival: Passage) -> None:
        """Wait until there is room for a payload. If cancelled, call `leave`."""
        event = self._waiting[arrival] = trio.Event()
        while not event.is_set():
            with trio.move_on_after(PATIENCE):
                await event.wait()
            if not event.is_set():
                await self._give_up_slow_ones()

    def leave(self, arrival: Passage) -> None:
        """Note that a payload is complete, or never will be."""
        self._waiting.pop(arrival, None)
        if arrival in self._holders:
            del self._holders[arrival]
            self._held -= arrival.length
        while self._waiting:
            first = min(self._waiting, key=attrgetter("due"))
            if not self._has_room(first):
                break
            self._waiting.pop(first).set()
            self._admit(first)

    def _has_room(self, arrival: Passage) -> bool:
        return not self._holders or self._held + arrival.length <= self._most

    def _admit(self, arrival: Passage) -> None:
        self._holders[arrival] = None
        self._held += arrival.length
        arrival.has_all = True
        arrival.check(trio.current_time())

    async def _give_up_slow_ones(self) -> None:
        now = trio.current_time()
        for arrival in [each for each in self._holders if not each.goes_on(now)]:
            assert arrival.link is not None, "it is on its way"
            await arrival.link.make_room()

    def __repr__(self) -> str:
        return (
            f"<Arrivals: {self._held} bytes of {len(self._holders)} payloads, "
            f"{len(self._waiting)} wait>"
        )
