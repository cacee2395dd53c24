"""Sequence numbers and acknowledgements of two peers, independent of their links.

This module does no I/O and does not wait. `Exchange` interprets received frames,
determines what to send on a new link, and checks what a peer claims to have received.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Final, cast

from ...errors import DecodeError
from ...wire.backing import Backing
from .replay import Body, LongBody, ReplayBuffer
from .sequence import (
    CONTINUED,
    HALF,
    MASK,
    read_header,
    rest_and_ack,
    rest_of,
    write_header,
    write_headers,
)

__all__ = ["Exchange"]

_BORROW_FROM: Final = 2048
"""Size of a message, in bytes, from which it is a view of its frame and not a copy."""


class Exchange:
    """Both directions of a resuming link, each with its own sequence numbers.

    Args:
        first_sent: the number of the first frame to send; not 0 only in tests.
        first_received: the number of the first frame to receive; not 0 only in tests.
    """

    __slots__ = (
        "_acknowledged",
        "_expected",
        "has_received",
        "owed",
        "owed_bytes",
        "replay",
    )

    def __init__(self, *, first_sent: int = 0, first_received: int = 0) -> None:
        self.replay = ReplayBuffer(first_sent)
        """Messages that are sent and not acknowledged, and the backlog."""
        self._expected = first_received
        self._acknowledged = 0  # by the last frame that acknowledged any
        self.has_received = False
        self.owed = 0
        """Number of frames received since the last sent frame, which acknowledged all
        before.
        """
        self.owed_bytes = 0
        """Their size in bytes."""

    @property
    def last_received(self) -> int | None:
        """The number of the last frame received; None before the first."""
        return (self._expected - 1) & MASK if self.has_received else None

    # ------------------------------------------------ sending

    def next_frame(self) -> tuple[bytes, ...]:
        """Return the next frame for the present link: its header and the message, in
        pieces if it is long.

        The header is made now, so it acknowledges everything received, even if the
        message is sent again (`stable.replay-buffer`).
        """
        seq, body = self.replay.take()
        self.owed = self.owed_bytes = 0
        ack = self._expected - 1
        if seq > 127 and ack > 127 and self.has_received:
            # Most often: as `write_header` does, and two calls less.
            head = CONTINUED[seq & 127] + rest_and_ack(seq >> 7)
            header = head + CONTINUED[ack & 127] + rest_of(ack >> 7)
        else:
            header = write_header(seq, self.last_received)
        return (header, body) if type(body) is bytes else _frame(header, body)

    def next_frames(self, most: int) -> list[tuple[bytes, ...]]:
        """Return the next frames, as `next_frame` does for one; `were_sent` tells how
        many of them the link took.
        """
        first, bodies = self.replay.next_of_backlog(most)
        headers = write_headers(first, len(bodies), self.last_received)
        if LongBody in set(map(type, bodies)):
            return list(map(_frame, headers, bodies))
        return cast("list[tuple[bytes, ...]]", list(zip(headers, bodies, strict=True)))

    def were_sent(self, count: int) -> None:
        """Note that the link has taken so many of `next_frames`."""
        self.replay.take_many(count)
        self.owed = self.owed_bytes = 0

    def last_frame(self) -> tuple[bytes, bytes]:
        """Return the last frame again, without its message and with a new header.

        The peer ignores it, but for the acknowledgement.
        """
        self.owed = self.owed_bytes = 0
        return write_header((self.replay.next_seq - 1) & MASK, self.last_received), b""

    # ------------------------------------------------ receiving

    def receive(self, payloads: Sequence[Backing], messages: list[Backing]) -> None:
        """Accept frames, up to a goodbye, which is an empty message.

        A duplicate has no message, but its acknowledgement is used. Gaps in the numbers
        are allowed.

        Args:
            payloads: what was received together, in order.
            messages: gets the messages of the frames.

        Raises:
            DecodeError: one is not a frame, or acknowledges a frame that was not sent.
                Those before it are accepted.
        """
        place, count = 0, len(payloads)
        while place < count:
            payload = payloads[place]
            place += 1
            # The number is nearly always the expected one, and the acknowledgement near
            # the one before: all bytes but the first of each are known.
            expected, before = self._expected, self._acknowledged
            start = CONTINUED[expected & 127] + rest_and_ack(expected >> 7)
            rest = rest_of(before >> 7)
            low_at = len(start)
            pos = low_at + 1 + len(rest)
            if (
                payload[:low_at] == start
                and payload[low_at + 1 : pos] == rest
                and (low := payload[low_at]) > 127
            ):
                ack: int | None = before & ~127 | low & 127
            else:
                expected, ack, pos = _header_of(payload)
            if ack is not None:
                if not self.replay.acknowledge(ack):
                    raise _not_a_frame(payload, _never_sent(ack))
                self._acknowledged = ack
            if (expected - self._expected) & MASK >= HALF:
                continue
            self._expected = (expected + 1) & MASK
            self.has_received = True
            self.owed += 1
            self.owed_bytes += len(payload)
            if len(payload) - pos < _BORROW_FROM:
                message = payload[pos:]
            else:
                message = memoryview(payload)[pos:]
            messages.append(message)
            if not message:
                return
            if place < count and expected > 127:
                run = self._receive_run(payloads, place, pos)
                messages += run
                place += len(run)

    def _receive_run(
        self, payloads: Sequence[Backing], start: int, header: int
    ) -> list[bytes]:
        """Accept frames that follow the last accepted one: each has the next number,
        and the same acknowledgement. Return their messages, up to the first frame that
        is another, or has a long message or none.

        Args:
            payloads: frames that were received together.
            start: the place of the first of them; the last accepted one is before it,
                and its number has several bytes.
            header: the length of the header of the last one.
        """
        messages: list[bytes] = []
        low = self._expected & 127
        if not low:  # more than the first byte of the number is another
            return messages
        same = bytes(payloads[start - 1][1:header])
        for first, payload in zip(
            CONTINUED[low:], islice(payloads, start, None), strict=False
        ):
            if type(payload) is not bytes or len(payload) >= _BORROW_FROM:
                break
            message = payload.removeprefix(first + same)
            if not message or len(message) == len(payload):
                break
            messages.append(message)
        count = len(messages)
        self._expected = (self._expected + count) & MASK
        self.owed += count
        self.owed_bytes += sum(map(len, messages)) + count * header
        return messages

    # ------------------------------------------------ another link

    def can_resume(self, last_received: int | None) -> bool:
        """Return True if this can be the last frame that the peer received, and the
        rest is kept.
        """
        return self.replay.can_replay_after(last_received)

    def resume(self, last_received: int | None) -> None:
        """Put everything that the peer lacks into the backlog, for another link.

        Args:
            last_received: the last frame that the peer received, which `can_resume`.
        """
        if last_received is not None:
            self.replay.acknowledge(last_received)
        self.replay.rewind()

    def __repr__(self) -> str:
        return f"<Exchange received {self.last_received}, {self.replay!r}>"


def _frame(header: bytes, body: Body) -> tuple[bytes, ...]:
    return (header, body) if isinstance(body, bytes) else (header, *body.pieces)


def _never_sent(seq: int) -> DecodeError:
    return DecodeError(
        f"expected the number of a frame that was sent, got {seq}", "$.ack"
    )


def _header_of(payload: Backing) -> tuple[int, int | None, int]:
    try:
        return read_header(payload)
    except DecodeError as error:
        raise _not_a_frame(payload, error) from error


def _not_a_frame(payload: Backing, error: DecodeError) -> DecodeError:
    return DecodeError(f"a payload of {len(payload)} bytes is not a frame: {error}")
