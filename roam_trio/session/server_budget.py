"""The budget of all sessions of a server together, and which of them gives way.

Sessions are compared by their holders first. A holder is all sessions of one identity,
or of one address if they have no identity. So a client that divides what it holds among
many sessions gives way before one that holds less in a single session.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import partial
from operator import attrgetter
from typing import Final, Protocol

from ..errors import LimitExceeded
from ..peer_identity import holder_of
from ..peers import Peer
from .bounds import Bound, Bounds, Demand, Excess
from .ranking import Ranking

__all__ = ["Part", "ServerBudget"]


class Part(Protocol):
    """The budget of one session, as its server sees it.

    Attributes:
        bytes: number of bytes that it holds.
        tasks: number of tasks that it holds.
        peer: the peer of the session; None if it is a holder by itself.
        to_end: ends the session, and is None from then on; never waits. None if the
            session ends already, and gives back what it holds soon.
    """

    bytes: int
    tasks: int
    peer: Peer | None
    to_end: Callable[[LimitExceeded], None] | None


_AMOUNTS: Final = {"bytes": attrgetter("bytes"), "tasks": attrgetter("tasks")}


class _Holder:
    """The bytes and tasks that all sessions of one peer hold.

    Attributes:
        key: identifies it.
        bytes: number of bytes, without those of sessions that end.
        tasks: number of tasks, likewise.
        ending: number of bytes of its sessions that end.
        sessions: its sessions that go on, in a ranking by bytes and one by tasks.
        number: number of all of its sessions.
    """

    __slots__ = ("bytes", "ending", "key", "number", "sessions", "tasks")

    def __init__(self, key: Hashable) -> None:
        self.key = key
        self.bytes = 0
        self.tasks = 0
        self.ending = 0
        self.number = 0
        self.sessions = {unit: Ranking[Part](_AMOUNTS[unit]) for unit in _AMOUNTS}

    @property
    def all_bytes(self) -> int:
        """Number of bytes of all of its sessions."""
        return self.bytes + self.ending

    def add(self, part: Part, size: int, tasks: int) -> None:
        """Count bytes and tasks of a session; negative ones if it has given them
        back."""
        if part.to_end is not None:
            self.bytes += size
            self.tasks += tasks
            for ranking in self.sessions.values():
                ranking.note(part)
        else:
            self.ending += size


class _Crowd:
    """The holders of a server that is short of room."""

    __slots__ = ("_by_key", "_holders", "_of_part")

    def __init__(self) -> None:
        self._of_part: dict[Part, _Holder] = {}
        self._by_key: dict[Hashable, _Holder] = {}
        self._holders = {unit: Ranking[_Holder](_AMOUNTS[unit]) for unit in _AMOUNTS}

    def holder(self, part: Part) -> _Holder:
        """Return the holder to which a session belongs, or would."""
        known = self._of_part.get(part)
        if known is not None:
            return known
        peer = part.peer
        key = ("session", id(part)) if peer is None else holder_of(peer)
        return self._by_key.get(key) or _Holder(key)

    def add(self, part: Part, size: int, tasks: int) -> None:
        """Count bytes and tasks of a session; negative ones if it has given them
        back."""
        holder = self.holder(part)
        if part not in self._of_part:
            self._of_part[part] = holder
            self._by_key[holder.key] = holder
            holder.number += 1
        holder.add(part, size, tasks)
        for ranking in self._holders.values():
            ranking.note(holder)

    def remove(self, part: Part) -> None:
        """Remove a session with what it holds, if it is here."""
        holder = self._of_part.pop(part, None)
        if holder is None:
            return
        holder.add(part, -part.bytes, -part.tasks)
        for of_holder in holder.sessions.values():
            of_holder.remove(part)
        holder.number -= 1
        if not holder.number:
            del self._by_key[holder.key]
            for of_crowd in self._holders.values():
                of_crowd.remove(holder)

    def first_to_give_way(self, part: Part, unit: str, size: int) -> Part:
        """Return the session that gives way so that `part` can hold `size` more: the
        largest session of the largest holder, perhaps `part` itself."""
        amount, mine = _AMOUNTS[unit], self.holder(part)
        largest = self._holders[unit].largest()
        if largest is None or amount(mine) + size >= amount(largest):
            largest = mine
        session = largest.sessions[unit].largest()
        if session is None:
            return part
        if largest is mine and amount(part) + size >= amount(session):
            return part
        return session


class ServerBudget:
    """Counts the bytes and the tasks of all sessions of a server against bounds.

    Holders are compared only while the server is short of room, so that sessions do not
    pay for it otherwise.

    Args:
        bounds: the bounds.
    """

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._parts: dict[Part, None] = {}  # the sessions that hold something
        self._crowd: _Crowd | None = None
        self.bytes = 0
        """Number of bytes that are held."""
        self.tasks = 0
        """Number of tasks that are held."""
        self._ending = {"bytes": 0, "tasks": 0}  # of sessions that end

    # ------------------------------------------------------------ what is held

    def add(self, part: Part, size: int, tasks: int) -> None:
        """Count bytes and tasks that a session holds by now."""
        self.bytes += size
        self.tasks += tasks
        self._parts[part] = None
        if part.to_end is None:
            self._count_ending(size, tasks)
        if self._crowd is not None:
            self._crowd.add(part, size, tasks)

    def give(self, part: Part, size: int, tasks: int) -> None:
        """Stop counting bytes and tasks that a session has given back."""
        self.bytes -= size
        self.tasks -= tasks
        is_done = not (part.bytes or part.tasks)
        if is_done:
            self._parts.pop(part, None)
        if part.to_end is None:
            self._count_ending(-size, -tasks)
        crowd, bounds = self._crowd, self._bounds
        if crowd is None:
            return
        crowd.add(part, -size, -tasks)
        if is_done:
            crowd.remove(part)
        if (
            self.bytes < bounds.bytes.calm_below
            and self.tasks < bounds.tasks.calm_below
        ):
            self._crowd = None

    def leave(self, part: Part) -> None:
        """Prepare for a change of `Part.to_end`; `enter` must follow at once."""
        if self._crowd is not None:
            self._crowd.remove(part)
        if part.to_end is None:
            self._count_ending(-part.bytes, -part.tasks)

    def enter(self, part: Part) -> None:
        """Count a session that holds something by its `Part.to_end` of now."""
        if part.to_end is None:
            self._count_ending(part.bytes, part.tasks)
        if self._crowd is not None:
            self._crowd.add(part, part.bytes, part.tasks)

    def _count_ending(self, size: int, tasks: int) -> None:
        self._ending["bytes"] += size
        self._ending["tasks"] += tasks

    # ------------------------------------------------------------ who gives way

    def foresee(self, part: Part, size: int) -> Excess | None:
        """Return the reason why a session may not use bytes for a moment."""
        bound = self._bounds.bytes
        if self.bytes + size <= bound.most:
            return None
        return bound.excess_of_largest(part.bytes + size)

    def excess_of(
        self, part: Part, size: int, tasks: int, demand: Demand
    ) -> Excess | None:
        """Return the reason why a session may not hold more; None if it may.

        Other sessions end where there is no room otherwise.
        """
        bounds = self._bounds
        excess = None
        if self.bytes + size > bounds.bytes.refuse_from:
            excess = self._make_room(part, bounds.bytes, size, demand)
        if excess is None and self.tasks + tasks > bounds.tasks.refuse_from and tasks:
            excess = self._make_room(part, bounds.tasks, tasks, demand)
        return excess

    def _make_room(
        self, part: Part, bound: Bound, size: int, demand: Demand
    ) -> Excess | None:
        """End the sessions that give way before `part` where there is no room left.

        Returns:
            The reason why `part` may not hold more, if that is `part` itself; else
            None.
        """
        crowd = self._crowd = self._crowd or self._gathered()
        amount = _AMOUNTS[bound.unit]
        excess = partial(bound.excess_of_largest, amount(part) + size)
        for_now = amount(self) + size
        # What sessions hold that are ending already is as good as given back.
        later = for_now - self._ending[bound.unit]
        first = crowd.first_to_give_way(part, bound.unit, size)
        if for_now > bound.most_for_now:
            if demand is not Demand.REST:
                return excess()
            if crowd.holder(part).all_bytes + size <= bound.trifle:
                return None
            if first is part or for_now > bound.most_ever:
                return excess()
            later = max(later, bound.most + 1)  # one more has to end
        most = bound.most
        if demand is Demand.RESPONSE or (demand is Demand.WORK and first is part):
            most = bound.refuse_from
        while later > most:
            if first is part:
                return excess()
            assert first.to_end is not None, "it goes on"
            later -= amount(first)
            first.to_end(bound.excess_of_largest(amount(first)).as_end())
            first = crowd.first_to_give_way(part, bound.unit, size)
        if demand is Demand.RESPONSE and crowd.holder(part).all_bytes + size > (
            bound.most // 2
        ):
            return excess()  # its own sessions have to give back what they hold first
        return None

    def _gathered(self) -> _Crowd:
        crowd = _Crowd()
        for part in self._parts:
            crowd.add(part, part.bytes, part.tasks)
        return crowd

    def __repr__(self) -> str:
        return f"<ServerBudget: {self.bytes} bytes, {self.tasks} tasks>"
