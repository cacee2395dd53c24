"""A connection of the flooder, on which it may say whatever it wants to."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

import trio

from roam_trio import Metadata, RoamTrioError
from roam_trio.links.framing import FrameDecoder
from roam_trio.wire.envelope import decode_message, encode_message
from roam_trio.wire.ids import ConnectionId, Parity, RequestId
from roam_trio.wire.messages import (
    PROTOCOL_VERSION,
    ConnectionAccept,
    ConnectionOpen,
    ConnectionReject,
    ConnectionSettings,
    Hello,
    HelloYourself,
    Message,
    RequestCall,
    RequestResponse,
)

from .service import METHODS, NAMED

__all__ = [
    "IN_FLIGHT",
    "SETTINGS",
    "HostileLink",
    "call",
    "connected",
    "frame",
    "hello",
]

SETTINGS: Final = ConnectionSettings(Parity.ODD, 64)

IN_FLIGHT: Final = 60
"""Number of calls without a response on a connection: a few less than a server allows,
or it would end the session at once."""

_TOLD: Final = 64 * 1024


def frame(*messages: Message) -> bytes:
    """Return the bytes of messages, each with its length in front."""
    return b"".join(
        piece
        for message in messages
        for piece in _with_length(b"".join(encode_message(message)))
    )


def _with_length(payload: bytes) -> tuple[bytes, bytes]:
    return len(payload).to_bytes(4, "little"), payload


def hello() -> Hello:
    """Return the first message of a client."""
    return Hello(ConnectionId(0), PROTOCOL_VERSION, SETTINGS)


def call(
    number: int,
    method: str,
    args: bytes = b"",
    *,
    connection: int = 1,
    channels: tuple[int, ...] = (),
    metadata: Metadata | None = None,
) -> RequestCall:
    """Return a call; of an unknown method, if there is none of this name."""
    known = METHODS.get(method)
    return RequestCall(
        ConnectionId(connection),
        RequestId(number),
        7 if known is None else known.id,
        channels,
        metadata or Metadata(),
        args,
    )


class HostileLink:
    """One connection to the server.

    Attributes:
        answered: number of responses that have come.
        accepted: number of connections that the server has accepted.
        rejected: number of those that it has rejected.
    """

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._came = trio.Event()
        self.answered = self.accepted = self.rejected = 0
        self._heard: set[type[Message]] = set()

    async def send(self, data: bytes) -> None:
        """Send bytes, whatever they are."""
        await self._stream.send_all(data)

    async def say(self, *messages: Message) -> None:
        """Send messages."""
        await self.send(frame(*messages))

    async def until_answered(self, number: int) -> None:
        """Wait until so many responses have come, in all."""
        while self.answered < number:
            await self._came.wait()

    async def until_decided(self, number: int) -> None:
        """Wait until so many connections were accepted or rejected, in all."""
        while self.accepted + self.rejected < number:
            await self._came.wait()

    async def hear(self, kind: type[Message]) -> None:
        """Wait until a message of this kind has come."""
        while kind not in self._heard:
            await self._came.wait()

    async def shake_hands(self) -> None:
        """Begin a session."""
        await self.say(hello())
        await self.hear(HelloYourself)

    async def open(self) -> None:
        """Begin a session, and open connection 1 to the service."""
        await self.shake_hands()
        await self.say(ConnectionOpen(ConnectionId(1), SETTINGS, NAMED))
        await self.hear(ConnectionAccept)

    async def read(self) -> None:
        """Read all that comes, to the end; a task of its own."""
        decoder = FrameDecoder(2**31)
        while chunk := await self._stream.receive_some(_TOLD):
            decoder.feed(chunk)
            payloads, decoder.payloads = decoder.payloads, []
            for payload in payloads:
                self._note(payload)
            came, self._came = self._came, trio.Event()
            came.set()

    def _note(self, payload: bytes) -> None:
        try:
            kind = type(decode_message(payload))
        except RoamTrioError:
            return  # of a handshake of the stable conduit
        self._heard.add(kind)
        self.answered += kind is RequestResponse
        self.accepted += kind is ConnectionAccept
        self.rejected += kind is ConnectionReject


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[HostileLink]:
    """Connect, and read until the block ends, or until the server has ended the link;
    then the block is cancelled."""
    host, _, port = url.removeprefix("tcp://").rpartition(":")
    stream = await trio.open_tcp_stream(host, int(port))
    link = HostileLink(stream)

    async def read(scope: trio.CancelScope) -> None:
        with suppress(OSError, trio.BrokenResourceError):
            await link.read()
        scope.cancel()

    async with stream, trio.open_nursery() as nursery:
        nursery.start_soon(read, nursery.cancel_scope)
        with suppress(trio.BrokenResourceError):
            yield link
        nursery.cancel_scope.cancel()
