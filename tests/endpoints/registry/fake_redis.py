"""A server that speaks the protocol of Redis, and answers as a test says."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import TypeAlias

import trio

Answer: TypeAlias = bytes | None
"""What comes for a command, as it is sent. None closes the connection."""

HELLO = b"%3\r\n+version\r\n+7.0.0\r\n+proto\r\n:3\r\n+id\r\n:1\r\n"

ANSWERS: Mapping[str, Answer] = {
    "HELLO": HELLO,
    "SELECT": b"+OK\r\n",
    "TIME": b"*2\r\n$3\r\n100\r\n$6\r\n500000\r\n",
    "ZRANGEBYSCORE": b"*0\r\n",
    "ZADD": b":1\r\n",
    "ZREM": b":1\r\n",
    "ZREMRANGEBYSCORE": b":0\r\n",
    "EXPIRE": b":1\r\n",
    "PUBLISH": b":0\r\n",
    "SUBSCRIBE": b">3\r\n+subscribe\r\n+channel\r\n:1\r\n",
}
"""The answers of a server that works, and where nothing is registered."""


class FakeRedis:
    """A server; `commands` has what came, and `answers` can be set."""

    def __init__(self) -> None:
        self.answers = dict(ANSWERS)
        self.commands: list[list[str]] = []
        self.streams: list[trio.abc.Stream] = []

    async def serve(self, stream: trio.abc.Stream) -> None:
        self.streams.append(stream)
        buffer = bytearray()
        try:
            while True:
                command = await _next_command(stream, buffer)
                self.commands.append(command)
                answer = self.answers[command[0]]
                if answer is None:
                    return
                await stream.send_all(answer)
        except (trio.BrokenResourceError, trio.ClosedResourceError, EOFError):
            pass  # the client, or the test, has closed the connection
        finally:
            await trio.aclose_forcefully(stream)


async def _next_command(stream: trio.abc.Stream, buffer: bytearray) -> list[str]:
    count = int((await _line(stream, buffer))[1:])
    words = []
    for _ in range(count):
        size = int((await _line(stream, buffer))[1:])
        while len(buffer) < size + 2:
            await _more(stream, buffer)
        words.append(buffer[:size].decode())
        del buffer[: size + 2]
    return words


async def _line(stream: trio.abc.Stream, buffer: bytearray) -> bytes:
    while b"\r\n" not in buffer:
        await _more(stream, buffer)
    line, _, rest = bytes(buffer).partition(b"\r\n")
    buffer[:] = rest
    return line


async def _more(stream: trio.abc.Stream, buffer: bytearray) -> None:
    data = await stream.receive_some()
    if not data:
        raise EOFError
    buffer += data


@asynccontextmanager
async def fake_redis() -> AsyncIterator[tuple[FakeRedis, int]]:
    """Have a server at a port of loopback."""
    redis = FakeRedis()
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(
            partial(trio.serve_tcp, redis.serve, 0, host="127.0.0.1")
        )
        yield redis, listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()
