"""Finite bounds on what a peer can make this side hold, and for how long.

The error that ends a session because of a limit names the field.
"""

from __future__ import annotations

from typing import Any

import attrs

from .quantities import check_count, check_rate, check_seconds

__all__ = ["DEFAULT_LIMITS", "Limits"]


def _count(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    check_count(f"Limits.{attribute.name}", value)


def _length(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    check_count(f"Limits.{attribute.name}", value, most=2**32 - 1)


def _seconds(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    check_seconds(f"Limits.{attribute.name}", value)


def _rate(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    check_rate(f"Limits.{attribute.name}", value)


@attrs.frozen(kw_only=True)
class Limits:
    """Bounds of one session. How many requests a peer may have in flight is not here:
    it is told to the peer, in `ConnectionSettings.max_concurrent_requests`.

    Attributes:
        max_payload: the largest payload, in both directions, in bytes, of the links
            that `connect` and `serve` make. It is checked against the length prefix,
            before allocating; larger than 2**32 - 1 it cannot be. A link made otherwise
            has its own `StreamLimits`.
        max_unsent_bytes: how many bytes of committed payloads such a link holds before
            senders wait; nobody fails because of it.
        unsent_replies: how many messages of the kind that cannot wait (credit,
            cancellations, pongs) are held while the peer does not read; beyond, the
            session ends.
        unsent_reply_bytes: the same in bytes: the encoded size of those messages.
        request_bytes: how many bytes the peer's requests without a response may have on
            one connection, together with the responses to them that a proxy holds;
            beyond, the session ends. Requests shorter than 2 KiB do not count, since
            `max_concurrent_requests` bounds their number.
        channels: how many channels that the peer's calls have brought may be open at a
            time on one connection.
        early_items: how many channel messages of one connection are kept for channels
            that no handler has taken up yet.
        early_bytes: the same in bytes: the encoded size of those messages.
        unread_bytes: how many bytes of items may wait on the channels of one
            connection until they are received. Credit bounds their number.
        proxied_items: how many channel messages a proxy holds for one connection, as
            the peer there does not take them; beyond, the two that it joins are closed.
        proxied_bytes: the same in bytes, which count as those of `early_bytes` do.
        connections: how many virtual connections may be open, or about to be.
        pending_opens: how many virtual connections of the peer's may wait for the
            `ConnectionAcceptor` at a time; more are rejected.
        connection_bytes: how many bytes the messages may have in all by which the peer
            has opened or accepted the virtual connections that are open, or wait for
            the `ConnectionAcceptor`; beyond, connections are rejected, or closed.
        unacknowledged_frames: with ``resume``, how many messages that the peer has not
            acknowledged are kept, to be sent again; beyond, senders wait. Nobody fails
            because of it.
        unacknowledged_bytes: the same in bytes.
        resume_seconds: with ``resume``, how long a server waits for a client that has
            lost its link; then that session ends.
        lost_clients: how many such clients a server waits for at a time. When there is
            one more, the session of the one that was lost first ends.
        handshake_seconds: how long the peer may take to complete the handshake.
        close_seconds: how long the end of a session may take to send what is left, and
            a proxy to deliver what came before the end of one side.
        log_records: number of log records of one kind that a session may bring about
            at once. More are counted, and the count is logged.
        log_records_per_second: number of log records of one kind that it may bring
            about in a second from then on.
        server_log_records: as `log_records`, for all sessions of a server together.
        server_log_records_per_second: as `log_records_per_second`, for all sessions of
            a server together.
    """

    max_payload: int = attrs.field(default=16 * 1024 * 1024, validator=_length)
    max_unsent_bytes: int = attrs.field(default=1024 * 1024, validator=_count)
    unsent_replies: int = attrs.field(default=16_384, validator=_count)
    unsent_reply_bytes: int = attrs.field(default=64 * 1024 * 1024, validator=_count)
    request_bytes: int = attrs.field(default=1024 * 1024 * 1024, validator=_count)
    channels: int = attrs.field(default=4096, validator=_count)
    early_items: int = attrs.field(default=4096, validator=_count)
    early_bytes: int = attrs.field(default=16 * 1024 * 1024, validator=_count)
    unread_bytes: int = attrs.field(default=256 * 1024 * 1024, validator=_count)
    proxied_items: int = attrs.field(default=65_536, validator=_count)
    proxied_bytes: int = attrs.field(default=64 * 1024 * 1024, validator=_count)
    connections: int = attrs.field(default=4096, validator=_count)
    pending_opens: int = attrs.field(default=1024, validator=_count)
    connection_bytes: int = attrs.field(default=64 * 1024 * 1024, validator=_count)
    unacknowledged_frames: int = attrs.field(default=4096, validator=_count)
    unacknowledged_bytes: int = attrs.field(default=4 * 1024 * 1024, validator=_count)
    resume_seconds: float = attrs.field(default=60.0, validator=_seconds)
    lost_clients: int = attrs.field(default=256, validator=_count)
    handshake_seconds: float = attrs.field(default=10.0, validator=_seconds)
    close_seconds: float = attrs.field(default=5.0, validator=_seconds)
    log_records: int = attrs.field(default=20, validator=_count)
    log_records_per_second: float = attrs.field(default=0.5, validator=_rate)
    server_log_records: int = attrs.field(default=100, validator=_count)
    server_log_records_per_second: float = attrs.field(default=2.0, validator=_rate)


DEFAULT_LIMITS = Limits()
