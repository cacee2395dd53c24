"""Bounds on what a resuming link holds, and on how long it waits."""

from __future__ import annotations

from typing import Any

import attrs

from ...quantities import check_count, check_seconds

__all__ = ["StableLimits"]


def _count(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    check_count(f"StableLimits.{attribute.name}", value)


def _seconds(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    check_seconds(f"StableLimits.{attribute.name}", value)


@attrs.frozen(kw_only=True)
class StableLimits:
    """Bounds of stable conduits, and of the resuming links below them.

    Attributes:
        unacknowledged_frames: number of unacknowledged messages and unused permits from
            which `reserve` waits. The fillers that acknowledge what the peer sends are
            kept as well, and do not wait: the resuming link fails if they exceed the
            limit by as many again, and by at least 4096.
        unacknowledged_bytes: number of bytes of unacknowledged messages from which
            `reserve` waits. A permit counts as the size of the last message.
        max_payload: length of the longest payload of its links, in bytes. The header in
            front of a message takes up to 11 of them. The sender refuses longer
            messages.
        acknowledge_frames: number of received messages after which a filler
            acknowledges them if no other frame has. A peer that allows fewer
            unacknowledged messages waits for `acknowledge_seconds` each time.
        acknowledge_bytes: number of received bytes after which a filler acknowledges
            them.
        acknowledge_seconds: approximate number of seconds after which a filler
            acknowledges a message.
        handshake_seconds: number of seconds that the peer's hello on a link may take.
        resume_seconds: number of seconds that a server waits for a client that has lost
            its link.
        lost_clients: number of such clients that a server waits for at a time. If there
            is one more, the server gives one up; see `LostClients`.
    """

    unacknowledged_frames: int = attrs.field(default=4096, validator=_count)
    unacknowledged_bytes: int = attrs.field(default=4 * 1024 * 1024, validator=_count)
    max_payload: int = attrs.field(default=16 * 1024 * 1024, validator=_count)
    acknowledge_frames: int = attrs.field(default=256, validator=_count)
    acknowledge_bytes: int = attrs.field(default=256 * 1024, validator=_count)
    acknowledge_seconds: float = attrs.field(default=0.1, validator=_seconds)
    handshake_seconds: float = attrs.field(default=10.0, validator=_seconds)
    resume_seconds: float = attrs.field(default=60.0, validator=_seconds)
    lost_clients: int = attrs.field(default=256, validator=_count)


DEFAULT_STABLE_LIMITS = StableLimits()
