"""A record for each call, at level DEBUG.

Whether calls are logged is decided for each connection when it opens, and for the
caller of a connection when it is first asked for. Other connections run none of this
code.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, ClassVar

from ..codec import ResultKind, kind_of
from ..logs import Log, about
from ..metadata import NO_METADATA, Metadata
from ..rpc.binding import Payload
from ..rpc.failure_metadata import failure_from
from ..rpc.method_names import method_name
from ..wire.ids import ChannelId, MethodId
from ..wire.messages import Encoded, RequestResponse, joined
from .caller import DriverCaller
from .connection_run import ConnectionRun
from .reply import AnswerState, DriverReplySink

__all__ = ["LoggedCaller", "LoggedConnectionRun", "calls_are_logged"]

logger = Log("roam_trio.calls", in_budget=False)

_NO_OUTCOME = "no response"


def calls_are_logged() -> bool:
    """Return True if a record for each call is logged now."""
    return logger.is_for_debugging


class LoggedReplySink(DriverReplySink):
    """Logs each call of the peer when it has its response, or can have none."""

    __slots__ = ("_outcome",)

    def _response(self, ret: Encoded, metadata: Metadata) -> RequestResponse:
        self._outcome = _outcome_of(ret, metadata)
        return super()._response(ret, metadata)

    def _close(self) -> None:
        was_lost = self.state is AnswerState.LOST  # as it was sent, and this is logged
        super()._close()
        if not was_lost:
            self._log(*self._outcome)

    def lose(self) -> None:
        super().lose()
        self._log(_NO_OUTCOME, None)

    def _log(self, outcome: str, error_id: str | None) -> None:
        port, name = self._port, method_name(self.call.method_id)
        with about(port.terms.peer):  # another task may have ended the session
            logger.debug(
                "answered %s after %g s: %s",
                name,
                round(port.now() - self._began, 6),
                outcome,
                method=name,
                connection=port.connection_id,
                error_id=error_id,
            )


class LoggedConnectionRun(ConnectionRun):
    """Runs a connection, and logs the calls of the peer."""

    __slots__ = ()

    sink_class: ClassVar[type[DriverReplySink]] = LoggedReplySink


class LoggedCaller(DriverCaller):
    """Makes the calls of one connection, and logs each."""

    def call(
        self,
        method_id: MethodId,
        args: Payload | Encoded,
        *,
        channels: tuple[ChannelId, ...] = (),
        metadata: Metadata = NO_METADATA,
    ) -> Coroutine[Any, Any, RequestResponse]:
        calling = super().call(method_id, args, channels=channels, metadata=metadata)
        return self._logged(calling, method_id)

    async def _logged(
        self, calling: Coroutine[Any, Any, RequestResponse], method_id: MethodId
    ) -> RequestResponse:
        port, name = self._run.port, method_name(method_id)
        began = port.now()
        outcome, error_id = _NO_OUTCOME, None
        try:
            response = await calling
            outcome, error_id = _outcome_of(response.ret, response.metadata)
            return response
        finally:
            with about(port.terms.peer):
                logger.debug(
                    "called %s, which took %g s: %s",
                    name,
                    round(port.now() - began, 6),
                    outcome,
                    method=name,
                    connection=port.connection_id,
                    error_id=error_id,
                )


def _outcome_of(ret: Encoded, metadata: Metadata) -> tuple[str, str | None]:
    """Return the outcome of a call for people, and the id of its failure, if any."""
    kind = kind_of(joined(ret) if isinstance(ret, list) else ret)
    if kind is not ResultKind.CANCELLED:
        return kind.value, None
    failure = failure_from(metadata, "")
    return failure.code, failure.id
