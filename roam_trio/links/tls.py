"""Links over TLS.

TLS 1.3, and TLS 1.2 in OpenSSL, support half-close: each side announces the end of its
data, and may still receive. `trio.SSLStream` closes both directions at once, so it
could lose data of either side. This module therefore uses the TLS of the standard
library directly, on the transport below.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, TypeVar, cast

import trio
from trio.lowlevel import checkpoint

from ..errors import ForeignProtocol
from ..peers import Certificate, Peer
from .base import Buffer
from .byte_streams import ByteTransport, SocketTransport
from .foreign import NAMED_UP_TO, Expected, named
from .sockets import open_tcp, take_socket
from .stream import StreamLimits, StreamLink

__all__ = [
    "TlsByteTransport",
    "accept_tls",
    "connect_tls",
    "tls_to_client",
    "tls_to_server",
]

T = TypeVar("T")

_RECEIVED_AT_ONCE: Final = 64 * 1024

_MORE_HAS_TO_COME: Final = (
    ssl.SSLWantReadError,
    ssl.SSLZeroReturnError,
    ssl.SSLEOFError,
)
"""Errors of reading when there is nothing left to decrypt; reading again repeats them.
"""

_PROTOCOL_VERSION_ALERT: Final = b"\x15\x03\x03\x00\x02\x02\x46"

_ENDS: Final = (ssl.SSLEOFError, ssl.SSLZeroReturnError)
"""Errors of the handshake that mean that the peer has closed the connection."""

_WRITTEN_AT_ONCE: Final = 64 * 1024
"""Number of bytes that are encrypted before they are written."""


async def connect_tls(
    host: str,
    port: int,
    *,
    ssl_context: ssl.SSLContext | None = None,
    limits: StreamLimits | None = None,
) -> StreamLink:
    """Connect to a server over TLS, and verify its certificate.

    Args:
        host: name or address of the server, for which its certificate must be valid.
        port: its port.
        ssl_context: trusted certificates and other options; None means
            `ssl.create_default_context`.
        limits: bounds of the link.

    Raises:
        OSError: no address of the host accepts the connection, or, as `ssl.SSLError`,
            TLS failed.
    """
    transport = await tls_to_server(host, port, ssl_context)
    return StreamLink.over(transport, limits=limits)


async def accept_tls(
    stream: trio.SocketStream,
    ssl_context: ssl.SSLContext,
    *,
    limits: StreamLimits | None = None,
) -> StreamLink:
    """Make a link of a connection that a listener has accepted.

    Takes the socket out of `stream`. If it fails or is cancelled, the connection is
    closed.

    Args:
        stream: the connection.
        ssl_context: has the server's certificate.
        limits: what the link may hold.

    Raises:
        OSError: TLS failed, as `ssl.SSLError`, or the client is gone.
    """
    transport = await tls_to_client(stream, ssl_context)
    return StreamLink.over(transport, limits=limits)


async def tls_to_server(
    host: str, port: int, ssl_context: ssl.SSLContext | None
) -> TlsByteTransport:
    """Return the transport of `connect_tls`."""
    context = ssl_context or ssl.create_default_context()
    below = SocketTransport(await open_tcp(host, port))
    return await _shake_hands(TlsByteTransport(below, context, server_hostname=host))


async def tls_to_client(
    stream: trio.SocketStream, ssl_context: ssl.SSLContext
) -> TlsByteTransport:
    """Return the transport of `accept_tls`."""
    below = SocketTransport(take_socket(stream))
    return await _shake_hands(TlsByteTransport(below, ssl_context, server_side=True))


async def _shake_hands(transport: TlsByteTransport) -> TlsByteTransport:
    try:
        await transport.shake_hands()
    except BaseException:
        await transport.abort_sending()
        await transport.end_receiving()
        raise
    return transport


class TlsByteTransport(ByteTransport):
    """TLS on any other transport.

    Args:
        below: the transport of the encrypted bytes, which this transport owns.
        context: certificates, trusted certificates and other options.
        server_side: whether this is the server's side.
        server_hostname: the name of the server, on the client's side.
    """

    def __init__(
        self,
        below: ByteTransport,
        context: ssl.SSLContext,
        *,
        server_side: bool = False,
        server_hostname: str | None = None,
    ) -> None:
        self._below = below
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming,
            self._outgoing,
            server_side=server_side,
            server_hostname=server_hostname,
        )
        # The stubs declare that it always returns the bytes read.
        self._read_into = cast("Callable[[int, memoryview], int]", self._tls.read)
        self._damage: ssl.SSLError | None = None
        self._kept = bytearray()  # decrypted, when sending ended
        self._first: bytes | None = b""  # what came first, until the handshake is over

    def peer(self) -> Peer:
        peer = self._below.peer()
        peer.transport = "tls"
        # Empty if it was not verified, and None if there is none.
        if fields := self._tls.getpeercert():
            der = self._tls.getpeercert(binary_form=True)
            peer.certificate = Certificate(fields, der or b"")
        return peer

    async def shake_hands(self) -> None:
        """Do the handshake of TLS, before anything else.

        Raises:
            ssl.SSLError: the peer was not accepted, or did not accept this side, or
                closed the connection.
            ForeignProtocol: the peer does not speak TLS.
            OSError, trio.BrokenResourceError: the transport below failed.
        """
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                await self._feed()
            except ssl.SSLError as error:
                with suppress(OSError, trio.BrokenResourceError):
                    await self._tell_peer()
                self._explain(error)
                raise
            else:
                self._first = None
                return await self._flush()

    async def _tell_peer(self) -> None:
        """Tell the peer why the handshake failed.

        OpenSSL makes no alert for a peer whose first bytes are not of TLS. Send one
        nevertheless, because the peer may recognise it.
        """
        if (
            self._first
            and self._tls.server_side
            and not self._outgoing.pending
            and named(self._first, Expected.TLS) is not None
        ):
            await self._below.send_all([_PROTOCOL_VERSION_ALERT])
        await self._flush()

    def _explain(self, error: ssl.SSLError) -> None:
        """Add the protocol of a peer that does not speak TLS to an error."""
        assert self._first is not None
        if (told := named(self._first, Expected.TLS)) is not None:
            raise ForeignProtocol(told) from error
        if self._tls.server_side and error.reason == "NO_SHARED_CIPHER":
            error.strerror = (
                f"{error.strerror}; the ssl_context may have no certificate: load one "
                "with load_cert_chain()"
            )
        if not self._first and isinstance(error, _ENDS):
            error.strerror = (
                "the peer closed the connection before it sent anything; does it "
                "speak TLS at this port? it also needs a URL with tls:// or wss://"
            )

    async def receive_some(self, most: int) -> bytes:
        await checkpoint()
        return await self._decrypted_by(lambda: self._decrypt(most), b"")

    async def receive_into(self, buffer: memoryview) -> int:
        await checkpoint()
        return await self._decrypted_by(lambda: self._decrypt_into(buffer), 0)

    async def _decrypted_by(self, decrypt: Callable[[], T], at_end: T) -> T:
        while True:
            try:
                return decrypt()
            except ssl.SSLWantReadError:
                await self._feed()
            except ssl.SSLZeroReturnError:
                return at_end
            except ssl.SSLEOFError as error:
                raise trio.BrokenResourceError(
                    "the peer closed the connection without an end of TLS"
                ) from error

    def _decrypt(self, most: int) -> bytes:
        decrypted = bytearray(self._kept[:most])
        del self._kept[:most]
        if not decrypted:
            self._raise_damage()
            decrypted += self._tls.read(most)
        try:
            # One read returns one record, so continue while there are more.
            while decrypted and len(decrypted) < most:
                more = self._tls.read(most - len(decrypted))
                if not more:
                    break
                decrypted += more
        except _MORE_HAS_TO_COME:
            pass
        except ssl.SSLError as error:
            self._damage = error  # data received before is delivered first
        return bytes(decrypted)

    def _raise_damage(self) -> None:
        if self._damage is not None:
            raise self._damage

    def _decrypt_into(self, buffer: memoryview) -> int:
        if self._kept:
            count = min(len(buffer), len(self._kept))
            buffer[:count] = self._kept[:count]
            del self._kept[:count]
            return count
        self._raise_damage()
        return self._read_into(len(buffer), buffer)

    async def _feed(self) -> None:
        received = await self._below.receive_some(_RECEIVED_AT_ONCE)
        if received:
            if self._first is not None and len(self._first) < NAMED_UP_TO:
                self._first += received[:NAMED_UP_TO]
            self._incoming.write(received)
        else:
            self._incoming.write_eof()

    async def send_all(self, buffers: Sequence[Buffer]) -> None:
        for buffer in buffers:
            with memoryview(buffer) as view:
                for first in range(0, len(view), _WRITTEN_AT_ONCE):
                    self._encrypt(view[first : first + _WRITTEN_AT_ONCE])
                    await self._flush()

    @property
    def parts(self) -> int:
        return self._below.parts

    def _encrypt(self, view: memoryview) -> None:
        written = 0
        while written < len(view):
            try:
                written += self._tls.write(view[written:])
            except ssl.SSLWantReadError:
                raise trio.BrokenResourceError(
                    "the peer wants to negotiate TLS again in the middle of a message, "
                    "which is not supported"
                ) from None

    async def _flush(self) -> None:
        # Only sending does this, so replies that receiving causes, such as an answer to
        # new keys, are sent with the next payload.
        if self._outgoing.pending:
            await self._below.send_all([self._outgoing.read()])

    async def end_sending(self) -> None:
        self._keep_what_has_come()
        with suppress(
            ssl.SSLError
        ):  # it waits for the peer's end, which may come later
            self._tls.unwrap()
        with suppress(OSError, trio.BrokenResourceError):  # no peer is left
            await self._flush()
        await self._below.end_sending()

    def _keep_what_has_come(self) -> None:
        # Ending fails while there is data to decrypt, so decrypt it first; there is not
        # much.
        with suppress(ssl.SSLError):
            while chunk := self._tls.read(_RECEIVED_AT_ONCE):
                self._kept += chunk

    async def abort_sending(self) -> None:
        await self._below.abort_sending()

    async def end_receiving(self) -> None:
        await self._below.end_receiving()
