"""Bounds on what a stable conduit holds, and on how long it waits."""

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
    """Bounds of stable conduits.

    Attributes:
        unacknowledged_frames: while this many messages are sent and not acknowledged,
            or have a permit, `reserve` waits.
        unacknowledged_bytes: the same in bytes. A permit counts as many as the message
            sent last had.
        max_payload: the longest payload of its links, in bytes. Numbers take up to 11
            of them in front of a message; a longer message is refused by the sender.
        acknowledge_frames: after this many messages without an answer, they are
            acknowledged by a frame made for that. A peer that allows for fewer under
            way has to wait for `acknowledge_seconds` each time.
        acknowledge_bytes: the same in bytes.
        acknowledge_seconds: about this long after a message has come without an
            answer, it is acknowledged by a frame made for that.
        handshake_seconds: how long the peer may take for its hello on a link.
        resume_seconds: how long a server waits for a client that has lost its link.
        lost_clients: how many such clients a server waits for at a time; when there is
            one more, the one that it has waited for the longest is given up.
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
