"""What a peer can make this side hold, and for how long: one object, all of it finite.

The error that ends a session because of a limit names the field.
"""

from __future__ import annotations

from typing import Any

import attrs

__all__ = ["DEFAULT_LIMITS", "Limits"]


def _positive(instance: object, attribute: attrs.Attribute[Any], value: float) -> None:
    if not value > 0:
        raise ValueError(f"Limits.{attribute.name}: expected more than 0, got {value}")


@attrs.frozen(kw_only=True)
class Limits:
    """Bounds of one session. How many requests a peer may have in flight is not here:
    it is told to the peer, in `ConnectionSettings.max_concurrent_requests`.

    Attributes:
        max_payload: the largest payload of a stream link, in both directions, in
            bytes. It is checked against the length prefix, before allocating.
        max_unsent_bytes: how many bytes of committed payloads a stream link holds
            before senders wait; nobody fails because of it.
        unsent_replies: how many messages of the kind that cannot wait (credit,
            cancellations, pongs) are held while the peer does not read; beyond, the
            session ends.
        channels: how many channels of one connection may be open at a time.
        early_items: how many channel messages of one connection are kept for channels
            that no handler has taken up yet.
        early_bytes: the same in bytes of items.
        proxied_items: how many channel messages a proxy holds for one connection, as
            the peer there does not take them; beyond, the two that it joins are closed.
        proxied_bytes: the same in bytes of items.
        connections: how many virtual connections may be open, or about to be.
        pending_opens: how many virtual connections of the peer's may wait for the
            `ConnectionAcceptor` at a time; more are rejected.
        handshake_seconds: how long the peer may take to complete the handshake.
        close_seconds: how long the end of a session may take to send what is left, and
            a proxy to deliver what came before the end of one side.
    """

    max_payload: int = attrs.field(default=16 * 1024 * 1024, validator=_positive)
    max_unsent_bytes: int = attrs.field(default=1024 * 1024, validator=_positive)
    unsent_replies: int = attrs.field(default=16_384, validator=_positive)
    channels: int = attrs.field(default=4096, validator=_positive)
    early_items: int = attrs.field(default=4096, validator=_positive)
    early_bytes: int = attrs.field(default=16 * 1024 * 1024, validator=_positive)
    proxied_items: int = attrs.field(default=65_536, validator=_positive)
    proxied_bytes: int = attrs.field(default=64 * 1024 * 1024, validator=_positive)
    connections: int = attrs.field(default=4096, validator=_positive)
    pending_opens: int = attrs.field(default=1024, validator=_positive)
    handshake_seconds: float = attrs.field(default=10.0, validator=_positive)
    close_seconds: float = attrs.field(default=5.0, validator=_positive)


DEFAULT_LIMITS = Limits()
