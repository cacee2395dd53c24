"""Byte streams below a `StreamLink`: any trio stream, or a socket directly.

A `ByteTransport` moves bytes, without payload boundaries. `StreamTransport` makes one
of any trio stream. `SocketTransport` uses a non-blocking socket of the standard
library, and waits only when the kernel requires it, which costs a fraction of the
layers of `trio.SocketStream`.
"""

from __future__ import annotations

import socket
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final

import trio
from trio.abc import HalfCloseableStream, ReceiveStream, SendStream
from trio.lowlevel import checkpoint, notify_closing, wait_readable, wait_writable

from ..peers import Peer
from .base import Buffer
from .sockets import peer_of

__all__ = ["ByteReceiver", "ByteTransport", "SocketTransport", "StreamTransport"]


class ByteReceiver(ABC):
    """The receiving direction of a byte stream. One task at a time receives.

    Failures are raised as by `ByteTransport`.
    """

    __slots__ = ()

    @abstractmethod
    async def receive_some(self, most: int) -> bytes:
        """Receive at least one byte, and up to `most` of the available ones.

        Return no bytes at the end of the stream. Always a checkpoint; no byte is lost
        when it is cancelled.
        """

    def until_readable(self) -> Awaitable[None] | None:
        """Return what to await before `receive_nowait`, which is one checkpoint; None
        if this receiver has `receive_some` only.

        A session waits here as long as it is idle. With `receive_some`, it would hold
        the memory of one more coroutine.
        """
        return None

    def receive_nowait(self, most: int) -> bytes | None:
        """As `receive_some`, without waiting; return None if nothing has come."""
        raise NotImplementedError

    @abstractmethod
    async def receive_into(self, buffer: memoryview) -> int:
        """As `receive_some`, into `buffer`; return the number of bytes."""

    @abstractmethod
    async def end_receiving(self) -> None:
        """Stop receiving, without waiting; wake a task that waits to receive."""


class ByteTransport(ByteReceiver):
    """A byte stream in both directions. One task at a time sends, and one receives.

    Failures are raised as OSError, as `trio.BrokenResourceError` or, after this side
    has closed, as `trio.ClosedResourceError`. The transport is released when both
    directions have ended.
    """

    __slots__ = ()

    @abstractmethod
    async def send_all(self, buffers: Sequence[Buffer]) -> None:
        """Send all of the data, in order. If cancelled, it may have sent a part."""

    def send_nowait(self, buffers: list[Buffer]) -> list[Buffer]:
        """Send as much as possible without waiting, and return the rest.

        Call it only while no task is in `send_all`. A transport that cannot tell
        whether it would wait sends nothing.
        """
        return buffers

    @property
    def parts(self) -> int:
        """See `TxStatistics.parts`; it grows while `send_all` makes progress."""
        return 0

    @abstractmethod
    async def end_sending(self) -> None:
        """Tell the peer that there is no more data."""

    ends_at_once: bool = False
    """True if `end_sending` does not wait."""

    @abstractmethod
    async def abort_sending(self) -> None:
        """End sending at once, without waiting and even if a send was cut short."""

    def peer(self) -> Peer:
        """Describe the peer, while the transport is open; see `Link.peer`."""
        return Peer("other", type(self).__name__)


_PART_LENGTH: Final = 64 * 1024
"""Number of bytes that a trio stream is given at once: it does not tell how many of
them it has sent."""


class StreamTransport(ByteTransport):
    """A bidirectional trio stream, or two unidirectional ones.

    A stream without half-close, such as TLS, is closed as a whole when sending ends.

    Args:
        send_stream: the stream to send on.
        receive_stream: the stream to receive from; None if `send_stream` is
            bidirectional.

    Raises:
        TypeError: `send_stream` is unidirectional, and there is no other.
    """

    def __init__(
        self, send_stream: SendStream, receive_stream: ReceiveStream | None
    ) -> None:
        self._shared = receive_stream is None
        if receive_stream is None:
            if not isinstance(send_stream, ReceiveStream):
                raise TypeError(
                    f"{send_stream!r} can only send: pass a stream to receive from too"
                )
            receive_stream = send_stream
        self._send_stream = send_stream
        self._receive_stream = receive_stream
        self._parts = 0
        self._sending_ended = False
        self._receiving_ended = False
        self._receiving: trio.CancelScope | None = None

    def peer(self) -> Peer:
        if isinstance(self._send_stream, trio.SocketStream):
            return peer_of(self._send_stream.socket)
        return Peer("other", type(self._send_stream).__name__)

    async def receive_some(self, most: int) -> bytes:
        # Closing a shared stream cannot be used to wake its reader, because the other
        # half may still be in use.
        with trio.CancelScope() as self._receiving:
            return bytes(await self._receive_stream.receive_some(most))
        raise trio.ClosedResourceError

    async def receive_into(self, buffer: memoryview) -> int:
        chunk = await self.receive_some(len(buffer))
        buffer[: len(chunk)] = chunk
        return len(chunk)

    async def send_all(self, buffers: Sequence[Buffer]) -> None:
        for buffer in buffers:
            if len(buffer) > _PART_LENGTH:
                await self._send_in_parts(buffer)
            else:
                await self._send_stream.send_all(buffer)

    async def _send_in_parts(self, buffer: Buffer) -> None:
        with memoryview(buffer) as view:
            for start in range(0, len(view), _PART_LENGTH):
                await self._send_stream.send_all(view[start : start + _PART_LENGTH])
                self._parts += 1

    @property
    def parts(self) -> int:
        return self._parts

    async def end_sending(self) -> None:
        self._sending_ended = True
        stream = self._send_stream
        with suppress(trio.BrokenResourceError):  # there is no peer left to tell
            if (
                self._shared
                and not self._receiving_ended
                and isinstance(stream, HalfCloseableStream)
            ):
                await stream.send_eof()
            else:
                await stream.aclose()

    async def abort_sending(self) -> None:
        self._sending_ended = True
        await trio.aclose_forcefully(self._send_stream)

    async def end_receiving(self) -> None:
        self._receiving_ended = True
        if not self._shared or self._sending_ended:
            await trio.aclose_forcefully(self._receive_stream)
        if self._receiving is not None:
            self._receiving.cancel()


