"""Links over WebSocket, on any transport below (`transport.websocket`).

Each payload is one binary message. Sending ends with a Close frame; the other side may
still send then, until it closes as well. The connection below is released when both
halves of the link are closed.

Needs the extra `websocket`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final

import trio
from trio.lowlevel import checkpoint

from ..peers import Peer
from .base import Buffer, Link
from .byte_streams import ByteTransport
from .framing import RECEIVE_AT_ONCE
from .stream import StreamLimits, StreamLinkTx
from .stream_rx import STREAM_ERRORS, StreamLinkRx
from .websocket_framing import NORMAL, WebSocketDecoder, WebSocketEncoder
from .websocket_handshake import accept_handshake, client_handshake

__all__ = ["WebSocketLink", "WebSocketLinkRx", "WebSocketLinkTx"]


_DROPPING_SECONDS: Final = 2.0
_DROPPED_BYTES: Final = 64 * 1024 * 1024
"""Bounds, in seconds and in bytes, on reading from a refused peer that still sends."""


class WebSocketLink(Link):
    """A link on a WebSocket; `connect` makes one at the client, `accept` at the server.

    Args:
        transport: the connection, after the handshake; the link owns it.
        is_client: whether this is the client's side.
        received: bytes received after the handshake.
        limits: what the link may hold.
    """

    def __init__(
        self,
        transport: ByteTransport,
        *,
        is_client: bool,
        received: bytes = b"",
        limits: StreamLimits | None = None,
    ) -> None:
        limits = limits or StreamLimits()
        self._transport = transport
        encoder = WebSocketEncoder(mask=is_client)

        def close_frame() -> bytes:
            return encoder.close_frame(decoder.close_code)

        def refuses() -> bool:
            return decoder.close_code != NORMAL

        closing = _ClosingTransport(transport, close_frame, refuses, received)
        tx = WebSocketLinkTx(closing, limits, encoder)
        decoder = WebSocketDecoder(
            limits.max_payload, masked=not is_client, on_ping=tx.answer
        )
        seconds = limits.payload_seconds
        rx = WebSocketLinkRx(closing, decoder, payload_seconds=seconds)
        self._halves = (tx, rx)

    @classmethod
    async def connect(
        cls, transport: ByteTransport, url: str, *, limits: StreamLimits | None = None
    ) -> WebSocketLink:
        """Do the handshake of a client. If it fails, close the connection.

        Args:
            transport: a connection to the server; the link owns it.
            url: ``ws://host:port/path``, as sent to the server.
            limits: bounds of the link.

        Raises:
            LinkError: the server refuses, or is not a WebSocket server.
            OSError: the connection broke.
        """
        received = await _in_full(transport, client_handshake(transport, url))
        return cls(transport, is_client=True, received=received, limits=limits)

    @classmethod
    async def accept(
        cls,
        transport: ByteTransport,
        *,
        path: str | None = None,
        origins: Sequence[str] = (),
        limits: StreamLimits | None = None,
    ) -> WebSocketLink:
        """Do the handshake of a server. If it fails, close the connection.

        Args:
            transport: a connection of a client; the link owns it.
            path: the path that the client must request; None for any.
            origins: the web origins that may connect: ``"https://example.org"``. Others
                are refused. Programs other than browsers send no origin.
            limits: bounds of the link.

        Raises:
            LinkError: the client was refused, or requests something else.
            OSError: the connection broke.
        """
        received = await _in_full(transport, accept_handshake(transport, path, origins))
        return cls(transport, is_client=False, received=received, limits=limits)

    def split(self) -> tuple[WebSocketLinkTx, WebSocketLinkRx]:
        return self._halves

    def peer(self) -> Peer:
        peer = self._transport.peer()
        peer.transport = "wss" if peer.transport == "tls" else "ws"
        return peer


class WebSocketLinkTx(StreamLinkTx):
    """The sending half of a WebSocket link; see `StreamLinkTx`."""

    def __init__(
        self, transport: ByteTransport, limits: StreamLimits, encoder: WebSocketEncoder
    ) -> None:
        super().__init__(transport, limits, encoder)
        self._answers = encoder

    def answer(self, ping: bytes) -> None:
        """Answer a ping of the peer. Of several, only the last may be answered."""
        if self._ending is None:
            self._count_answer(-1)
            self._answers.answer(ping)
            self._count_answer(1)
            if self._wake is not None:
                self._wake_pump()

    def _written(self, payloads: int, size: int) -> None:
        super()._written(payloads, size)
        self._count_answer(1)  # one that arrived while others were written

    def _count_answer(self, sign: int) -> None:
        """Count the answer: its bytes join those that are committed and unwritten."""
        length = self._answers.answer_length
        if length:
            self._backlog.count_beside(sign, sign * length)


class WebSocketLinkRx(StreamLinkRx):
    """The receiving half of a WebSocket link; see `StreamLinkRx`."""

    def __init__(
        self,
        transport: ByteTransport,
        decoder: WebSocketDecoder,
        *,
        payload_seconds: float,
    ) -> None:
        super().__init__(transport, decoder, payload_seconds=payload_seconds)
        self._messages = decoder

    async def close(self) -> None:
        await super().close()
        self._messages.stop()


class _ClosingTransport(ByteTransport):
    """The transport below, closed like a WebSocket, by a Close frame in each direction.

    Sending ends with that frame, and the connection stays open: some intermediaries
    treat the end of one direction of a connection as the end of both.
    """

    def __init__(
        self,
        below: ByteTransport,
        close_frame: Callable[[], bytes],
        refuses: Callable[[], bool],
        received: bytes,
    ) -> None:
        self._below = below
        self._received = received
        self._close_frame = close_frame
        self._refuses = refuses
        self._sending_ended = False
        self._receiving_ended = False

    async def receive_some(self, most: int) -> bytes:
        if self._received:
            await checkpoint()
            received, self._received = self._received, b""
            return received
        return await self._below.receive_some(most)

    async def receive_into(self, buffer: memoryview) -> int:
        return await self._below.receive_into(buffer)

    async def send_all(self, buffers: Sequence[Buffer]) -> None:
        await self._below.send_all(buffers)

    def send_nowait(self, buffers: list[Buffer]) -> list[Buffer]:
        return self._below.send_nowait(buffers)

    @property
    def parts(self) -> int:
        return self._below.parts

    async def end_sending(self) -> None:
        with suppress(OSError, trio.BrokenResourceError):  # no peer is left
            await self._below.send_all([self._close_frame()])
        self._sending_ended = True
        if self._refuses():
            await self._drop_what_comes()
        elif self._receiving_ended:
            await self._below.end_sending()

    async def _drop_what_comes(self) -> None:
        """Read and discard data of a peer that does not know yet that it is refused.

        Closing a socket with unread data resets the connection, and the reset may
        destroy the Close frame with the reason.
        """
        if not self._receiving_ended:
            # The peer may close as soon as it has that frame.
            await self._below.end_sending()
        dropped = 0
        with suppress(*STREAM_ERRORS), trio.move_on_after(_DROPPING_SECONDS):
            while dropped < _DROPPED_BYTES:
                chunk = await self._below.receive_some(RECEIVE_AT_ONCE)
                if not chunk:
                    break
                dropped += len(chunk)
        if self._receiving_ended:
            await self._below.end_sending()

    async def abort_sending(self) -> None:
        self._sending_ended = True
        await self._below.abort_sending()

    async def end_receiving(self) -> None:
        self._receiving_ended = True
        await self._below.end_receiving()
        if self._sending_ended:
            await self._below.abort_sending()


async def _in_full(transport: ByteTransport, handshake: Awaitable[bytes]) -> bytes:
    try:
        return await handshake
    except BaseException as error:
        await transport.abort_sending()
        await transport.end_receiving()
        if isinstance(error, trio.BrokenResourceError):
            raise ConnectionResetError(str(error)) from error
        raise
