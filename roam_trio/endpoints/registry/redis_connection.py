"""A connection to Valkey or Redis by coredis, with which commands can fail quietly.

Needs the extra `registry`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from typing import Any, Final

import anyio
import trio
from anyio.abc import ByteStream
from coredis.connection import BaseConnection, TCPLocation, UnixDomainSocketLocation
from coredis.exceptions import ConnectionError as ConnectionFailed
from coredis.exceptions import ProtocolError, RedisError

from .redis_url import RedisRefusal, Whereabouts

__all__ = ["RedisConnection", "redis_connection"]

MOST_BYTES: Final = 16 * 1024 * 1024
"""Number of bytes that come for one command: 4096 entries of 4096 characters."""

_SUBSCRIBING_SECONDS: Final = 1.0
"""Time to wait for a channel. A user who may not subscribe gets no answer in it."""

_NO_CONNECTION: Final = (
    ConnectionFailed,
    anyio.BrokenResourceError,
    anyio.ClosedResourceError,
    anyio.EndOfStream,
)


class _Bounded(ByteStream):
    """A stream that fails when more comes than one command may cause."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self.room = MOST_BYTES

    async def receive(self, max_bytes: int = 65_536) -> bytes:
        data = await self._stream.receive(max_bytes)
        self.room -= len(data)
        if self.room < 0:
            # An error of coredis, since it logs others with a traceback.
            raise ProtocolError(f"more than {MOST_BYTES} bytes came for one command")
        return data

    async def send(self, item: bytes) -> None:
        await self._stream.send(item)

    async def send_eof(self) -> None:  # pragma: no cover - anyio asks for it
        await self._stream.send_eof()

    async def aclose(self) -> None:
        await self._stream.aclose()


class _OnStream(BaseConnection):
    """A connection of coredis on a stream that is open already.

    If coredis itself cannot connect, it leaves its buffers unclosed.
    """

    def __init__(self, stream: ByteStream, where: Whereabouts) -> None:
        super().__init__(
            UnixDomainSocketLocation(where.host)
            if where.port is None
            else TCPLocation(where.host, where.port),
            username=where.username,
            password=where.password,
            db=where.db,
        )
        self._connected = stream

    async def _connect(self) -> ByteStream:
        return self._connected

    def describe(self) -> str:  # pragma: no cover - coredis asks for it
        return f"<connection to {self.location}>"


class RedisConnection:
    """A connection that is logged in; `redis_connection` makes one.

    Args:
        stream: a stream to the server.
        where: how to log in.
        nursery: runs what it needs.
    """

    def __init__(
        self, stream: ByteStream, where: Whereabouts, nursery: trio.Nursery
    ) -> None:
        self._nursery = nursery
        self._stream = _Bounded(stream)
        self._coredis = _OnStream(self._stream, where)
        self._begun = trio.Event()
        self._error: RedisError | None = None
        self._listens = False
        self._is_lost = False
        self._news = trio.Event()

    async def run(self) -> None:
        """Run until the stream is closed or fails; never raises because of that.

        It is shielded, because coredis would take a cancellation for a failure, and
        because a server is withdrawn while everything is being cancelled.
        """
        try:
            with trio.CancelScope(shield=True):
                await self._coredis.run(task_status=self)
        except RedisError as error:
            self._error = error
        finally:
            self._begun.set()

    def started(self, value: None = None) -> None:
        """Take note that it is logged in; coredis calls it."""
        self._begun.set()

    async def log_in(self) -> None:
        """Wait until it is logged in.

        Raises:
            OSError: the server does not let this client in, or is not one of Redis.
        """
        await self._begun.wait()
        if self._error is not None:
            raise OSError(f"cannot log in: {self._error}") from self._error

    async def close(self) -> None:
        """Close the stream, which ends `run`."""
        with trio.CancelScope(shield=True):
            await self._stream.aclose()

    async def ask(self, command: str, *arguments: str | bytes | float) -> Any:
        """Send a command, and return the answer as it came.

        Raises:
            RedisRefusal: the answer is an error.
            OSError: the connection is lost.
        """
        self._stream.room = MOST_BYTES
        try:
            return await self._coredis.create_request(command.encode(), *arguments)
        except _NO_CONNECTION as error:
            raise OSError(f"the connection is lost: {error}") from error
        except RedisError as error:
            raise RedisRefusal(f"{command} has failed: {error}") from error

    async def heard(self, channel: bytes) -> None:
        """Wait for a message in a channel, since the last call.

        The first call subscribes, and returns when that is done. Without a right to
        subscribe, later calls wait until the connection is lost.

        Raises:
            OSError: the connection is lost.
        """
        if self._listens:
            await self._news.wait()
        else:
            try:
                self._coredis.send_command(b"SUBSCRIBE", channel)
            except _NO_CONNECTION as error:
                raise OSError(f"the connection is lost: {error}") from error
            self._listens = True
            self._nursery.start_soon(self._listen)
            # The answer to a further command would be taken for one to this.
            with trio.move_on_after(_SUBSCRIBING_SECONDS):
                await self._news.wait()
        if self._is_lost:
            raise OSError("the connection is lost")
        self._news = trio.Event()

    async def _listen(self) -> None:
        try:
            async with aclosing(self._coredis.push_messages) as messages:
                async for _ in messages:
                    self._news.set()
        except _NO_CONNECTION:
            self._is_lost = True
            self._news.set()


@asynccontextmanager
async def redis_connection(
    where: Whereabouts, seconds: float
) -> AsyncGenerator[RedisConnection]:
    """Have a connection for the length of a block.

    Args:
        where: where to, and how to log in.
        seconds: the time that connecting may take, and logging in.

    Raises:
        OSError: no connection can be made.
        trio.TooSlowError: it takes too long.
    """
    with trio.fail_after(seconds):
        stream = await _stream_to(where)
    failure: Exception | None = None
    async with trio.open_nursery() as nursery:
        connection = RedisConnection(stream, where, nursery)
        nursery.start_soon(connection.run)
        try:
            with trio.fail_after(seconds):
                await connection.log_in()
            yield connection
        except Exception as error:
            # Kept, as the nursery would put it into a group.
            failure = error
        finally:
            await connection.close()
            nursery.cancel_scope.cancel()
    try:
        if failure is not None:
            raise failure
    finally:
        del failure  # or the error and this frame would hold each other


async def _stream_to(where: Whereabouts) -> ByteStream:
    """Connect, with TLS if there is a context.

    Raises:
        OSError: the server cannot be reached, or TLS has failed.
    """
    if where.port is None:
        return await anyio.connect_unix(where.host)
    if where.ssl_context is None:
        return await anyio.connect_tcp(where.host, where.port)
    try:
        return await anyio.connect_tcp(
            where.host,
            where.port,
            ssl_context=where.ssl_context,
            tls_standard_compatible=False,  # no server of Redis says goodbye
        )
    except (anyio.BrokenResourceError, anyio.EndOfStream) as error:
        raise OSError(
            f"the connection was lost during the TLS handshake: {error}"
        ) from error
