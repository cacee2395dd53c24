"""Finite bounds on what a peer can make this side hold, and for how long.

If a session ends because of a limit, its error names the field.
"""

from __future__ import annotations

from math import inf
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


def _seconds_or_ever(
    instance: object, attribute: attrs.Attribute[Any], value: object
) -> None:
    if value != inf:
        _seconds(instance, attribute, value)


def _rate(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    check_rate(f"Limits.{attribute.name}", value)


@attrs.frozen(kw_only=True)
class Limits:
    """Bounds of one session.

    The number of requests that a peer may have in flight is not among them: the peer is
    told that number, in `ConnectionSettings.max_concurrent_requests`.

    There are more than 15 attributes, as each bound can be set on its own, and one
    place has them all.

    Attributes:
        max_payload: length of the largest payload in either direction, in bytes, on the
            links that `connect` and `serve` make; at most 2**32 - 1. The length prefix
            is checked before any allocation. Other links have their own `StreamLimits`.
        max_unsent_bytes: number of bytes of committed payloads that such a link holds.
            Beyond it senders wait, and no operation fails.
        unsent_replies: number of messages of the kinds that cannot wait (credit,
            cancellations, pongs) that are held while the peer does not read. Beyond it
            the session ends.
        unsent_reply_bytes: encoded size of those messages, in bytes.
        request_bytes: number of bytes of the peer's unanswered requests on one
            connection, plus those of the responses that a proxy holds. Beyond it the
            session ends. Requests shorter than 2 KiB do not count, because
            `max_concurrent_requests` bounds their number.
        channels: number of open channels from the peer's calls on one connection.
        early_items: number of early messages on one connection: those for channels that
            no handler has bound yet.
        early_bytes: size of the early messages on all connections of the session
            together, in bytes: as encoded, or the memory of their metadata if that is
            more.
        unread_bytes: memory, in bytes, of the items on one connection that are not
            received yet: each counts its length and 64 bytes. Credit bounds the number
            of items.
        proxied_items: number of channel messages that a proxy holds for one connection
            while the peer there does not read them. Beyond it the proxy closes the two
            connections that it joins.
        proxied_bytes: size of those messages, in bytes, as that of early messages.
        connections: number of virtual connections that are open or being opened.
        pending_opens: number of the peer's opens that wait for the `ConnectionAcceptor`
            at a time. Further opens are rejected.
        connection_bytes: memory, in bytes, of the metadata with which the peer has
            opened or accepted the present virtual connections, undecided ones included.
            Beyond it connections are rejected, or closed.
        reserved_streams: number of descriptions and watches of the reserved services
            (``serve(reflection=True)``) that the peer may have under way at a time.
            Further ones are refused.
        metadata_bytes: encoded size of the metadata of one message, in bytes. Beyond it
            the session ends. Until the handshake is done, no payload may have more than
            4 KiB beyond that.
        call_metadata_bytes: memory, in bytes, of the metadata of the peer's unanswered
            calls on all connections of the session together. Beyond it new calls are
            refused. Up to 512 bytes of a call are not counted.
        session_bytes: memory, in bytes, of what the peer makes this side hold on all
            connections of the session together: arguments of calls (as large as they
            are when decoded), items, metadata, connections, channels, tasks, what waits
            until the peer reads it, and with ``resume`` the messages that it has not
            acknowledged. New calls and connections are refused from 7/8 of it; beyond
            it the session ends, but never for responses that wait. Values that could
            take more than twice as much when they are decoded are refused too.
        session_tasks: number of tasks for calls of the peer on all connections of the
            session together. Beyond it new calls are refused.
        lingering_tasks: number of handlers of one client (an identity, or an address
            without one) that go on after its sessions have ended, because they are
            shielded from cancellation. While there are more, a server lets new sessions
            of this client wait, for half of `handshake_seconds`, and then refuses them.
        unacknowledged_frames: with ``resume``, number of messages that are kept because
            the peer has not acknowledged them. Beyond it senders wait, and no operation
            fails. The session of a peer that sends on and acknowledges nothing ends at
            twice the number, or at 4096 beyond it if that is more.
        unacknowledged_bytes: size of those messages, in bytes.
        resume_seconds: with ``resume``, number of seconds that a server waits for a
            client that has lost its link. Then the session ends.
        lost_clients: number of such clients that a server waits for at a time. If there
            is one more, a session ends: first one without any work, then one of the
            address or identity that has the most lost clients, and of these the one
            that has worked for the shortest time.
        handshake_seconds: number of seconds that the handshake may take.
        payload_seconds: number of seconds that a payload may take for each MiB of it
            that has begun, once its first bytes have arrived, on the links that
            `connect` and `serve` make; may be infinite. Then the session ends, or with
            `resume` only the link, and the client may return.
        server_begun_bytes: number of bytes of payloads of more than 128 KiB that have
            begun and are not complete, at their announced lengths, for all sessions of
            a server together; one payload may have more. Beyond it, links of other
            payloads are not read: shorter ones go on first. While they wait, a payload
            must go on by 1 MiB in 5 seconds, or it is given up as with
            `payload_seconds`.
        close_seconds: number of seconds that a session may take at its end to write
            what was committed, and a proxy to deliver what arrived before one side
            ended.
        futile_messages: number of messages of one kind that a peer may send at once
            although they bring no work: pings; pongs; cancellations of calls that had
            begun less than a second before, or that were over; virtual connections that
            were rejected, or that the peer closed; resets of channels on which no item
            was under way; credit for no item; calls that were refused; messages for
            what is not open. Pongs and cancellations do not count as long as this side
            sends as many messages that are of use. Beyond it the session ends.
        futile_messages_per_second: number of messages of one kind that may come per
            second after that.
        idle_seconds: number of seconds for which a session may be idle: no message
            comes but pings and pongs, and nothing is in flight in either direction, no
            channel is open, and no connection is being opened. Then the session ends,
            at most an eighth of that time late. Infinite by default.
        longest_call: number of seconds that a call of the peer may take; infinite by
            default. Then its handler is cancelled, and the caller, if it still waits,
            gets `DeadlineExceeded`.
        warn_after: number of seconds that a call or an item may wait for what only the
            peer or this program can give (credit, room in the link, a slot below the
            peer's ``max_concurrent_requests``) before that is logged; infinite for
            never. It goes on waiting. The wait of a channel's end for a call to bind it
            has the limits of the session whose handler waits, and elsewhere the
            default ones.
        log_records: number of log records of one kind that a session may cause at once.
            Further records are counted, and the count is logged.
        log_records_per_second: number of log records of one kind that a session may
            cause per second after that.
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
    connection_bytes: int = attrs.field(default=16 * 1024 * 1024, validator=_count)
    reserved_streams: int = attrs.field(default=16, validator=_count)
    metadata_bytes: int = attrs.field(default=64 * 1024, validator=_count)
    call_metadata_bytes: int = attrs.field(default=16 * 1024 * 1024, validator=_count)
    session_bytes: int = attrs.field(default=512 * 1024 * 1024, validator=_count)
    session_tasks: int = attrs.field(default=4096, validator=_count)
    lingering_tasks: int = attrs.field(default=512, validator=_count)
    unacknowledged_frames: int = attrs.field(default=4096, validator=_count)
    unacknowledged_bytes: int = attrs.field(default=4 * 1024 * 1024, validator=_count)
    resume_seconds: float = attrs.field(default=60.0, validator=_seconds)
    lost_clients: int = attrs.field(default=256, validator=_count)
    handshake_seconds: float = attrs.field(default=10.0, validator=_seconds)
    server_begun_bytes: int = attrs.field(default=24 * 1024 * 1024, validator=_count)
    payload_seconds: float = attrs.field(default=60.0, validator=_seconds_or_ever)
    close_seconds: float = attrs.field(default=5.0, validator=_seconds)
    futile_messages: int = attrs.field(default=10_000, validator=_count)
    futile_messages_per_second: float = attrs.field(default=1000.0, validator=_rate)
    idle_seconds: float = attrs.field(default=inf, validator=_seconds_or_ever)
    longest_call: float = attrs.field(default=inf, validator=_seconds_or_ever)
    warn_after: float = attrs.field(default=5.0, validator=_seconds_or_ever)
    log_records: int = attrs.field(default=20, validator=_count)
    log_records_per_second: float = attrs.field(default=0.5, validator=_rate)
    server_log_records: int = attrs.field(default=100, validator=_count)
    server_log_records_per_second: float = attrs.field(default=2.0, validator=_rate)


DEFAULT_LIMITS = Limits()
