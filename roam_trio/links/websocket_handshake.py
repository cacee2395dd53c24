"""The opening handshake of a WebSocket: one request and one response."""

from __future__ import annotations

import http
import re
from collections.abc import Sequence
from contextlib import suppress
from typing import Final, cast

import trio
from websockets.client import ClientProtocol
from websockets.exceptions import InvalidOrigin, InvalidUpgrade
from websockets.http11 import Request
from websockets.server import ServerProtocol
from websockets.typing import Origin
from websockets.uri import parse_uri

from ..errors import ForeignProtocol, LinkError
from ..legible import legible, without_secrets
from ..logs import SILENT
from .byte_streams import ByteTransport
from .foreign import NAMED_UP_TO, Expected, named

__all__ = ["accept_handshake", "client_handshake"]

_CLIENT: Final = "the client"
_SERVER: Final = "the server"

_REQUEST_STARTS: Final = re.compile(rb"[A-Z-]{1,20}(?:\Z| (?:\Z|[/*]|[\w.-]+[:/]))")
_ANSWER_STARTS: Final = re.compile(rb"HTTP/1\.\d|(?:HTTP/1\.?|HTTP/?|HT?T?)\Z")

_BAD_REQUEST: Final = (
    b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
)

_QUOTED: Final = 60
_LONGEST_REASON: Final = 300
"""Maximum number of characters, partly from a peer, that an error contains."""

_LONGEST_HEAD: Final = 16 * 1024
"""Maximum number of bytes of a request or a response."""

_END_OF_HEAD: Final = b"\r\n\r\n"


async def client_handshake(transport: ByteTransport, url: str) -> bytes:
    """Do the handshake of a client; return the bytes after the response.

    Raises:
        LinkError: the server refuses, or is not a WebSocket server.
        OSError, trio.BrokenResourceError: the connection broke.
    """
    protocol = ClientProtocol(parse_uri(url), logger=SILENT)
    protocol.send_request(protocol.connect())
    await transport.send_all(protocol.data_to_send())
    head, rest = await _receive_head(transport, _SERVER)
    status, _, _ = head.partition(b"\r\n")
    if status.split(b" ")[1:2] != [b"101"]:
        raise _failed(
            f"the server answered {status[:_QUOTED].decode('latin-1')!a}, where "
            "101 was expected; check the port and the path, and for a 403 the server's "
            "origins="
        )
    protocol.receive_data(head)
    if protocol.handshake_exc is not None:
        raise _failed(str(protocol.handshake_exc)) from protocol.handshake_exc
    return rest


async def accept_handshake(
    transport: ByteTransport, path: str | None, origins: Sequence[str]
) -> bytes:
    """Do the handshake of a server; return the bytes after the request.

    Raises:
        LinkError: the client was refused, or requests something else.
        OSError, trio.BrokenResourceError: the connection broke.
    """
    protocol = ServerProtocol(
        origins=[None, *(Origin(each) for each in origins)], logger=SILENT
    )
    try:
        head, rest = await _receive_head(transport, _CLIENT)
    except ForeignProtocol:
        # The HTTP status for this case, which also informs a peer that speaks HTTP.
        with suppress(OSError, trio.BrokenResourceError):
            await transport.send_all([_BAD_REQUEST])
            await transport.end_sending()
        raise
    protocol.receive_data(head)
    failure = protocol.handshake_exc
    if failure is None:
        (event,) = protocol.events_received()
        request = cast("Request", event)
        if path is None or request.path == path:
            response = protocol.accept(request)
            failure = protocol.handshake_exc
        else:
            response = protocol.reject(
                http.HTTPStatus.NOT_FOUND, f"There is nothing at {request.path}.\n"
            )
            failure = LookupError(
                f"the client asked for {without_secrets(request.path)!r}, "
                f"not {without_secrets(path)!r}"
            )
        protocol.send_response(response)
    answer = [data for data in protocol.data_to_send() if data]
    await transport.send_all(answer)
    if failure is not None:
        await transport.end_sending()
        raise _failed(_why_refused(failure)) from failure
    return rest


def _why_refused(failure: Exception) -> str:
    match failure:
        case InvalidOrigin():
            return (
                f"{_cut(str(failure))}; to let pages of this origin connect, name it "
                "in origins="
            )
        case InvalidUpgrade():
            return (
                f"the client asks by HTTP for something else than a WebSocket "
                f"({_cut(str(failure))}); a browser's address line or a health check "
                "does so"
            )
        case _:
            return _cut(str(failure))


def _cut(text: str) -> str:
    """Return a text that is partly from a peer, on one line and cut."""
    shown = ascii(text)[1:-1]
    return shown if len(shown) <= _LONGEST_REASON else f"{shown[:_LONGEST_REASON]} …"


async def _receive_head(transport: ByteTransport, of: str) -> tuple[bytes, bytes]:
    """Return everything up to the empty line, and the bytes after it."""
    received = bytearray()
    while (end := received.find(_END_OF_HEAD)) < 0:
        if len(received) >= _LONGEST_HEAD:
            raise _failed(f"{of} sent more than {_LONGEST_HEAD} bytes of a header")
        chunk = await transport.receive_some(_LONGEST_HEAD)
        if not chunk:
            raise _failed(
                f"{of} closed the connection after {len(received)} bytes; does it "
                "speak WebSocket at this port?"
            )
        received += chunk
        _check_speaks_http(received, of)
    end += len(_END_OF_HEAD)
    return bytes(received[:end]), bytes(received[end:])


def _check_speaks_http(received: bytearray, of: str) -> None:
    """Refuse a peer of another protocol at once, because it may wait for an answer.

    Raises:
        ForeignProtocol: the peer speaks another protocol.
    """
    first = bytes(received[:NAMED_UP_TO])
    if (told := named(first, Expected.WEBSOCKET)) is not None:
        raise ForeignProtocol(told)
    starts = _REQUEST_STARTS if of == _CLIENT else _ANSWER_STARTS
    if first and not starts.match(first):
        what = "a request" if of == _CLIENT else "an answer"
        raise ForeignProtocol(
            f"expected {what} of WebSocket's handshake, but {of} speaks neither HTTP "
            "nor another protocol that is known; check the port"
        )


def _failed(why: str) -> LinkError:
    return LinkError(f"the WebSocket handshake failed: {legible(why, 1000)}")
