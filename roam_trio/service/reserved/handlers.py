"""The handlers of the reserved services."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Final

import trio

from ...errors import Overloaded, UserError
from ...rpc.channel import Tx
from ...rpc.connection import AnySession
from ...rpc.handler import Handler
from ...rpc.limits_here import limits_here
from ...rpc.offered import HEALTH, REFLECTION, Offered, PassedOn
from ..call import current_call
from ..descriptor import ServiceDescriptor
from ..dispatcher import Dispatcher, dispatcher
from .classes import Health, HealthProblem, HealthState, Reflection, ReflectionProblem
from .parts import parts_of

__all__ = ["LEAVING_SECONDS", "reserved_services"]


def reserved_services(offered: Offered) -> Mapping[str, Dispatcher]:
    """Return the handlers of ``reflection`` and ``health`` for what a side offers.

    For the argument `reserved` of `OfferedServices`. They tell about services by the
    names under which these are offered at the time of the call.

    Args:
        offered: the services.
    """
    streams = _Streams()
    return {
        REFLECTION: dispatcher(Reflection, _Reflecting(offered, streams)),
        HEALTH: dispatcher(Health, _Watched(offered, streams)),
    }


class _Streams:
    """Counts the descriptions and watches that are under way, for each session."""

    def __init__(self) -> None:
        self._of_sessions: dict[AnySession, int] = {}

    @contextmanager
    def one(self) -> Generator[AnySession]:
        """Count one for the length of a block, which gets the session of the call.

        Raises:
            Overloaded: there are too many.
        """
        counts, session = self._of_sessions, current_call().connection.session
        most, number = limits_here().reserved_streams, counts.get(session, 0)
        if number >= most:
            raise Overloaded(
                text=f"{most} descriptions and watches are under way in this session "
                "(limit: reserved_streams)"
            )
        counts[session] = number + 1
        try:
            yield session
        finally:
            counts[session] -= 1
            if not counts[session]:
                del counts[session]


class _Reflecting:
    """A `Reflection`."""

    def __init__(self, offered: Offered, streams: _Streams) -> None:
        self._offered = offered
        self._streams = streams

    async def services(self) -> list[str]:
        return sorted(self._offered.services)

    async def describe(self, name: str, parts: Tx[bytes]) -> int:
        with self._streams.one():
            handler = self._offered.services.get(name)
            if isinstance(handler, PassedOn):
                return await handler.describe(parts)
            made = await parts_of(self._descriptor_of(handler))
            for part in made:
                await parts.send(part)
        return len(made)

    def _descriptor_of(self, handler: Handler | None) -> ServiceDescriptor:
        if handler is None:
            raise UserError(ReflectionProblem.UNKNOWN)
        descriptor = getattr(handler, "descriptor", None)
        if not isinstance(descriptor, ServiceDescriptor):
            raise UserError(ReflectionProblem.UNDESCRIBED)
        return descriptor


LEAVING_SECONDS: Final = 1.0
"""Seconds for which a session stays open for a peer that is told of its shutdown, so
that it can leave first.
"""

_WHOLE: Final = ""
"""The name of this side as a whole."""


class _Watched:
    """A `Health`."""

    def __init__(self, offered: Offered, streams: _Streams) -> None:
        self._offered = offered
        self._streams = streams
        self._waiting = trio.lowlevel.ParkingLot()
        offered.on_change = self._wake

    async def state(self, name: str) -> HealthState:
        return self._state(name, current_call().connection.session)

    async def watch(self, name: str, states: Tx[HealthState]) -> None:
        with self._streams.one() as session:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_after, states.closed, nursery.cancel_scope.cancel)
                nursery.start_soon(_after, session.draining.wait, self._wake)
                await self._tell(name, states, session)
                # A call that is on its way would be lost, and its caller would not know
                # whether it was done. This call holds the session, which refuses more.
                await trio.sleep(LEAVING_SECONDS)
                nursery.cancel_scope.cancel()

    async def _tell(
        self, name: str, states: Tx[HealthState], session: AnySession
    ) -> None:
        last = None
        while last is not HealthState.DRAINING:
            state = self._state(name, session)
            if state is last:
                await self._waiting.park()
            else:
                await states.send(state)
                last = state

    def _state(self, name: str, session: AnySession) -> HealthState:
        if name != _WHOLE and name not in self._offered.services:
            raise UserError(HealthProblem.UNKNOWN)
        if session.draining.is_set():
            return HealthState.DRAINING
        return HealthState.SERVING

    def _wake(self) -> None:
        self._waiting.unpark_all()


async def _after(
    wait: Callable[[], Awaitable[object]], function: Callable[[], object]
) -> None:
    await wait()
    function()