_MOST_BUFFERS: Final = 64
"""Maximum number of buffers in one sendmsg; systems allow at least about 1024."""

# Not on Windows.
_sendmsg: Final[Callable[[socket.socket, Sequence[Buffer]], int] | None] = getattr(
    socket.socket, "sendmsg", None
)


class SocketTransport(ByteTransport):
    """A connected stream socket, used directly.

    Args:
        sock: the socket; this transport owns it.
    """

    __slots__ = (
        "_drained",
        "_parts",
        "_receiving_ended",
        "_sending_ended",
        "_socket",
    )

    ends_at_once = True

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._drained = True  # most likely, no data has arrived yet
        self._parts = 0
        self._sending_ended = False
        self._receiving_ended = False

    @property
    def sock(self) -> socket.socket:
        """The socket, which this transport owns."""
        return self._socket

    def peer(self) -> Peer:
        return peer_of(self._socket)

    # Each read starts with exactly one checkpoint. If the last read was short, the next
    # one would most likely find nothing, so it waits first and saves a system call that
    # fails.

    def until_readable(self) -> Awaitable[None]:
        if self._drained:
            return wait_readable(self._socket)  # noqa: ASYNC105 - who calls this awaits
        return checkpoint()  # noqa: ASYNC105

    def receive_nowait(self, most: int) -> bytes | None:
        try:
            chunk = self._socket.recv(most)
        except BlockingIOError:
            self._drained = True
            return None
        self._drained = len(chunk) < most
        return chunk

    async def receive_some(self, most: int) -> bytes:
        while True:
            await self.until_readable()
            chunk = self.receive_nowait(most)
            if chunk is not None:
                return chunk

    async def receive_into(self, buffer: memoryview) -> int:
        if self._drained:
            await wait_readable(self._socket)
        else:
            await checkpoint()
        while True:
            try:
                count = self._socket.recv_into(buffer)
            except BlockingIOError:
                await wait_readable(self._socket)
            else:
                self._drained = count < len(buffer)
                return count

    async def send_all(self, buffers: Sequence[Buffer]) -> None:
        if len(buffers) == 1:
            await self._send(buffers[0])
        elif _sendmsg is not None:
            for first in range(0, len(buffers), _MOST_BUFFERS):
                await self._send_gathered(
                    _sendmsg, buffers[first : first + _MOST_BUFFERS]
                )
        else:
            for buffer in buffers:
                await self._send(buffer)

    def send_nowait(self, buffers: list[Buffer]) -> list[Buffer]:
        try:
            if len(buffers) == 1:
                sent = self._socket.send(buffers[0])
                if sent == len(buffers[0]):
                    return []
            elif _sendmsg is not None:
                sent = _sendmsg(self._socket, buffers[:_MOST_BUFFERS])
            else:
                sent = 0
        except BlockingIOError:
            return buffers
        return _without_first(buffers, sent)

    async def _send(self, buffer: Buffer) -> None:
        sent = 0
        with memoryview(buffer) as view:
            while sent < len(view):
                try:
                    sent += self._socket.send(view[sent:] if sent else view)
                except BlockingIOError:
                    await self._wait_writable()

    async def _send_gathered(
        self,
        sendmsg: Callable[[socket.socket, Sequence[Buffer]], int],
        buffers: Sequence[Buffer],
    ) -> None:
        left = list(buffers)
        while left:
            try:
                sent = sendmsg(self._socket, left)
            except BlockingIOError:
                await self._wait_writable()
            else:
                left = _without_first(left, sent)

    async def _wait_writable(self) -> None:
        while True:
            try:
                await wait_writable(self._socket)
            except trio.ClosedResourceError:
                # notify_closing wakes all tasks that wait for this socket, senders
                # included.
                if self._sending_ended:
                    raise
            else:
                # The peer has taken something of what the system held.
                self._parts += 1
                return

    @property
    def parts(self) -> int:
        return self._parts

    async def end_sending(self) -> None:
        await self.abort_sending()
        await checkpoint()

    async def abort_sending(self) -> None:
        self._sending_ended = True
        with suppress(OSError):  # the peer is gone
            self._socket.shutdown(socket.SHUT_WR)
        self._release_if_done()

    async def end_receiving(self) -> None:
        self._receiving_ended = True
        notify_closing(self._socket)
        self._release_if_done()

    def _release_if_done(self) -> None:
        if self._sending_ended and self._receiving_ended:
            notify_closing(self._socket)
            self._socket.close()


def _without_first(buffers: list[Buffer], count: int) -> list[Buffer]:
    for index, buffer in enumerate(buffers):
        if count < len(buffer):
            return [memoryview(buffer)[count:], *buffers[index + 1 :]]
        count -= len(buffer)
    return []
