"""Targets: payloads in byte streams, handshakes, and other protocols."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any

from roam_trio import LinkError
from roam_trio.links.base import Buffer
from roam_trio.links.byte_streams import ByteTransport
from roam_trio.links.foreign import (
    Expected,
    advice_on_hello,
    named,
    named_payload,
    unmistakable,
)
from roam_trio.links.framing import FrameDecoder, PayloadDecoder
from roam_trio.links.resuming.hello import ClientHello
from roam_trio.links.websocket_framing import WebSocketDecoder, WebSocketEncoder
from roam_trio.links.websocket_handshake import accept_handshake, client_handshake
from roam_trio.wire.frames import framed

from .checks import check_error, require
from .target import Target

__all__ = ["STREAMS"]

_FILLING = b" " * 200_000
"""Belongs to a large payload before it, and is otherwise an announcement too large."""


def framing(data: bytes) -> None:
    """Divide a stream into payloads; chunks make no difference.

    The first byte of the input is the size of chunks, and whether much follows.
    """
    if not data:
        return
    size = (data[0] & 0x7F) + 1
    stream = data[1:] + (_FILLING if data[0] > 250 else b"")
    most = 150_000
    expected, is_whole = _frames(stream, most)
    for chunk in (size if len(stream) < 10_000 else 4096 + size, 65_536):
        decoder = FrameDecoder(most)
        error = _fed(decoder, stream, chunk)
        told = decoder.named()
        payloads = decoder.payloads
        if error is None or not payloads:
            require(payloads == expected or told or error, "payloads differ", payloads)
        require(payloads == expected[: len(payloads)], "payloads differ", payloads)
        require((error is None) == is_whole, "the end differs", error)
        require(decoder.count == len(payloads), "the count differs", decoder.count)


def _frames(stream: bytes, most: int) -> tuple[list[bytes], bool]:
    payloads: list[bytes] = []
    while len(stream) >= 4:
        length = int.from_bytes(stream[:4], "little")
        if length > most or len(stream) < 4 + length:
            return payloads, False
        payloads.append(stream[4 : 4 + length])
        stream = stream[4 + length :]
    return payloads, not stream


def _fed(decoder: PayloadDecoder, stream: bytes, size: int) -> LinkError | None:
    """Give a stream to a decoder, and return the error that ends it."""
    pos = 0
    try:
        while pos < len(stream):
            chunk = stream[pos : pos + size]
            buffer = decoder.large_buffer
            if buffer is None:
                decoder.feed(chunk)
            else:
                chunk = chunk[: len(buffer)]
                buffer[: len(chunk)] = chunk
                decoder.filled(len(chunk))
            pos += len(chunk)
        decoder.ended()
    except LinkError as error:
        check_error(error)
        return error
    return None


def _framed() -> Iterator[bytes]:
    def frame(payload: bytes) -> bytes:
        return len(payload).to_bytes(4, "little") + payload

    yield b"\0" + frame(b"") + frame(b"one") + frame(b"two" * 30)
    yield b"\x05" + frame(ClientHello().encode()) * 3
    yield b"\xff" + frame(b"x") + (100_000).to_bytes(4, "little")
    yield b"\x7f" + (2**32 - 1).to_bytes(4, "little") + b"x"
    yield b"\x10GET / HTTP/1.1\r\nHost: here\r\n\r\n"
    yield b"\x10\x16\x03\x01\x00\x33\x01\x00\x00\x2f\x03\x03" + bytes(50)


def websocket_frames(data: bytes) -> None:
    """Divide a stream of WebSocket frames; chunks make no difference.

    The first byte of the input is the size of chunks, and whether frames are masked.
    """
    if not data:
        return
    masked = data[0] > 127
    outcomes = []
    for size in ((data[0] & 0x7F) + 1, 65_536):
        pings: list[bytes] = []
        decoder = WebSocketDecoder(100, masked=masked, on_ping=pings.append)
        error = _fed(decoder, data[1:], size)
        require(all(len(payload) <= 100 for payload in decoder.payloads), "too long")
        outcomes.append((decoder.payloads, pings, str(error), decoder.close_code))
    require(outcomes[0] == outcomes[1], "chunks make a difference", outcomes)


def _websocket_frames() -> Iterator[bytes]:
    encoder = WebSocketEncoder(mask=False)
    encoder.answer(b"ping")
    frames = framed(b"", [[b"one"], [b"t", b"wo"], [b""]])
    assert frames is not None
    encoder.add_frames(frames)
    whole = b"".join(map(bytes, encoder.take())) + encoder.close_frame(1000)
    yield b"\x02" + whole
    yield b"\x7f" + b"\x02\x02ab" + b"\x89\x01p" + b"\x80\x01c" + b"\x88\x00"
    yield b"\xff" + b"\x82\x83\0\0\0\0one" + b"\x82\xfe\x00\x65\0\0\0\0" + b"x" * 101
    yield b"\x03" + b"\x81\x02hi" + b"\x88\x05\x03\xe9bye"


class _Script(ByteTransport):
    """A stream with given bytes, which never waits."""

    def __init__(self, data: bytes, size: int) -> None:
        self._data = data
        self._size = size
        self.sent = bytearray()

    async def receive_some(self, most: int) -> bytes:
        size = min(most, self._size)
        chunk, self._data = self._data[:size], self._data[size:]
        return chunk

    async def receive_into(self, buffer: memoryview) -> int:
        raise AssertionError("handshakes do not receive into a buffer")

    async def send_all(self, buffers: Sequence[Buffer]) -> None:
        for buffer in buffers:
            self.sent += buffer

    async def end_sending(self) -> None: ...
    async def abort_sending(self) -> None: ...
    async def end_receiving(self) -> None: ...


def _result_of(coroutine: Coroutine[Any, Any, bytes]) -> bytes | None:
    """Return the result of a handshake that does not wait; None if it is refused."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        rest: bytes = stop.value
        return rest
    except LinkError as error:
        check_error(error)
        return None
    raise AssertionError("the handshake waits")


