"""Clones of an end of a channel: the channel ends with the last of them.

Each clone has its own binding, which follows that of the pair, and its own sink or
source around that of the session. Ends that are not cloned do not go through any of
this.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Literal

import trio

from ..errors import RxClosed, TxClosed
from .pairs import Binding
from .sinks import ChannelSink, ChannelSource, Ended, EndStatistics

__all__ = ["ClonedBinding", "Clones"]


class Clones:
    """The clones of one end.

    Args:
        pair: the binding of the pair.
        side: which end it is.
    """

    __slots__ = ("_open", "pair", "side")

    def __init__(self, pair: Binding, side: Literal["tx", "rx"]) -> None:
        self.pair = pair
        self.side = side
        # A list, as the garbage collector may take from it in any thread.
        self._open: list[None] = []

    def __len__(self) -> int:
        return len(self._open)

    def add(self) -> ClonedBinding:
        """Return the binding of one clone more."""
        self._open.append(None)
        return ClonedBinding(self)

    def remove(self) -> bool:
        """Count one clone less; return True if it was the last."""
        self._open.pop()
        return not self._open


class ClonedBinding(Binding):
    """The binding of one clone.

    Args:
        clones: all clones of its end.
    """

    __slots__ = ("clones",)

    def __init__(self, clones: Clones) -> None:
        super().__init__()
        self.clones = clones
        pair = clones.pair
        self.tx_gone, self.rx_gone = pair.tx_gone, pair.rx_gone
        if pair.is_bound:
            self._follow(pair)
        else:
            pair.on_change(self._follow)

    def _follow(self, pair: Binding) -> None:
        is_tx = self.clones.side == "tx"
        if self.tx_gone if is_tx else self.rx_gone:
            return  # this clone is closed
        if pair.sink is not None:
            self.bind(sink=_ClonedSink(pair.sink, self.clones))
        elif pair.source is not None:
            self.bind(source=_ClonedSource(pair.source, self.clones))
        elif is_tx and pair.rx_gone:
            super().lose_rx()
        elif not is_tx and pair.tx_gone:
            super().lose_tx()

    def lose_tx(self) -> None:
        """Note that the clone of a `Tx` is closed or gone before the pair is bound."""
        if not self.tx_gone:
            super().lose_tx()
            if self.clones.side == "tx" and self.clones.remove():
                self.clones.pair.lose_tx()

    def lose_rx(self) -> None:
        """Note that the clone of an `Rx` is reset or gone before the pair is bound."""
        if not self.rx_gone:
            super().lose_rx()
            if self.clones.side == "rx" and self.clones.remove():
                self.clones.pair.lose_rx()


class _Scopes:
    """The operations of one clone that wait; closing the clone ends them."""

    __slots__ = ("_scopes", "is_closed")

    def __init__(self) -> None:
        self._scopes: dict[trio.CancelScope, None] = {}
        self.is_closed = False

    async def run(
        self,
        closed: Callable[[], Exception],
        operation: Callable[..., Awaitable[Any]],
        *args: Any,
    ) -> Any:
        """Return the result of an operation.

        Raises:
            Exception: the result of `closed`: the clone is closed, or was meanwhile.
        """
        if self.is_closed:
            await trio.lowlevel.checkpoint_if_cancelled()
            raise closed()
        with trio.CancelScope() as scope:
            self._scopes[scope] = None
            try:
                return await operation(*args)
            finally:
                del self._scopes[scope]
        raise closed()

    def close(self) -> bool:
        """Close the clone; return False if it was closed before."""
        if self.is_closed:
            return False
        self.is_closed = True
        for scope in self._scopes:
            scope.cancel()
        return True


class _ClonedSink(ChannelSink):
    """The sink of one clone."""

    __slots__ = ("_clones", "_scopes", "_sink")

    def __init__(self, sink: ChannelSink, clones: Clones) -> None:
        self._sink = sink
        self._clones = clones
        self._scopes = _Scopes()

    async def send(self, value: Any) -> None:
        await self._scopes.run(_tx_closed, self._sink.send, value)

    async def send_many(self, values: Iterable[Any]) -> None:
        await self._scopes.run(_tx_closed, self._sink.send_many, values)

    def send_nowait(self, value: Any) -> None:
        if self.is_closed:
            raise _tx_closed()
        self._sink.send_nowait(value)

    async def closed(self) -> None:
        await self._sink.closed()

    @property
    def is_closed(self) -> bool:
        return self._scopes.is_closed

    def end_statistics(self) -> EndStatistics:
        return self._sink.end_statistics()

    def when_ended(self, function: Ended) -> None:
        self._sink.when_ended(function)

    def close(self) -> None:
        if self._scopes.close() and self._clones.remove():
            self._sink.close()

    def drop(self) -> None:
        if self._scopes.close() and self._clones.remove():
            self._sink.drop()

    def __repr__(self) -> str:
        return f"clone of {self._sink!r}"


class _ClonedSource(ChannelSource):
    """The source of one clone."""

    __slots__ = ("_clones", "_scopes", "_source")

    def __init__(self, source: ChannelSource, clones: Clones) -> None:
        self._source = source
        self._clones = clones
        self._scopes = _Scopes()

    async def receive(self, borrow: bool = False) -> Any:
        return await self._scopes.run(_rx_closed, self._source.receive, borrow)

    async def receive_many(self, most: int | None = None) -> list[Any]:
        items: list[Any] = await self._scopes.run(
            _rx_closed, self._source.receive_many, most
        )
        return items

    def receive_nowait(self) -> Any:
        if self.is_reset:
            raise _rx_closed()
        return self._source.receive_nowait()

    @property
    def is_reset(self) -> bool:
        return self._scopes.is_closed

    def end_statistics(self) -> EndStatistics:
        return self._source.end_statistics()

    def when_ended(self, function: Ended) -> None:
        self._source.when_ended(function)

    def grant(self, count: int) -> None:
        if not self.is_reset:
            self._source.grant(count)

    def reset(self) -> None:
        if self._scopes.close() and self._clones.remove():
            self._source.reset()

    def drop(self) -> None:
        if self._scopes.close() and self._clones.remove():
            self._source.drop()

    def __repr__(self) -> str:
        return f"clone of {self._source!r}"


def _tx_closed() -> TxClosed:
    return TxClosed("this clone of the end of the channel has been closed")


def _rx_closed() -> RxClosed:
    return RxClosed("this clone of the end of the channel has been reset")
