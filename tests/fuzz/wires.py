"""The other end of a live session: it sends what an input says, and reads."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import suppress

import trio

from roam_trio import Link, LinkError, RoamTrioError
from roam_trio.links.resuming.hello import ClientHello, ServerHello
from roam_trio.links.resuming.sequence import write_header

__all__ = [
    "GONE",
    "GONE_OR_REFUSED",
    "LinkWire",
    "Resuming",
    "StreamWire",
    "WebSocketWire",
    "Wire",
]

GONE = (OSError, trio.BrokenResourceError, trio.ClosedResourceError, LinkError)
"""Errors of a session that has ended at the other side."""


GONE_OR_REFUSED = (*GONE, RoamTrioError)
"""Errors of a client that a server does not want."""


class Wire(ABC):
    """One link, below the messages."""

    @abstractmethod
    async def send(self, payload: bytes) -> None:
        """Send a payload."""

    @abstractmethod
    async def send_raw(self, data: bytes) -> None:
        """Send bytes as they are, if there is anything below payloads."""

    @abstractmethod
    async def end_sending(self) -> None:
        """Tell the other side that nothing more is sent."""

    @abstractmethod
    async def read(self) -> bytes | None:
        """Wait for something; None at the end."""

    @abstractmethod
    async def close(self) -> None:
        """Close both directions."""


class LinkWire(Wire):
    """A link in memory, which has nothing below payloads."""

    def __init__(self, link: Link) -> None:
        self._tx, self._rx = link.split()

    async def send(self, payload: bytes) -> None:
        (await self._tx.reserve()).send([payload])

    async def send_raw(self, data: bytes) -> None:
        await self.send(data)

    async def end_sending(self) -> None:
        await self._tx.close()

    async def read(self) -> bytes | None:
        payload = await self._rx.recv()
        return None if payload is None else bytes(payload)

    async def close(self) -> None:
        await self._tx.close()
        await self._rx.close()


class StreamWire(Wire):
    """A stream with a length before each payload."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream

    async def send(self, payload: bytes) -> None:
        await self.send_raw(len(payload).to_bytes(4, "little") + payload)

    async def send_raw(self, data: bytes) -> None:
        await self._stream.send_all(data)

    async def end_sending(self) -> None:
        if isinstance(self._stream, trio.abc.HalfCloseableStream):
            await self._stream.send_eof()
        else:  # TLS ends both directions
            await self._stream.aclose()

    async def read(self) -> bytes | None:
        return bytes(await self._stream.receive_some()) or None

    async def close(self) -> None:
        await trio.aclose_forcefully(self._stream)


class WebSocketWire(StreamWire):
    """A stream after the handshake of a WebSocket. The mask of each frame is zero, so
    that a payload is in it as it is.
    """

    async def shake_hands(self, path: str) -> None:
        """Do the handshake of a client."""
        await self.send_raw(
            f"GET {path} HTTP/1.1\r\nHost: fuzz\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            "Sec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        answer = await self.read()
        assert answer is not None
        assert answer.startswith(b"HTTP/1.1 101"), answer

    async def send(self, payload: bytes) -> None:
        size = len(payload)
        length = (
            b"%c" % (size | 128) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
        )
        await self.send_raw(b"\x82" + length + bytes(4) + payload)

    async def end_sending(self) -> None:
        await self.send_raw(b"\x88\x82" + bytes(4) + b"\x03\xe8")


class Resuming(Wire):
    """A client that resumes over links of another kind: `renew` takes the next one."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._key: bytes | None = None
        self._seq = 0

    async def renew(self, wire: Wire, last_received: int | None) -> None:
        """Lose the link, and present the key on another one."""
        with suppress(*GONE):
            await self._wire.close()
        self._wire = wire
        await self.greet(last_received)

    async def greet(self, last_received: int | None) -> None:
        """Exchange the hellos of a link."""
        await self._wire.send(ClientHello(self._key, last_received).encode())
        answer = await self._wire.read()
        if answer is not None and answer[:4] == b"ROSH":
            self._key = ServerHello.decode(answer).resume_key

    async def send(self, payload: bytes) -> None:
        if payload[:1] == b"\xfe":
            await self._wire.send(payload[1:])
        else:
            await self._wire.send(write_header(self._seq, None) + payload)
            self._seq += 1

    async def send_raw(self, data: bytes) -> None:
        await self._wire.send_raw(data)

    async def end_sending(self) -> None:
        await self._wire.end_sending()

    async def read(self) -> bytes | None:
        return await self._wire.read()

    async def close(self) -> None:
        await self._wire.close()
