"""The two hellos at the start of every link below a resuming link, 25 bytes each.

    offset  0   magic, 4 bytes: ROCH from the client, ROSH from the server
            4   flags, 1 byte
            5   resume key, 16 bytes, or zeros
           21   last received, 32 bits, little-endian, or zero

The client is the peer that opened the link; it sends its hello first.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

import attrs

from ...errors import DecodeError
from ...wire.backing import Backing

__all__ = ["HELLO_LENGTH", "KEY_LENGTH", "ClientHello", "ServerHello"]

HELLO_LENGTH: Final = 25
KEY_LENGTH: Final = 16

_LAYOUT = Struct("<4sB16sI")
_NO_KEY: Final = bytes(KEY_LENGTH)

_CLIENT_MAGIC: Final = b"ROCH"
_KEY_PRESENT: Final = 1

_SERVER_MAGIC: Final = b"ROSH"
_REJECTED: Final = 1

_LAST_RECEIVED_PRESENT: Final = 2


@attrs.frozen
class ClientHello:
    """First message of a client (`stable.handshake.client-hello`).

    Attributes:
        resume_key: the key of the session to resume; None for a new session.
        last_received: the number of the last frame that the client has received; None
            before the first.
    """

    resume_key: bytes | None = attrs.field(default=None, repr=False)
    last_received: int | None = None

    def encode(self) -> bytes:
        """Return the payload that encodes the hello."""
        key = self.resume_key
        flags = 0 if key is None else _KEY_PRESENT
        return _encode(_CLIENT_MAGIC, flags, key or _NO_KEY, self.last_received)

    @classmethod
    def decode(cls, payload: Backing) -> ClientHello:
        """Return the hello that `payload` encodes.

        Raises:
            DecodeError: it is not a hello.
        """
        flags, key, last_received = _decode(payload, _CLIENT_MAGIC, "ClientHello")
        if not flags & _KEY_PRESENT:
            _check_absent(key == _NO_KEY, "ClientHello", "resume_key")
            return cls(None, last_received)
        return cls(key, last_received)


@attrs.frozen
class ServerHello:
    """Answer of a server (`stable.handshake.server-hello`).

    Attributes:
        resume_key: the key that the client must present next time.
        last_received: the number of the last frame that the server has received; None
            before the first.
        rejected: whether the server does not know the session
            (`stable.reconnect.failure`). The other fields are then meaningless.
    """

    resume_key: bytes = attrs.field(default=_NO_KEY, repr=False)
    last_received: int | None = None
    rejected: bool = False

    def encode(self) -> bytes:
        """Return the payload that encodes the hello."""
        flags = _REJECTED if self.rejected else 0
        return _encode(_SERVER_MAGIC, flags, self.resume_key, self.last_received)

    @classmethod
    def decode(cls, payload: Backing) -> ServerHello:
        """Return the hello that `payload` encodes.

        Raises:
            DecodeError: it is not a hello.
        """
        flags, key, last_received = _decode(payload, _SERVER_MAGIC, "ServerHello")
        return cls(key, last_received, bool(flags & _REJECTED))


def _encode(magic: bytes, flags: int, key: bytes, last_received: int | None) -> bytes:
    if last_received is None:
        return _LAYOUT.pack(magic, flags, key, 0)
    return _LAYOUT.pack(magic, flags | _LAST_RECEIVED_PRESENT, key, last_received)


def _decode(payload: Backing, magic: bytes, name: str) -> tuple[int, bytes, int | None]:
    if len(payload) != HELLO_LENGTH:
        raise DecodeError(
            f"expected a {name} of {HELLO_LENGTH} bytes, got {len(payload)}"
        )
    came, flags, key, last_received = _LAYOUT.unpack(payload)
    if came != magic:
        raise DecodeError(
            f"expected a {name}, which starts with {magic!r}; {came!r} came"
        )
    if flags & ~3:
        raise DecodeError(f"expected flags from 0 to 3, got {flags}", f"$.{name}.flags")
    if flags & _LAST_RECEIVED_PRESENT:
        return flags, key, last_received
    _check_absent(last_received == 0, name, "last_received")
    return flags, key, None


def _check_absent(is_zero: bool, name: str, field: str) -> None:
    if not is_zero:
        raise DecodeError(
            "expected zeros, as the flags say that it is absent", f"$.{name}.{field}"
        )
