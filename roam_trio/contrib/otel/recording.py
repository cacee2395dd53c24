"""The recording of one call, from its start to the end of its channels."""

from __future__ import annotations

from time import perf_counter
from typing import Any, Final, Protocol

import trio
from opentelemetry.context import Context, attach, detach
from opentelemetry.metrics import Histogram
from opentelemetry.trace import Span, StatusCode

from ...failures import is_failure
from ...logs import Log
from ...service.middleware import AnyCall
from .methods import Method
from .outcomes import OK, Outcome
from .places import Place

__all__ = ["Recording", "Side"]

logger = Log("roam_trio.otel")

_SOON: Final = 0.01
"""Number of seconds before the deadline of a call in which its caller may give up
because of it: clocks and the deadlines that peers are told are not exact."""


class Side(Protocol):
    """The recordings of one side of calls: the common parts."""

    @property
    def duration(self) -> Histogram:
        """Takes the durations of calls."""
        ...

    @property
    def lost(self) -> Outcome:
        """The outcome of a call whose channels are lost after its result."""
        ...

    def outcome_of(
        self, error: BaseException, call: AnyCall, method: Method, *, is_late: bool
    ) -> Outcome:
        """Return the outcome of a call that has raised."""
        ...

    def peer_of(self, call: AnyCall) -> Place:
        """Return the peer of a call, which may be known only at its end."""
        ...

    def server_of(self, peer: Place) -> Place | None:
        """Return the peer if it tells the attributes of the server, else None."""
        ...


class Recording:
    """Records one call; a context manager around it.

    The context of the span is that of the block. After the block it waits for the end
    of the channels of the call, if it has any. It does not keep them alive.

    Args:
        side: the side of this program in the call.
        call: the call.
        method: its method.
        span: its span; None if the trace is not sampled, and for a span that records
            nothing.
        context: the context with this span.
    """

    __slots__ = (
        "_began",
        "_call",
        "_context",
        "_deadline",
        "_left",
        "_method",
        "_outcome",
        "_peer",
        "_side",
        "_span",
        "_token",
    )

    def __init__(
        self,
        side: Side,
        call: AnyCall,
        method: Method,
        span: Span | None,
        context: Context,
    ) -> None:
        self._side = side
        self._call: AnyCall | None = call
        self._method = method
        self._span = span
        self._context = context
        self._outcome = OK
        self._left = 1
        """Number of channels that have not ended, and one for the call itself."""

    def __enter__(self) -> None:
        assert self._call is not None, "it is entered once"
        # Asked for now, because in a scope that is cancelled it has no end.
        self._deadline = self._call.deadline
        self._token = attach(self._context)
        self._began = perf_counter()

    def __exit__(self, kind: object, error: BaseException | None, at: object) -> None:
        detach(self._token)
        call, self._call = self._call, None
        assert call is not None, "it is entered once"
        side = self._side
        if error is not None:
            is_late = self._deadline - _SOON <= trio.current_time()
            self._outcome = side.outcome_of(error, call, self._method, is_late=is_late)
        self._peer = side.peer_of(call)
        # A call that has failed without a code was not sent; it may have no channels.
        if call.method.args_plan.has_channels and self._outcome.code is not None:
            for binding in _bindings_of(call):
                bound = binding.sink or binding.source
                if bound is not None:
                    self._left += 1
                    bound.when_ended(self._ended)
        self._ended(None)

    def _ended(self, because: BaseException | None) -> None:
        """The call has its result, or one of its channels has ended."""
        if because is not None and self._outcome is OK:
            self._outcome = self._side.lost
        self._left -= 1
        if self._left:
            return
        try:
            self._finish()
        except BaseException as error:
            if not is_failure(error):
                raise
            logger.failure(error, "a call was not recorded")

    def _finish(self) -> None:
        side, outcome, peer, span = self._side, self._outcome, self._peer, self._span
        seconds = perf_counter() - self._began
        server = side.server_of(peer)
        side.duration.record(
            seconds, self._method.measured(outcome, server), self._context
        )
        if span is None:
            return
        span.set_attributes(outcome.attributes)
        span.set_attributes(peer.as_peer)
        if server is not None:
            span.set_attributes(server.as_server)
        if outcome.error_type is not None:
            span.set_status(StatusCode.ERROR)
        span.end()


def _bindings_of(call: AnyCall) -> list[Any]:
    """Return the bindings of the channels of a call.

    There are none if a middleware has put arguments of other types in the place of
    those of the method, with which the call has failed.
    """
    plan = call.method.args_plan
    try:
        return [end.binding for end, _ in plan.collect_channels(call.args)]
    except Exception:
        return []
