"""The floor: what a trio program does that is written by hand for just this work.

Frames with a length of four bytes in front, and nothing else: answers come in the order
of the questions, so there are no ids; the first frame of a connection names the work,
so nothing is dispatched after it; nothing can be cancelled.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from struct import Struct
from typing import ClassVar, Protocol

import msgspec
import trio

from .base import (
    ADDEND,
    IN_FLIGHT,
    Adapter,
    Client,
    Receipt,
    Row,
    WrongAnswer,
    check_echo,
    check_sum,
    mix,
)
from .loops import Beside, beside_in_trio, run_trio
from .record import Record, record_of, row_of

__all__ = ["ByteStream", "FloorAdapter", "FloorClient", "serve_stream"]

_LENGTH = Struct("<I")
_TWO_U32 = Struct("<II")
_QUESTION = Struct("<III")  # a frame: its length, the two numbers to add
_ANSWER = Struct("<II")  # a frame: its length, the sum
_U64 = Struct("<Q")
_ITEM = Struct("<IQ")  # a frame: its length, the item
_RECEIPT = Struct("<QQ")

_READ = 64 * 1024
_ITEMS_PER_WRITE = 64


class ByteStream(Protocol):
    """What the floor needs of a stream: one of trio's, or of any other loop."""

    async def send_all(self, data: bytes, /) -> None: ...
    async def receive_some(self, max_bytes: int, /) -> bytes | bytearray: ...
    async def aclose(self) -> None: ...


