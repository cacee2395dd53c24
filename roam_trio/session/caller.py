"""The caller that programs hold: it makes calls, and keeps its connection alive."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from ..errors import ConnectionLost
from ..metadata import NO_METADATA, Metadata
from ..rpc.binding import ChannelBinder, Payload
from ..rpc.caller import Caller
from ..running import check_run
from ..wire.messages import Encoded, RequestResponse

if TYPE_CHECKING:
    from .driver import Driver

__all__ = ["DriverCaller"]


class DriverCaller(Caller):
    """Makes the calls of one connection.

    The connection counts its callers (`rpc.caller.liveness.refcounted`): `clone` adds
    one, and `close`, or dropping the last reference, takes one away.
    """

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._is_open = True
        driver.liveness.hold()

    def call(
        self,
        method_id: int,
        args: Payload | Encoded,
        *,
        channels: tuple[int, ...] = (),
        metadata: Metadata = NO_METADATA,
    ) -> Coroutine[Any, Any, RequestResponse]:
        if not self._is_open:
            raise ConnectionLost("this caller has been closed")
        return self._driver.requests.call(method_id, args, channels, metadata, self)

    def clone(self) -> DriverCaller:
        if not self._is_open:
            raise ConnectionLost("this caller has been closed")
        return DriverCaller(self._driver)

    def close(self) -> None:
        if self._is_open:
            if self._driver.ended_because is None:
                check_run(self._driver.token, "this caller")
            self._is_open = False
            self._driver.liveness.release()

    def __del__(self) -> None:
        if self._is_open and self._driver.ended_because is None:
            self._driver.drop_later(self._driver.liveness.release)

    async def closed(self) -> None:
        await self._driver.closed()

    @property
    def is_connected(self) -> bool:
        return self._driver.ended_because is None

    @property
    def channel_binder(self) -> ChannelBinder:
        return self._driver.binder

    def __repr__(self) -> str:
        state = "open" if self._is_open else "closed"
        return f"<DriverCaller of connection {self._driver.connection_id}, {state}>"
