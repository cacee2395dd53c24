"""The caller that programs hold: it makes calls, and keeps its connection alive."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from typing import TYPE_CHECKING, Any

from ..errors import ConnectionLost
from ..metadata import NO_METADATA, Metadata
from ..peers import Peer
from ..rpc.binding import ChannelBinder, Payload
from ..rpc.caller import Caller
from ..running import check_run
from ..wire.ids import ChannelId, MethodId
from ..wire.messages import Encoded, RequestResponse

if TYPE_CHECKING:
    from .connection_run import ConnectionRun

__all__ = ["DriverCaller"]


class DriverCaller(Caller):
    """Makes the calls of one connection.

    The connection counts its callers (`rpc.caller.liveness.refcounted`): `clone` adds
    one, and `close`, or dropping the last reference, takes one away.

    Args:
        run: runs the connection.
        keeps_alive: whether this one counts; its clones always do.
    """

    def __init__(self, run: ConnectionRun, *, keeps_alive: bool = True) -> None:
        self._run = run
        self._is_open = True
        self._keeps_alive = keeps_alive
        if keeps_alive:
            run.hold()

    def call(
        self,
        method_id: MethodId,
        args: Payload | Encoded,
        *,
        channels: tuple[ChannelId, ...] = (),
        metadata: Metadata = NO_METADATA,
    ) -> Coroutine[Any, Any, RequestResponse]:
        if not self._is_open:
            lost = ConnectionLost("this caller has been closed")
            lost.was_begun = False
            try:
                raise lost
            finally:
                del lost  # or the error and this frame would hold each other
        return self._run.requests.call(method_id, args, channels, metadata, self)

    def clone(self) -> DriverCaller:
        if not self._is_open:
            raise ConnectionLost("this caller has been closed")
        return type(self)(self._run)

    def close(self) -> None:
        if self._is_open:
            if self._run.port.ended_because is None:
                check_run(self._run.port.token, "this caller")
            self._is_open = False
            if self._keeps_alive:
                self._run.release()

    def __del__(self) -> None:
        counts = self._is_open and self._keeps_alive
        if counts and self._run.port.ended_because is None:
            self._run.port.drop_later(self._run.release)

    async def closed(self) -> None:
        await self._run.closed()

    @property
    def is_connected(self) -> bool:
        return self._run.port.ended_because is None

    @property
    def peer(self) -> Peer:
        return self._run.port.terms.peer

    @property
    def channel_binder(self) -> ChannelBinder:
        return self._run.binder

    @property
    def kept_failures(self) -> Mapping[str, BaseException] | None:
        return self._run.port.terms.kept_failures

    def __repr__(self) -> str:
        state = "open" if self._is_open else "closed"
        return f"<DriverCaller of connection {self._run.port.connection_id}, {state}>"
