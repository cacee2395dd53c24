"""The opening handshake of a WebSocket: one request, and one answer."""

from __future__ import annotations

import http
from collections.abc import Sequence
from typing import Final, cast

from websockets.client import ClientProtocol
from websockets.http11 import Request
from websockets.server import ServerProtocol
from websockets.typing import Origin
from websockets.uri import parse_uri

from ..errors import LinkError
from .transport import ByteTransport

__all__ = ["accept_handshake", "client_handshake"]

_LONGEST_HEAD: Final = 16 * 1024
"""How many bytes a request or an answer may have."""

_END_OF_HEAD: Final = b"\r\n\r\n"


async def client_handshake(transport: ByteTransport, url: str) -> bytes:
    """Ask for a WebSocket; returns what has come after the answer.

    Raises:
        LinkError: the server refuses, or is none of WebSockets.
        OSError, trio.BrokenResourceError: the connection broke.
    """
    protocol = ClientProtocol(parse_uri(url))
    protocol.send_request(protocol.connect())
    await transport.send_all(protocol.data_to_send())
    head, rest = await _receive_head(transport, "the server")
    status, _, _ = head.partition(b"\r\n")
    if status.split(b" ")[1:2] != [b"101"]:
        raise _failed(f"the server answered {status.decode('ascii', 'replace')!r}")
    protocol.receive_data(head)
    if protocol.handshake_exc is not None:
        raise _failed(str(protocol.handshake_exc)) from protocol.handshake_exc
    return rest


async def accept_handshake(
    transport: ByteTransport, path: str | None, origins: Sequence[str]
) -> bytes:
    """Answer a client that asks for a WebSocket; returns what has come after that.

    Raises:
        LinkError: the client was refused, or asks for something else.
        OSError, trio.BrokenResourceError: the connection broke.
    """
    protocol = ServerProtocol(origins=[None, *(Origin(each) for each in origins)])
    head, rest = await _receive_head(transport, "the client")
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
                f"the client asked for {request.path!r}, not {path!r}"
            )
        protocol.send_response(response)
    answer = [data for data in protocol.data_to_send() if data]
    await transport.send_all(answer)
    if failure is not None:
        await transport.end_sending()
        raise _failed(str(failure)) from failure
    return rest


async def _receive_head(transport: ByteTransport, of: str) -> tuple[bytes, bytes]:
    """Everything up to the empty line, and what has come after it."""
    received = bytearray()
    while (end := received.find(_END_OF_HEAD)) < 0:
        if len(received) >= _LONGEST_HEAD:
            raise _failed(f"{of} sent more than {_LONGEST_HEAD} bytes of a header")
        chunk = await transport.receive_some(_LONGEST_HEAD)
        if not chunk:
            raise _failed(f"{of} closed the connection after {len(received)} bytes")
        received += chunk
    end += len(_END_OF_HEAD)
    return bytes(received[:end]), bytes(received[end:])


def _failed(why: str) -> LinkError:
    return LinkError(f"the WebSocket handshake failed: {why}")
