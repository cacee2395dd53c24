"""The peer's requests on one connection: one table, which decides what may come in.

This module does not wait and needs no run of trio. The table knows the task of a
handler only as an `Answer`.
"""

from __future__ import annotations

import enum
from typing import Protocol

from ..errors import LimitExceeded, RemoteProtocolError
from ..limits import Limits
from ..wire.ids import Parity, RequestId
from ..wire.messages import RequestCall
from .held_messages import payload_behind
from .statistics import CallStatistics

__all__ = ["Answer", "RequestsIn", "Verdict"]


class Verdict(enum.Enum):
    """Actions on a received request."""

    START = "call the handler"
    REFUSE = "answer Cancelled"


# In Python 3.11, looking a member up is a call; these are used for every request.
_START, _REFUSE = Verdict.START, Verdict.REFUSE


class Answer(Protocol):
    """The pending response to one request."""

    def cancel(self) -> bool:
        """Stop the handler, as the caller has cancelled the call.

        Returns:
            True if the handler has had time to be of use, and this is the first time.
        """
        ...

    def lose(self) -> None:
        """Stop the handler, as the connection has ended."""
        ...

    def shut_down(self) -> None:
        """Answer now, as the session ends."""
        ...

    def statistics(self, now: float) -> CallStatistics:
        """Return which call it answers, and for how long it has been doing so."""
        ...


class RequestsIn:
    """The peer's requests without a response yet.

    Args:
        most: how many this side accepts: `max_concurrent_requests`.
        limits: how many bytes they may have.
        theirs: the parity of the peer.
        strict: refuse ids of the other parity.
    """

    __slots__ = (
        "_limits",
        "_most",
        "_strict",
        "_theirs",
        "bytes",
        "in_flight",
        "refusing",
    )

    def __init__(
        self, most: int, limits: Limits, theirs: Parity, *, strict: bool = False
    ) -> None:
        self._most = most
        self._limits = limits
        self._theirs = theirs
        self._strict = strict
        self.in_flight: dict[RequestId, Answer] = {}
        """The requests that are being answered. The caller of `admit` adds them."""
        self.bytes = 0
        """The length of all long requests in flight, and of the responses to them that
        a proxy holds."""
        self.refusing: str | None = None
        """The reason why new requests are answered with Cancelled, if they are."""

    def admit(self, call: RequestCall) -> Verdict:
        """Decide about a request that has come, and count it.

        Raises:
            RemoteProtocolError: its id is in use, or of the wrong parity.
            LimitExceeded: too many are in flight, or too large ones.
        """
        request_id, in_flight = call.request_id, self.in_flight
        if request_id in in_flight:
            raise RemoteProtocolError(
                f"request {request_id} is in flight, and its id was used again"
            )
        if self._strict and not self._theirs.owns(request_id):
            raise RemoteProtocolError(
                f"request {request_id} has not the parity of its sender, "
                f"{self._theirs.name.lower()}"
            )
        if len(in_flight) >= self._most:
            raise LimitExceeded(
                "max_concurrent_requests",
                f"request {request_id} came while {len(in_flight)} requests were "
                "in flight",
            )
        if type(call.args) is memoryview:  # a long one
            self.hold(payload_behind(call.args))
        return _START if self.refusing is None else _REFUSE

    def answered(self, call: RequestCall) -> None:
        """Remove a request that has its response."""
        self.in_flight.pop(call.request_id, None)
        if type(call.args) is memoryview:
            self.let_go(payload_behind(call.args))

    def cancel(self, request_id: RequestId) -> bool:
        """Stop the handler of a request that its caller has cancelled (`rpc.cancel`).

        Returns:
            False if that brings no work: the request is unknown or has its response
            already, or its handler has had no time to be of use.
        """
        answer = self.in_flight.get(request_id)
        return answer is not None and answer.cancel()

    def hold(self, size: int) -> None:
        """Count bytes that are held for a request of the peer's.

        Raises:
            LimitExceeded: they are too many.
        """
        self.bytes += size
        if self.bytes > self._limits.request_bytes:
            raise LimitExceeded(
                "request_bytes", f"requests of {self.bytes} bytes are in flight"
            )

    def let_go(self, size: int) -> None:
        """They are held no longer."""
        self.bytes -= size

    def shut_down(self) -> None:
        """Answer all requests in flight, as the session ends."""
        for answer in list(self.in_flight.values()):
            answer.shut_down()

    def lose(self) -> None:
        """Stop all handlers, as the connection has ended: no response can be sent."""
        for answer in self.in_flight.values():
            answer.lose()
        self.in_flight.clear()

    def statistics(self, now: float) -> tuple[CallStatistics, ...]:
        """Return what is being answered."""
        return tuple(answer.statistics(now) for answer in self.in_flight.values())

    def __len__(self) -> int:
        return len(self.in_flight)

    def __repr__(self) -> str:
        return f"<RequestsIn: {len(self)} in flight>"