def handshakes(data: bytes) -> None:
    """Do the handshake of a WebSocket, at either side.

    The first byte is the size of chunks, and the side.
    """
    if not data:
        return
    transport = _Script(data[1:], (data[0] & 0x7F) * 16 + 1)
    if data[0] > 127:
        rest = _result_of(client_handshake(transport, "ws://127.0.0.1:7000/roam"))
    else:
        origins = ["https://example.org"]
        rest = _result_of(accept_handshake(transport, "/roam", origins))
    require(rest is None or data.endswith(rest), "other bytes follow", rest)


def _handshakes() -> Iterator[bytes]:
    head = (
        b"Host: here\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        b"Sec-WebSocket-Version: 13\r\n"
    )
    yield b"\x7fGET /roam HTTP/1.1\r\n" + head + b"\r\nrest"
    yield b"\x01GET /other HTTP/1.1\r\n" + head + b"Origin: https://evil.org\r\n\r\n"
    yield b"\x03GET / HTTP/1.1\r\n\r\n"
    yield (
        b"\xffHTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
        b"Connection: Upgrade\r\nSec-WebSocket-Accept: "
        b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
    )
    yield b"\xffHTTP/1.1 403 Forbidden\r\n\r\n"


def foreign(data: bytes) -> None:
    """Name the protocol of a peer by its first bytes."""
    names: list[Callable[[], str | None]] = [
        *(lambda expected=each: named(data, expected) for each in Expected),
        lambda: named_payload(data),
        lambda: advice_on_hello(data),
    ]
    for name in names:
        told = name()
        require(told is None or (told.isprintable() and len(told) < 600), "text", told)
    unmistakable(data)


def _foreign() -> Iterator[bytes]:
    yield from (
        b"GET / HTTP/1.1\r\n",
        b"HTTP/1.1 400 Bad Request\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x00\xc5\x01\x00\x00\xc1\x03\x03",
        b"\x15\x03\x03\x00\x02\x02\x28",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\n",
        b"\r\n\r\n\x00\r\nQUIT\n",
        b"SSH-2.0-OpenSSH_9\r\n",
        b"*1\r\n$4\r\nPING\r\n",
        b"\x00\x00\x00\x08\x04\xd2\x16\x2f",
        b"\x10\x10\x00\x04MQTT",
        b"AMQP\x00\x00\x09\x01",
        b"220 mail ESMTP\r\n",
        "grüße\n".encode(),
        ClientHello().encode(),
        b"VOTH",
    )


STREAMS = (
    Target("framing", framing, _framed, 600),
    Target("websocket_frames", websocket_frames, _websocket_frames, 600),
    Target("handshakes", handshakes, _handshakes, 1024),
    Target("foreign", foreign, _foreign, 300),
)
