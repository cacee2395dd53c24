"""The interfaces between the ends of a channel and sessions.

Behind a bound `Tx` is a `ChannelSink`, and behind a bound `Rx` a `ChannelSource`. The
session layer implements both.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import attrs
import trio

__all__ = ["ChannelSink", "ChannelSource", "EndStatistics", "Ended"]

Ended: TypeAlias = Callable[[BaseException | None], None]
"""Is told that a channel has ended: the error if it was lost, else None."""

_ENDS = (trio.EndOfChannel, trio.ClosedResourceError, trio.BrokenResourceError)
"""Errors of a channel that has ended: every later call raises them as well."""


@attrs.frozen
class EndStatistics:
    """Statistics of one end of a channel, as of the moment of the call.

    Attributes:
        credit: number of items that may still be sent; None if no call has bound the
            pair yet.
        queued: number of items that have come and were not received.
        tasks_waiting: number of tasks that wait here: to send, to receive, or for a
            call to bind the pair.
        clones: number of open clones of this end, the first included.
    """

    credit: int | None = None
    queued: int = 0
    tasks_waiting: int = 0
    clones: int = 1


class ChannelSink(ABC):
    """The sending side of a session, for a bound `Tx`."""

    __slots__ = ()

    @abstractmethod
    async def send(self, value: Any) -> None:
        """See `Tx.send`."""

    async def send_many(self, values: Iterable[Any]) -> None:
        """See `Tx.send_many`. The default sends one by one."""
        for value in values:
            await self.send(value)

    def send_nowait(self, value: Any) -> None:
        """See `Tx.send_nowait`. The default can only send by waiting, and raises
        `trio.WouldBlock`.
        """
        raise trio.WouldBlock

    async def closed(self) -> None:
        """See `Tx.closed`. The default waits until it is cancelled."""
        await trio.sleep_forever()

    @property
    def is_closed(self) -> bool:
        """True if this side has closed it. The default is False."""
        return False

    def end_statistics(self) -> EndStatistics:
        """See `Tx.statistics`. The default knows nothing."""
        return EndStatistics()

    def when_ended(self, function: Ended) -> None:
        """Call `function` when the channel ends, or now if it has ended.

        It must neither wait nor raise. The default knows of no end, and calls it now.
        """
        function(None)

    @abstractmethod
    def close(self) -> None:
        """See `Tx.close`."""

    @abstractmethod
    def drop(self) -> None:
        """Record that the `Tx` was dropped. Safe at any moment and from any thread."""


class ChannelSource(ABC):
    """The receiving side of a session, for a bound `Rx`."""

    __slots__ = ()

    @abstractmethod
    async def receive(self, borrow: bool = False) -> Any:
        """See `Rx.recv`; and `Rx.recv_borrowed` if `borrow` is True."""

    @abstractmethod
    def receive_nowait(self) -> Any:
        """See `Rx.recv_nowait`."""

    async def receive_many(self, most: int | None = None) -> list[Any]:
        """See `Rx.recv_many`. The default waits for an item, and takes the others that
        have come.

        The error of an item in the middle is raised at once, and the items before it
        are lost: override it if items can fail.
        """
        items = [await self.receive()]
        with contextlib.suppress(trio.WouldBlock, *_ENDS):
            while most is None or len(items) < most:
                items.append(self.receive_nowait())
        return items

    @property
    def is_reset(self) -> bool:
        """True if this side has reset it. The default is False."""
        return False

    def end_statistics(self) -> EndStatistics:
        """See `Rx.statistics`. The default knows nothing."""
        return EndStatistics()

    def when_ended(self, function: Ended) -> None:
        """Call `function` when the channel ends, or now if it has ended.

        The items that have come can still be received then. It must neither wait nor
        raise. The default knows of no end, and calls it now.
        """
        function(None)

    @abstractmethod
    def grant(self, count: int) -> None:
        """See `Rx.grant`."""

    @abstractmethod
    def reset(self) -> None:
        """See `Rx.reset`."""

    @abstractmethod
    def drop(self) -> None:
        """Record that the `Rx` was dropped. Safe at any moment and from any thread."""
