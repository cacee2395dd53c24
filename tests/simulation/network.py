"""Virtual links: byte streams that delay, stall, and break after any byte."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from random import Random

import trio
from trio.lowlevel import ParkingLot, checkpoint

from roam_trio.links.base import Buffer, Link, LinkRx, LinkTx, RxStatistics
from roam_trio.links.byte_streams import ByteTransport
from roam_trio.links.stream import StreamLimits, StreamLink
from roam_trio.peers import Peer
from roam_trio.wire.backing import Backing

from .clockwork import TICK, Clockwork

__all__ = ["DOWN", "UP", "Pipe", "VirtualLink"]

UP, DOWN = 0, 1
"""The two ways of a link: to the server, and to the client that has dialed."""


class Pipe:
    """One way of a link.

    Args:
        clockwork: makes bytes arrive.
        chance: draws delays and where reads end.
        slowest: longest delay of a write, in ticks.
        room: number of bytes under way from which the sender waits.
        on_arrival: called with the number of bytes of each arrival.
    """

    def __init__(
        self,
        clockwork: Clockwork,
        chance: Random,
        slowest: int,
        room: int,
        on_arrival: Callable[[int], None],
    ) -> None:
        self._clockwork = clockwork
        self._chance = chance
        self._slowest = slowest
        self._room = room
        self._on_arrival = on_arrival
        self._last_at = 0.0
        self._under_way = 0
        self._arrived: deque[bytes] = deque()
        self._stalled: deque[bytes] | None = None
        self._has_reader = True
        self._error: Exception | None = None
        self._changed = ParkingLot()
        self.at_end = False
        self.taken = 0
        """Number of bytes taken from the sender."""
        self.cut_at: int | None = None
        """Number of them after which the link breaks."""
        self.on_cut: Callable[[], None] = _do_nothing

    # ------------------------------------------------ the sender

    def take(self, data: memoryview) -> int:
        """Take a part of the data that fits, and return its length."""
        if self._error is not None:
            raise self._error
        count = max(min(len(data), self._room - self._under_way), 0)
        is_cut = self.cut_at is not None and self.taken + count >= self.cut_at
        if is_cut:
            assert self.cut_at is not None
            count = max(self.cut_at - self.taken, 0)
        if count:
            self.taken += count
            self._under_way += count
            self._send(bytes(data[:count]))
        if is_cut:
            self._clockwork.at(self._last_at, self.on_cut)
        return count

    async def take_all(self, data: memoryview) -> None:
        """Take all of the data, as there is room."""
        while True:
            data = data[self.take(data) :]
            if not data:
                return
            await self._changed.park()

    def end(self) -> None:
        """Let the reader come to the end, after everything under way."""
        self._send(b"")

    def _send(self, chunk: bytes) -> None:
        delay = self._chance.randint(1, self._slowest) * TICK
        # Not before what was sent earlier.
        self._last_at = max(self._last_at, trio.current_time() + delay)
        self._clockwork.at(self._last_at, lambda: self._arrive(chunk))

    # ------------------------------------------------ the way

    def _arrive(self, chunk: bytes) -> None:
        if self._error is not None:
            return
        if self._stalled is not None:
            self._stalled.append(chunk)
            return
        self._on_arrival(len(chunk))
        if not chunk:
            self.at_end = True
        elif self._has_reader:
            self._arrived.append(chunk)
        else:
            self._under_way -= len(chunk)
        self._changed.unpark_all()

    def stall(self) -> None:
        """Let nothing arrive until `heal`."""
        if self._stalled is None:
            self._stalled = deque()

    @property
    def is_stalled(self) -> bool:
        """True if nothing arrives until `heal`."""
        return self._stalled is not None

    def heal(self) -> None:
        """Let arrive what was held up."""
        stalled, self._stalled = self._stalled, None
        for chunk in stalled or ():
            self._arrive(chunk)

    def break_off(self, error: Exception | None) -> None:
        """Lose what is under way; what has arrived can still be read.

        Args:
            error: for the reader; None if it is to see an orderly end.
        """
        if self._error is None:
            self._error = error or trio.BrokenResourceError("the link was cut")
            self.at_end |= error is None
            self._changed.unpark_all()

    # ------------------------------------------------ the reader

    async def read(self, most: int) -> bytes:
        """Read what has arrived, or a part of it; no bytes at the end."""
        await checkpoint()
        while not self._arrived:
            if not self._has_reader:
                raise trio.ClosedResourceError
            if self.at_end:
                return b""
            if self._error is not None:
                raise self._error
            await self._changed.park()
        chunk = self._arrived.popleft()
        # Most reads return a whole write, some a part of it, down to one byte.
        if len(chunk) > 1 and self._chance.random() < 0.2:
            most = min(most, self._chance.randint(1, len(chunk) - 1))
        if len(chunk) > most:
            self._arrived.appendleft(chunk[most:])
            chunk = chunk[:most]
        self._under_way -= len(chunk)
        self._changed.unpark_all()
        return chunk

    def stop_reading(self) -> None:
        """Read no more. The sender notices after a while."""
        self._has_reader = False
        self._arrived.clear()
        self._changed.unpark_all()
        gone = trio.BrokenResourceError("the peer has closed")
        self._clockwork.after(self._slowest * TICK, lambda: self.break_off(gone))


class _Transport(ByteTransport):
    """One end of a link."""

    def __init__(self, sending: Pipe, receiving: Pipe) -> None:
        self._sending = sending
        self._receiving = receiving
        self._has_ended = False

    async def receive_some(self, most: int) -> bytes:
        return await self._receiving.read(most)

    async def receive_into(self, buffer: memoryview) -> int:
        chunk = await self._receiving.read(len(buffer))
        buffer[: len(chunk)] = chunk
        return len(chunk)

    async def send_all(self, buffers: Sequence[Buffer]) -> None:
        await checkpoint()
        for buffer in buffers:
            await self._sending.take_all(memoryview(buffer))

    def send_nowait(self, buffers: list[Buffer]) -> list[Buffer]:
        left: list[Buffer] = []
        for buffer in buffers:
            view = memoryview(buffer)
            try:
                count = 0 if left else self._sending.take(view)
            except trio.BrokenResourceError as error:
                raise OSError(str(error)) from error
            if count < len(view):
                left.append(view[count:])
        return left

    async def end_sending(self) -> None:
        await checkpoint()
        await self.abort_sending()

    async def abort_sending(self) -> None:
        if not self._has_ended:
            self._has_ended = True
            self._sending.end()

    async def end_receiving(self) -> None:
        self._receiving.stop_reading()


class VirtualLink:
    """A link between a client, which has dialed, and a server.

    Args:
        clockwork: makes bytes arrive.
        chance: draws delays.
        slowest: longest delay of a write, in ticks.
        room: number of bytes under way in each direction, and of unsent ones at each
            end, from which senders wait.
        may_double: whether payloads may arrive twice, as those of a stable conduit may.
        host: where the client is.
        note: called with each event.

    Attributes:
        ends: the client's end and the server's.
        pipes: by `UP` and `DOWN`.
    """

    def __init__(
        self,
        clockwork: Clockwork,
        chance: Random,
        *,
        slowest: int,
        room: int,
        may_double: bool,
        host: str,
        note: Callable[..., None],
    ) -> None:
        self.is_cut = False
        self._peer = Peer("virtual", host)
        self._note = note
        self.pipes = tuple(
            Pipe(clockwork, chance, slowest, room, partial(note, "bytes", way))
            for way in ("up", "down")
        )
        up, down = self.pipes
        limits = StreamLimits(max_unsent_bytes=room)
        near = StreamLink.over(_Transport(up, down), limits=limits)
        far = StreamLink.over(_Transport(down, up), limits=limits)
        self._doubling: list[_DoublingRx] = []
        self.ends: tuple[Link, Link] = (near, far)
        if may_double:
            self.ends = (self._doubled(near), self._doubled(far))

    def _doubled(self, link: Link) -> Link:
        tx, rx = link.split()
        doubling = _DoublingRx(rx)
        self._doubling.append(doubling)
        return _Halves(tx, doubling, self._peer)

    @property
    def is_over(self) -> bool:
        """True if it carries nothing any more."""
        return self.is_cut or all(pipe.at_end for pipe in self.pipes)

    @property
    def is_ailing(self) -> bool:
        """True if it is cut, or something does not pass."""
        return self.is_over or any(pipe.is_stalled for pipe in self.pipes)

    def cut(self, *, cleanly: bool = False) -> None:
        """Break it now.

        Args:
            cleanly: whether readers see an orderly end.
        """
        if self.is_cut:
            return
        self.is_cut = True
        self._note("cut", cleanly)
        for pipe in self.pipes:
            error = trio.BrokenResourceError("the link was cut")
            pipe.break_off(None if cleanly else error)

    def cut_after(self, way: int, count: int, *, cleanly: bool) -> None:
        """Break it when `count` more bytes have passed in one direction."""
        pipe = self.pipes[way]
        pipe.on_cut = lambda: self.cut(cleanly=cleanly)
        pipe.cut_at = pipe.taken + count

    def double(self, way: int, count: int) -> None:
        """Let the next payloads in one direction arrive twice."""
        if self._doubling:
            self._doubling[1 - way].to_double += count


class _Halves(Link):
    def __init__(self, tx: LinkTx, rx: LinkRx, peer: Peer) -> None:
        self._halves = (tx, rx)
        self._peer = peer

    def split(self) -> tuple[LinkTx, LinkRx]:
        return self._halves

    def peer(self) -> Peer:
        return self._peer


class _DoublingRx(LinkRx):
    """Receives some payloads twice, but for the first, which is a hello."""

    def __init__(self, inner: LinkRx) -> None:
        self._inner = inner
        self._again: Backing | None = None
        self._is_first = True
        self.to_double = 0

    async def recv(self) -> Backing | None:
        if self._again is not None:
            await checkpoint()
            return self._repeated()
        return self._seen(await self._inner.recv())

    def recv_nowait(self) -> Backing | None:
        if self._again is not None:
            return self._repeated()
        return self._seen(self._inner.recv_nowait())

    def _repeated(self) -> Backing | None:
        again, self._again = self._again, None
        return again

    def _seen(self, payload: Backing | None) -> Backing | None:
        if self._is_first:
            self._is_first = False
        elif self.to_double and payload is not None:
            self.to_double -= 1
            self._again = payload
        return payload

    def statistics(self) -> RxStatistics:
        return self._inner.statistics()

    async def close(self) -> None:
        self._again = None
        await self._inner.close()


def _do_nothing() -> None:
    pass
