"""The handshake: the first message of either side (`session.handshake`).

The deciding functions are synchronous: they look at the peer's message, and return
what was agreed or raise what is wrong with it.
"""

from __future__ import annotations

from typing import Final

import attrs

from ..conduits.base import ConduitRx, ConduitTx
from ..errors import (
    DecodeError,
    LocalProtocolError,
    RemoteProtocolError,
    SessionIoError,
    SessionProtocolError,
)
from ..limits import DEFAULT_LIMITS, Limits
from ..links.base import PayloadBound
from ..metadata import Metadata
from ..rpc.expected_service import (
    Expected,
    expected_in,
    offering,
    with_expected,
    without_schemas,
)
from ..rpc.handler import Handler
from ..wire.ids import ConnectionId
from ..wire.messages import (
    PROTOCOL_VERSION,
    ConnectionSettings,
    Hello,
    HelloYourself,
    Message,
    ProtocolError,
)
from .held_messages import check_metadata
from .refusal import Refusal, refusal_in
from .terms import said_in_handshake, taken_from_handshake
from .welcoming import Welcoming

__all__ = [
    "HandshakeResult",
    "accept",
    "bound_of_first",
    "check_hello",
    "check_hello_yourself",
    "initiate",
]


_BESIDE_METADATA: Final = 4096
"""Number of bytes of a first message without its metadata, with room to spare."""


@attrs.frozen
class HandshakeResult:
    """Outcome of a handshake for the root connection.

    Attributes:
        ours: the settings this side has told.
        theirs: the settings the peer has told.
        metadata: what the peer sent along.
        peer_knows: whether the peer knows what roam_trio adds to the protocol.
    """

    ours: ConnectionSettings
    theirs: ConnectionSettings
    metadata: Metadata
    peer_knows: bool = False


def bound_of_first(limits: Limits) -> PayloadBound:
    """Return the bound of payloads until the handshake is done: the first message, with
    as much metadata as it may have, is within it."""
    return _FIRST if limits is DEFAULT_LIMITS else _bound_of_first(limits)


def _bound_of_first(limits: Limits) -> PayloadBound:
    return PayloadBound(limits.metadata_bytes + _BESIDE_METADATA, "metadata_bytes")


_FIRST: Final = _bound_of_first(DEFAULT_LIMITS)


async def initiate(
    tx: ConduitTx[Message],
    rx: ConduitRx[Message],
    ours: ConnectionSettings,
    metadata: Metadata,
    *,
    strict: bool,
    extends: bool,
    most_metadata: int,
    expected: Expected | None = None,
) -> HandshakeResult:
    """Say Hello, and wait for the answer.

    Args:
        tx: sends it.
        rx: receives the answer.
        ours: the settings of this side.
        metadata: sent along.
        strict: see `initiator`.
        extends: also say that this side knows what roam_trio adds to the protocol.
        most_metadata: number of bytes of metadata that may come with the answer.
        expected: the service that is called on the root connection, if that is known;
            gets what the peer tells about its own.

    Raises:
        Refused, Unavailable: the peer has turned this side away.
        SessionProtocolError: the answer breaks the protocol, or is a ProtocolError.
        SessionIoError: the peer closed.
        LinkError, ConduitError: the conduit failed.
    """
    if extends:
        if expected is not None:
            metadata = with_expected(metadata, expected)
        metadata = said_in_handshake(metadata)
    (await tx.reserve()).send(
        Hello(ConnectionId.ROOT, PROTOCOL_VERSION, ours, metadata)
    )
    answer = await _first_message(rx, most_metadata)
    agreed = check_hello_yourself(answer, ours, strict=strict)
    if expected is None or not agreed.peer_knows:
        return agreed
    expected.note_answer(agreed.metadata)
    said = without_schemas(agreed.metadata)
    return HandshakeResult(ours, agreed.theirs, said, peer_knows=True)