class FrameReader:
    """Cuts a stream into frames."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._buffer = bytearray()

    async def read(self) -> list[bytes]:
        """All the frames that are here, at least one; none at the end of the stream."""
        while True:
            frames, missing = self._cut()
            if frames:
                return frames
            if missing > _READ:
                return [await self._read_large(missing)]
            chunk = await self._stream.receive_some(_READ)
            if not chunk:
                return []
            self._buffer += chunk

    async def read_one(self) -> bytes:
        """The one frame that is expected."""
        frames = await self.read()
        if len(frames) != 1:
            raise WrongAnswer(f"expected one frame, got {len(frames)}")
        return frames[0]

    async def _read_large(self, missing: int) -> bytes:
        """The frame that starts in the buffer, without growing the buffer for it."""
        chunks: list[bytes | bytearray] = [self._buffer[4:]]
        self._buffer.clear()
        while missing:
            chunk = await self._stream.receive_some(missing)
            if not chunk:
                raise WrongAnswer("the stream ended inside a frame")
            chunks.append(chunk)
            missing -= len(chunk)
        return b"".join(chunks)

    def _cut(self) -> tuple[list[bytes], int]:
        """The whole frames in the buffer, and how much is missing of the next."""
        frames: list[bytes] = []
        start = 0
        missing = 0
        end = len(self._buffer)
        with memoryview(self._buffer) as view:
            while end - start >= 4:
                (length,) = _LENGTH.unpack_from(view, start)
                stop = start + 4 + length
                if stop > end:
                    missing = stop - end
                    break
                frames.append(bytes(view[start + 4 : stop]))
                start = stop
        if start:
            del self._buffer[:start]
        return frames, missing


def _frame(body: bytes) -> bytes:
    return _LENGTH.pack(len(body)) + body


# ------------------------------------------------------------ the server


async def serve_stream(stream: ByteStream) -> None:
    """Serve one connection, to its end."""
    try:
        reader = FrameReader(stream)
        work = await reader.read_one()
        await stream.send_all(_frame(b""))
        await _SERVERS[work](stream, reader)
    finally:
        await stream.aclose()


async def _add(stream: ByteStream, reader: FrameReader) -> None:
    while frames := await reader.read():
        answers: list[bytes] = []
        for frame in frames:
            left, right = _TWO_U32.unpack(frame)
            answers.append(_ANSWER.pack(4, left + right))
        await stream.send_all(b"".join(answers))


async def _take_items(stream: ByteStream, reader: FrameReader) -> None:
    """Items up to an empty frame, which is answered with the receipt; and again."""
    count = checksum = 0
    while frames := await reader.read():
        for frame in frames:
            if frame:
                (item,) = _U64.unpack(frame)
                count += 1
                checksum = mix(checksum, item)
            else:
                await stream.send_all(_frame(_RECEIPT.pack(count, checksum)))
                count = checksum = 0


async def _echo(stream: ByteStream, reader: FrameReader) -> None:
    while frames := await reader.read():
        for frame in frames:
            await stream.send_all(_frame(frame))


async def _send_items(stream: ByteStream, reader: FrameReader) -> None:
    """As many as each frame asks for."""
    while frames := await reader.read():
        for frame in frames:
            (count,) = _U64.unpack(frame)
            await _write_items(stream, count)


async def _return_items(stream: ByteStream, reader: FrameReader) -> None:
    """All that one read brought, in one write; the empty frame at the end as well."""
    while frames := await reader.read():
        answers = [
            _ITEM.pack(8, *_U64.unpack(frame)) if frame else _frame(b"")
            for frame in frames
        ]
        await stream.send_all(b"".join(answers))


async def _swap(stream: ByteStream, reader: FrameReader) -> None:
    while frames := await reader.read():
        for frame in frames:
            records = _decode_records(frame)
            await stream.send_all(_frame(_encode_records(records)))


_encode_records = msgspec.msgpack.Encoder().encode
_decode_records = msgspec.msgpack.Decoder(list[Record]).decode


async def _write_items(stream: ByteStream, count: int) -> None:
    for first in range(0, count, _ITEMS_PER_WRITE):
        numbers = range(first, min(first + _ITEMS_PER_WRITE, count))
        await stream.send_all(b"".join([_ITEM.pack(8, n) for n in numbers]))


_SERVERS: dict[bytes, Callable[[ByteStream, FrameReader], Awaitable[None]]] = {
    b"add": _add,
    b"items": _take_items,
    b"items back": _send_items,
    b"items both": _return_items,
    b"echo": _echo,
    b"swap": _swap,
}


# ------------------------------------------------------------ the client


class FloorClient(Client):
    """Does each work on a connection of its own, which its first use opens.

    Args:
        open_stream: connects to the server.
        beside: does two things at once.
    """

    def __init__(
        self,
        open_stream: Callable[[], Awaitable[ByteStream]],
        beside: Beside = beside_in_trio,
    ) -> None:
        self._open_stream = open_stream
        self._beside = beside
        self._streams: dict[bytes, tuple[ByteStream, FrameReader]] = {}

    async def _stream_for(self, work: bytes) -> tuple[ByteStream, FrameReader]:
        if work not in self._streams:
            stream = await self._open_stream()
            await stream.send_all(_frame(work))
            reader = FrameReader(stream)
            await reader.read_one()  # the server is ready
            self._streams[work] = stream, reader
        return self._streams[work]

    async def calls(self, count: int, *, can_wait: bool) -> None:
        stream, reader = await self._stream_for(b"add")
        for number in range(count):
            await stream.send_all(_QUESTION.pack(8, number, ADDEND))
            check_sum(*_LENGTH.unpack(await reader.read_one()), number)

    async def calls_in_flight(self, count: int, *, can_wait: bool) -> None:
        stream, reader = await self._stream_for(b"add")
        asked = answered = 0
        while answered < count:
            ask_to = min(answered + IN_FLIGHT, count)
            if ask_to > asked:
                questions = [
                    _QUESTION.pack(8, number, ADDEND) for number in range(asked, ask_to)
                ]
                await stream.send_all(b"".join(questions))
                asked = ask_to
            frames = await reader.read()
            if not 0 < len(frames) <= asked - answered:
                raise WrongAnswer(f"{len(frames)} answers to {asked - answered} calls")
            for frame in frames:
                check_sum(*_LENGTH.unpack(frame), answered)
                answered += 1

    async def items(self, count: int, credit: int) -> Receipt:
        stream, reader = await self._stream_for(b"items")
        await _write_items(stream, count)
        await stream.send_all(_frame(b""))
        return Receipt(*_RECEIPT.unpack(await reader.read_one()))

    async def items_many(self, count: int, credit: int) -> Receipt:
        return await self.items(count, credit)  # which are 64 in one write already

    async def items_back(self, count: int, credit: int) -> Receipt:
        stream, reader = await self._stream_for(b"items back")
        await stream.send_all(_frame(_U64.pack(count)))
        received = checksum = 0
        while received < count:
            for frame in await _some_of(reader):
                (item,) = _U64.unpack(frame)
                received += 1
                checksum = mix(checksum, item)
        return Receipt(received, checksum)

    async def items_both(self, count: int, credit: int) -> Receipt:
        stream, reader = await self._stream_for(b"items both")
        received = checksum = 0

        async def send() -> None:
            await _write_items(stream, count)
            await stream.send_all(_frame(b""))

        async def receive() -> None:
            nonlocal received, checksum
            while True:
                for frame in await _some_of(reader):
                    if not frame:
                        return
                    (item,) = _U64.unpack(frame)
                    received += 1
                    checksum = mix(checksum, item)

        await self._beside(send, receive)
        return Receipt(received, checksum)

    async def echoes(self, blocks: Sequence[bytes], count: int) -> None:
        stream, reader = await self._stream_for(b"echo")
        for turn in range(count):
            block = blocks[turn % len(blocks)]
            await stream.send_all(_frame(block))
            check_echo(await reader.read_one(), block, turn)

    def records_of(self, rows: Sequence[Row]) -> list[Record]:
        return [record_of(row) for row in rows]

    async def swap(self, records: object) -> list[Record]:
        stream, reader = await self._stream_for(b"swap")
        await stream.send_all(_frame(_encode_records(records)))
        return _decode_records(await reader.read_one())

    def rows_of(self, answer: object) -> Sequence[Row]:
        assert isinstance(answer, list)
        return [row_of(record) for record in answer]

    async def aclose(self) -> None:
        """Close its connections."""
        for stream, _ in self._streams.values():
            await stream.aclose()


async def _some_of(reader: FrameReader) -> list[bytes]:
    frames = await reader.read()
    if not frames:
        raise WrongAnswer("the stream ended before the items did")
    return frames


# ------------------------------------------------------------ both, over TCP


class FloorAdapter(Adapter):
    """The floor, over TCP on loopback; trio sets TCP_NODELAY on every SocketStream."""

    name: ClassVar[str] = "floor"
    packages: ClassVar[Sequence[str]] = ("trio", "msgspec")

    def serve(self, started: Callable[[str], None]) -> None:
        async def run() -> None:
            listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
            port: int = listeners[0].socket.getsockname()[1]
            started(str(port))
            await trio.serve_listeners(serve_stream, listeners)

        trio.run(run)

    @asynccontextmanager
    async def connect(self, address: str) -> AsyncIterator[Client]:
        async def open_stream() -> trio.abc.Stream:
            return await trio.open_tcp_stream("127.0.0.1", int(address))

        client = FloorClient(open_stream)
        try:
            yield client
        finally:
            await client.aclose()

    run = staticmethod(run_trio)
