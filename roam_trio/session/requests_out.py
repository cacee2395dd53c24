"""The requests of this side on one connection: one table of ids and slots.

The peer accepts a limited number of requests at a time. Each takes a slot, and gives it
back when its response has come. Nothing here waits or needs a run of trio: tasks wait
for slots and responses in `requests`.
"""

from __future__ import annotations

import enum
from collections.abc import Sized
from typing import Any

import msgspec

from ..errors import CallRefused, RemoteProtocolError
from ..wire.ids import ChannelId, ConnectionId, IdAllocator, MethodId, Parity, RequestId
from ..wire.messages import RequestResponse
from .statistics import CallStatistics

__all__ = ["CallState", "RequestOut", "RequestsOut", "Slot"]


class CallState(enum.Enum):
    """States of a request of this side's."""

    WAITING = "its caller waits for the response"
    CANCELLED = "its caller was cancelled, and has not gone on yet"
    STOPPING = "its caller was cancelled, and waits until the peer has stopped"
    ABANDONED = "its caller has gone on; its id is in use until the response"
    OVER = "it has its response, or its connection has ended"


class Slot(enum.Enum):
    """Results of a request for a slot."""

    TAKEN = "a slot"
    QUEUED = "the next one that is given back, in the order of coming"


# In Python 3.11, looking a member up is a call; these are used for every request.
_WAITING, _OVER = CallState.WAITING, CallState.OVER
_STOPPING, _ABANDONED = CallState.STOPPING, CallState.ABANDONED


class RequestOut(msgspec.Struct, eq=False):
    """A request of this side's without a response yet.

    Attributes:
        waiter: the task that waits; not touched by the table.
        answer: what it is woken with.
    """

    request_id: RequestId
    method_id: MethodId
    channels: tuple[ChannelId, ...]
    began: float
    waiter: Any
    answer: RequestResponse | Exception | None = None
    state: CallState = CallState.WAITING

    def cancel(self) -> None:
        """Note that its caller was cancelled."""
        assert self.state is CallState.WAITING, "only who waits can be cancelled"
        self.state = CallState.CANCELLED

    def wait_again(self) -> None:
        """Note that its caller waits until the peer has stopped."""
        assert self.state is CallState.CANCELLED, "only then it waits again"
        self.state = CallState.STOPPING

    def abandon(self) -> None:
        """Note that its caller no longer waits."""
        if self.state is not CallState.OVER:
            self.state = CallState.ABANDONED

    def finish(self, answer: RequestResponse | Exception) -> bool:
        """Note what comes of it; return True if the waiter is to be woken with it."""
        state, self.state = self.state, _OVER
        if state is not _ABANDONED and state is not _OVER:
            self.answer = answer
        return state is _WAITING or state is _STOPPING

    def statistics(self, now: float) -> CallStatistics:
        """Return which call it is, and how long it has been waiting."""
        return CallStatistics(self.request_id, self.method_id, now - self.began)


class RequestsOut:
    """The requests of this side's that have a slot, or wait for one.

    Args:
        connection_id: the connection, for errors.
        ours: the parity of this side.
        most: how many the peer accepts: `max_concurrent_requests`.
    """

    __slots__ = (
        "_connection_id",
        "_most",
        "free",
        "ids",
        "in_flight",
        "refusing",
    )

    def __init__(self, connection_id: ConnectionId, ours: Parity, most: int) -> None:
        self._connection_id = connection_id
        self.ids: IdAllocator[RequestId] = IdAllocator(ours)
        """Allocates the ids of requests."""
        self._most = most
        self.free = most
        """Number of free slots."""
        self.in_flight: dict[RequestId, RequestOut] = {}
        """The sent requests, by id. The sender of one adds it."""
        self.refusing: str | None = None
        """The reason why no new requests are made, if they are not."""

    def take(self) -> Slot:
        """Take a slot, or queue for one: then one is handed over by `give`.

        Raises:
            CallRefused: the peer accepts no requests at all, so no slot would become
            free.
        """
        if self.free > 0:
            self.free -= 1
            return Slot.TAKEN
        if not self._most:
            raise CallRefused(
                f"the peer accepts no calls on connection {self._connection_id}: it "
                "has told max_concurrent_requests=0; it has to tell 1 or more to be "
                "called"
            )
        return Slot.QUEUED

    def give(self, queue: Sized | None) -> bool:
        """Give a slot back; return True if it is handed to the first who has queued.

        Args:
            queue: who has queued, and was not cancelled meanwhile.
        """
        if queue:  # and so none is free, or it would not have queued
            return True
        self.free += 1
        return False

    def match(self, response: RequestResponse) -> RequestOut:
        """Return the request of a response, which is no longer in flight. Its slot is
        still to be given back.

        Raises:
            RemoteProtocolError: there is none.
        """
        request = self.in_flight.pop(response.request_id, None)
        if request is None:
            raise RemoteProtocolError(
                f"a response came for request {response.request_id}, "
                "which is not in flight"
            )
        return request

    def clear(self) -> list[RequestOut]:
        """Remove all requests in flight, and return them."""
        requests = list(self.in_flight.values())
        self.in_flight.clear()
        return requests

    @property
    def is_idle(self) -> bool:
        """True if no request is in flight or about to be. Those that wait for a slot or
        for room were made before any that is refused."""
        return self.free == self._most

    def statistics(self, now: float) -> tuple[CallStatistics, ...]:
        """Return the requests without a response."""
        return tuple(request.statistics(now) for request in self.in_flight.values())

    def __repr__(self) -> str:
        return f"<RequestsOut: {len(self.in_flight)} in flight, {self.free} free>"
