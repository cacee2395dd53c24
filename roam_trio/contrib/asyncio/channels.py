"""Ends of channels for tasks of asyncio.

They do what they can at once, and go to trio for what has to wait.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary

import trio

from ...codec import SelfRef
from ...rpc import channel as native
from ...rpc.pairs import Binding
from .guest import acquire, guest_of_loop

__all__ = ["Rx", "Tx", "channel", "give_to_asyncio"]

T = TypeVar("T")


_returned: WeakKeyDictionary[Rx[Any], deque[Any]] = WeakKeyDictionary()
"""Items that an end has received for a task that was cancelled at the same moment."""

_locks: WeakKeyDictionary[Rx[Any], asyncio.Lock] = WeakKeyDictionary()
"""Of the ends in which tasks have waited. One task at a time waits in trio: the next,
which waits for the lock, gets an item that the one before has given back."""


async def _wait(
    function: Callable[[], Awaitable[T]], keep: Callable[[T], object] | None = None
) -> T:
    guest = await acquire()
    try:
        return await guest.run(function, keep=keep)
    finally:
        await guest.release()


def _wake() -> None:
    guest = guest_of_loop()
    if guest is not None:
        guest.turns.wake()


class Tx(native.Tx[T], Generic[T]):
    """The end of a channel that sends, for tasks of asyncio.

    It is a `roam_trio.Tx` whose operations that wait are awaited in asyncio. An
    operation that is cancelled at the very moment when it is done has been done.
    """

    __slots__ = ()

    async def send(self, value: T) -> None:
        """Send one item, waiting for credit and for room; see `roam_trio.Tx.send`.

        It yields to other tasks only when it waits, which credit enforces at least once
        per window.
        """
        if self.binding.sink is not None:
            _wake()
            try:
                self.send_nowait(value)
                return
            except trio.WouldBlock:
                pass
        await _wait(partial(super().send, value))

    async def send_many(self, values: Iterable[T]) -> None:
        """Send all of `values` in order; see `roam_trio.Tx.send_many`.

        A task of trio iterates over them.
        """
        await _wait(partial(super().send_many, values))

    async def closed(self) -> None:
        """Wait until nothing can be sent any more; see `roam_trio.Tx.closed`."""
        await _wait(super().closed)

    async def aclose(self) -> None:
        """Call `close`; it does not wait."""
        _wake()
        self.close()


class Rx(native.Rx[T], Generic[T]):
    """The end of a channel that receives, for tasks of asyncio.

    It is a `roam_trio.Rx` whose operations that wait are awaited in asyncio. One that
    is cancelled has taken no item.
    """

    __slots__ = ()

    async def recv(self) -> T:
        """Wait for the next item and return it; see `roam_trio.Rx.recv`.

        It yields to other tasks only when it waits, which happens at least once per
        window.
        """
        if self.binding.source is not None:
            _wake()
            try:
                return self.recv_nowait()
            except trio.WouldBlock:
                pass
        async with self._lock():
            if self in _returned:
                return self._returned_items(1)[0]
            return await _wait(super().recv, self._take_back)

    receive = recv

    def _lock(self) -> asyncio.Lock:
        """Return what the task holds that waits in this end."""
        lock = _locks.get(self)
        if lock is None:
            lock = _locks[self] = asyncio.Lock()
        return lock

    def _take_back(self, item: T) -> None:
        _returned.setdefault(self, deque()).append(item)

    def recv_nowait(self) -> T:
        """As `recv`, without waiting.

        Raises:
            trio.WouldBlock: no item has arrived.
        """
        if _returned and self in _returned:
            return self._returned_items(1)[0]
        return super().recv_nowait()

    receive_nowait = recv_nowait

    def _returned_items(self, most: int | None) -> list[T]:
        left = _returned[self]
        items = [left.popleft() for _ in range(len(left))[:most]]
        if not left:
            del _returned[self]
        return items

    async def recv_many(self, most: int | None = None) -> list[T]:
        """Wait for an item, and return it with all others that have come; see
        `roam_trio.Rx.recv_many`.
        """
        async with self._lock():
            if self in _returned and (most is None or most > 0):
                return self._returned_items(most)
            return await _wait(partial(super().recv_many, most), self._take_all_back)

    receive_many = recv_many

    def _take_all_back(self, items: list[T]) -> None:
        _returned.setdefault(self, deque()).extend(items)

    async def recv_borrowed(self) -> SelfRef[T]:
        """As `recv`, and return the item with the buffer it was decoded from; see
        `roam_trio.Rx.recv_borrowed`. One that is cancelled may have taken an item.
        """
        return await _wait(super().recv_borrowed)

    async def __anext__(self) -> T:
        try:
            return await self.recv()
        except trio.EndOfChannel:
            raise StopAsyncIteration from None

    def reset(self) -> None:
        """See `roam_trio.Rx.reset`."""
        _returned.pop(self, None)
        super().reset()

    close = reset

    async def aclose(self) -> None:
        """Call `reset`; it does not wait."""
        _wake()
        self.reset()


class channel(tuple[Tx[T], Rx[T]], Generic[T]):
    """Make a pair of channel ends for asyncio, which a call binds together.

    ``tx, rx = channel[int]()`` or ``channel(int)``; see `roam_trio.channel`. Give one
    end to a call, and use the other in tasks of asyncio.
    """

    def __new__(cls, item: type[T] | None = None) -> channel[T]:
        binding = Binding()
        return super().__new__(cls, (Tx[T].on(binding), Rx[T].on(binding)))


def give_to_asyncio(end: native.Tx[Any] | native.Rx[Any]) -> None:
    """Make an end that a call has brought one for asyncio.

    The end itself changes its class: another end would be another reference, and the
    channel is closed when the last one is dropped.
    """
    kind: type[Any] = Tx if isinstance(end, native.Tx) else Rx
    end.__class__ = kind
