"""Channels that pass each item through a function.

A middleware asks for this for single calls. Items of other channels do not pass through
this code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Literal, TypeAlias

import trio

from ..codec import SelfRef
from .channel import Rx, Tx
from .sinks import ChannelSink, ChannelSource, Ended, EndStatistics

__all__ = ["EachItem", "map_items"]

EachItem: TypeAlias = Callable[[Literal["out", "in"], Any], Any]
"""Called with each item that this side sends ("out") or receives ("in"); returns the
item to go on with."""


def map_items(end: Tx[Any] | Rx[Any], function: EachItem) -> None:
    """Pass each item of a channel through `function`, from now on.

    Args:
        end: an end of the channel, bound or not. The function is called with the items
            that this side sends or receives, with either end.
        function: must not wait. Its exception is raised to the sender or receiver of
            the item, and the channel stays open.
    """
    end.binding.map_ends(
        lambda sink: _MappedSink(sink, function),
        lambda source: _MappedSource(source, function),
    )


class _MappedSink(ChannelSink):
    """Passes each item through a function, and sends the result."""

    def __init__(self, sink: ChannelSink, function: EachItem) -> None:
        self._sink = sink
        self._function = function

    async def send(self, value: Any) -> None:
        await self._sink.send(self._function("out", value))

    async def send_many(self, values: Iterable[Any]) -> None:
        await self._sink.send_many(self._function("out", value) for value in values)

    def send_nowait(self, value: Any) -> None:
        self._sink.send_nowait(self._function("out", value))

    async def closed(self) -> None:
        await self._sink.closed()

    @property
    def is_closed(self) -> bool:
        return self._sink.is_closed

    def end_statistics(self) -> EndStatistics:
        return self._sink.end_statistics()

    def when_ended(self, function: Ended) -> None:
        self._sink.when_ended(function)

    def close(self) -> None:
        self._sink.close()

    def drop(self) -> None:
        self._sink.drop()

    def __repr__(self) -> str:
        return repr(self._sink)


class _MappedSource(ChannelSource):
    """Receives items, and passes each through a function."""

    def __init__(self, source: ChannelSource, function: EachItem) -> None:
        self._source = source
        self._function = function
        self._failure: BaseException | None = None  # of an item after some others

    async def receive(self, borrow: bool = False) -> Any:
        self._raise_failure()
        item = await self._source.receive(borrow)
        if borrow:
            borrowed: SelfRef[Any] = item
            return borrowed.map(partial(self._function, "in"))
        return self._function("in", item)

    async def receive_many(self, most: int | None = None) -> list[Any]:
        items = [await self.receive()]
        try:
            while most is None or len(items) < most:
                items.append(self.receive_nowait())
        except (trio.WouldBlock, trio.EndOfChannel):
            pass  # of a channel that has ended, every later call raises the same
        except BaseException as error:
            self._failure = error  # the next call raises it
        return items

    def receive_nowait(self) -> Any:
        self._raise_failure()
        return self._function("in", self._source.receive_nowait())

    def _raise_failure(self) -> None:
        failure, self._failure = self._failure, None
        if failure is not None:
            try:
                raise failure
            finally:
                # Or else the error would hold this frame, and this frame the error.
                del failure

    @property
    def is_reset(self) -> bool:
        return self._source.is_reset

    def end_statistics(self) -> EndStatistics:
        return self._source.end_statistics()

    def when_ended(self, function: Ended) -> None:
        self._source.when_ended(function)

    def grant(self, count: int) -> None:
        self._source.grant(count)

    def reset(self) -> None:
        self._source.reset()

    def drop(self) -> None:
        self._source.drop()

    def __repr__(self) -> str:
        return repr(self._source)