async def accept(
    tx: ConduitTx[Message],
    rx: ConduitRx[Message],
    max_concurrent_requests: int,
    metadata: Metadata,
    *,
    strict: bool,
    extends: bool,
    most_metadata: int,
    schemas: bool = True,
    handler: Handler | None = None,
    welcoming: Welcoming | None = None,
) -> HandshakeResult:
    """Wait for Hello, and answer it, taking the parity that the initiator left.

    Args:
        tx: sends the answer.
        rx: receives the Hello.
        max_concurrent_requests: goes with the answer.
        metadata: goes with the answer.
        strict: refuse what peers of other implementations are known to do.
        extends: say that this side knows what roam_trio adds to the protocol.
        most_metadata: number of bytes of metadata that may come with the Hello.
        schemas: send the schema of what is offered to a peer that expects another.
        handler: answers calls on the root connection.
        welcoming: asks the application before the answer.

    Raises:
        Refused, Unavailable: the application refuses the session.
        SessionProtocolError, SessionIoError, LinkError, ConduitError: as `initiate`.
    """
    hello = check_hello(await _first_message(rx, most_metadata), strict=strict)
    said, peer_knows = taken_from_handshake(hello.metadata)
    expected = None
    if peer_knows and extends:
        expected = expected_in(said)
        said = said if expected is None else without_schemas(said)
        metadata = said_in_handshake(metadata)
    if welcoming is not None:
        await welcoming.ask(said)
        if expected is not None:
            handler = welcoming.handler_instead_of(handler)
    metadata = offering(metadata, expected, handler, schemas=schemas)
    ours = ConnectionSettings(hello.settings.parity.other(), max_concurrent_requests)
    (await tx.reserve()).send(HelloYourself(ConnectionId.ROOT, ours, metadata))
    return HandshakeResult(ours, hello.settings, said, peer_knows)


async def _first_message(rx: ConduitRx[Message], most_metadata: int) -> Message | None:
    """Receive a message, as ``rx.recv()``, with one coroutine less in memory."""
    payload = await rx.source.recv()
    if payload is None:
        return None
    try:
        message = rx.decode(payload)
    except DecodeError as error:
        rx.refuse(payload, error)
    # Some conduits carry messages, which have no length here.
    if payload is message or len(payload) > most_metadata:
        check_metadata(message, most_metadata)
    return message


def check_hello(message: Message | None, *, strict: bool) -> Hello:
    """Return the initiator's first message, if it is a good one."""
    if not isinstance(message, Hello):
        raise _instead_of("Hello", message)
    if message.version != PROTOCOL_VERSION:
        raise RemoteProtocolError(
            f"expected protocol version {PROTOCOL_VERSION}, got {message.version}"
        )
    _check_connection(message, strict=strict)
    return message


def check_hello_yourself(
    message: Message | None, ours: ConnectionSettings, *, strict: bool
) -> HandshakeResult:
    """Return what the acceptor's first message settles.

    Some acceptors always say Even, so the parity is checked only if `strict`: each
    side then allocates from a half of its own all the same if this side said Odd.
    """
    if not isinstance(message, HelloYourself):
        raise _instead_of("HelloYourself", message)
    _check_connection(message, strict=strict)
    if strict and message.settings.parity is not ours.parity.other():
        raise RemoteProtocolError(
            f"expected HelloYourself with parity {ours.parity.other().name.lower()}, "
            f"got {message.settings.parity.name.lower()}"
        )
    said, peer_knows = taken_from_handshake(message.metadata)
    return HandshakeResult(ours, message.settings, said, peer_knows)


def _check_connection(message: Hello | HelloYourself, *, strict: bool) -> None:
    if strict and message.connection_id != 0:
        raise RemoteProtocolError(
            f"expected {type(message).__name__} on connection 0, "
            f"got it on {message.connection_id}"
        )


def _instead_of(
    expected: str, message: Message | None
) -> SessionProtocolError | SessionIoError | Refusal:
    if message is None:
        told = f"the peer closed the link; expected its {expected}"
        if expected == "HelloYourself":
            told += "; is it a server of roam, and with TLS, or without, as this side?"
        return SessionIoError(told)
    if isinstance(message, ProtocolError):
        refusal = refusal_in(message) if expected == "HelloYourself" else None
        return refusal or LocalProtocolError(message.description)
    return RemoteProtocolError(
        f"expected {expected} as the first message, got {type(message).__name__}"
    )
