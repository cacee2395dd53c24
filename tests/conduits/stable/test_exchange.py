"""Sequence numbers, acknowledgements and the replay buffer, against a simple model."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from roam_trio import DecodeError
from roam_trio.links.resuming.exchange import Exchange
from roam_trio.links.resuming.replay import LongBody
from roam_trio.links.resuming.sequence import MASK, read_header, write_header
from roam_trio.wire.backing import Backing

LAST = 2**32 - 1


def frame(exchange: Exchange) -> bytes:
    return b"".join(exchange.next_frame())


def sent(exchange: Exchange, *bodies: bytes) -> list[bytes]:
    """Send these, and return the frames."""
    for body in bodies:
        exchange.replay.add(body)
    return [frame(exchange) for _ in bodies]


def received(exchange: Exchange, *payloads: bytes) -> list[bytes]:
    """Have these received together, and return their messages."""
    messages: list[Backing] = []
    exchange.receive(payloads, messages)
    return list(map(bytes, messages))


@pytest.mark.rule("stable.seq", "stable.ack")
def test_numbers_count_from_0_and_each_frame_acknowledges_the_last_received() -> None:
    left, right = Exchange(), Exchange()
    assert sent(left, b"a", b"b") == [b"\0\0a", b"\1\0b"]
    assert right.last_received is None
    assert received(right, b"\0\0a") == [b"a"]
    assert sent(right, b"x") == [b"\0\1\0x"]
    assert received(right, b"\1\0b") == [b"b"]
    assert sent(right, b"y", b"z") == [b"\1\1\1y", b"\2\1\1z"]
    assert right.last_received == 1


@pytest.mark.rule("stable.seq", "stable.seq.monotonic")
def test_numbers_wrap() -> None:
    left = Exchange(first_sent=LAST - 1)
    right = Exchange(first_received=LAST - 1)
    frames = sent(left, b"a", b"b", b"c", b"d")
    assert [read_header(each)[0] for each in frames] == [LAST - 1, LAST, 0, 1]
    assert received(right, *frames) == [b"a", b"b", b"c", b"d"]
    assert right.last_received == 1
    assert received(right, frames[1], frames[3]) == []
    left.replay.acknowledge(LAST)
    assert list(left.replay.bodies) == [b"c", b"d"]
    left.replay.acknowledge(1)
    assert not left.replay.bodies


@pytest.mark.rule("stable.seq.monotonic")
def test_duplicate_is_ignored_but_its_acknowledgement_counts() -> None:
    exchange = Exchange()
    sent(exchange, b"a", b"b")
    assert received(exchange, write_header(0, 0) + b"x") == [b"x"]
    assert list(exchange.replay.bodies) == [b"b"]
    assert received(exchange, write_header(0, 1) + b"x") == []
    assert not exchange.replay.bodies
    assert exchange.last_received == 0


def test_numbers_may_be_left_out() -> None:
    exchange = Exchange()
    assert received(exchange, write_header(0, None) + b"x") == [b"x"]
    assert received(exchange, write_header(2, None) + b"y") == [b"y"]
    assert received(exchange, write_header(1, None) + b"z") == []
    assert exchange.last_received == 2


@pytest.mark.rule("stable.ack.trim", "stable.replay-buffer")
def test_messages_are_kept_until_acknowledged() -> None:
    exchange = Exchange()
    sent(exchange, b"a", b"bb", b"ccc")
    assert (list(exchange.replay.bodies), exchange.replay.size) == (
        [b"a", b"bb", b"ccc"],
        6,
    )
    exchange.replay.acknowledge(1)
    assert (list(exchange.replay.bodies), exchange.replay.size) == ([b"ccc"], 3)
    exchange.replay.acknowledge(0)  # old news
    assert list(exchange.replay.bodies) == [b"ccc"]


@pytest.mark.rule("stable.ack.trim")
@pytest.mark.parametrize("ack", [2, 3, 100, 2**31 + 1, LAST])
def test_acknowledging_what_was_not_sent_is_an_error(ack: int) -> None:
    exchange = Exchange()
    sent(exchange, b"a", b"b")
    exchange.replay.add(b"c")  # no link has taken it
    with pytest.raises(DecodeError, match=rf"was sent, got {ack} - at \$\.ack"):
        received(exchange, write_header(0, ack) + b"x")
    assert list(exchange.replay.bodies) == [b"a", b"b", b"c"]


@pytest.mark.rule(
    "stable.replay-buffer",
    "stable.replay-buffer.order",
    "stable.framing.encoding",
    "zerocopy.scatter.replay",
)
def test_replay_comes_first_in_order_and_under_fresh_headers() -> None:
    exchange = Exchange()
    sent(exchange, b"a", b"b", b"c")
    received(exchange, write_header(0, None) + b"x")
    exchange.replay.add(b"d")  # while there is no link
    exchange.resume(0)
    assert [frame(exchange) for _ in range(3)] == [b"\1\1\0b", b"\2\1\0c", b"\3\1\0d"]
    assert not exchange.replay.backlog


@pytest.mark.parametrize(
    ("last_received", "can"),
    [(None, 0), (0, 0), (1, 1), (2, 1), (3, 1), (4, 0), (5, 0), (LAST, 0)],
)
def test_peer_can_have_got_what_was_sent_and_has_got_what_it_acknowledged(
    last_received: int | None, can: int
) -> None:
    exchange = Exchange()
    sent(exchange, b"a", b"b", b"c", b"d")
    exchange.replay.acknowledge(1)
    exchange.replay.add(b"e")  # no link has taken it
    assert exchange.can_resume(last_received) == bool(can)


@pytest.mark.parametrize("last_received", [0, 1, 2**31, LAST])
def test_peer_of_a_fresh_exchange_can_have_got_nothing(last_received: int) -> None:
    exchange = Exchange()
    assert exchange.can_resume(None)
    assert not exchange.can_resume(last_received)
    exchange.replay.add(b"not sent yet")
    assert not exchange.can_resume(last_received)


@pytest.mark.rule("stable.seq")
@pytest.mark.parametrize("first", [0, 100, 128, 255, 250, 16_380, 2**21 - 2, LAST - 5])
def test_frames_received_together_are_those_received_one_by_one(first: int) -> None:
    left, right = Exchange(first_sent=first), Exchange(first_sent=first)
    one_by_one, together = (Exchange(first_received=first) for _ in range(2))
    bodies = [b"%d" % number for number in range(200)]
    bodies[7], bodies[20], bodies[-1] = bytes(3000), bytes(2040), b""
    for body in bodies:
        left.replay.add(body)
        right.replay.add(body)
    frames = [frame(left) for _ in bodies]
    assert [b"".join(each) for each in right.next_frames(len(bodies))] == frames
    frames.insert(30, frames[3])  # again
    assert received(together, *frames) == bodies
    assert [m for each in frames for m in received(one_by_one, each)] == bodies
    assert together.owed == one_by_one.owed == len(bodies)
    assert together.owed_bytes == one_by_one.owed_bytes
    assert together.last_received == one_by_one.last_received


def test_long_message_is_kept_and_sent_again_in_its_pieces() -> None:
    exchange, large = Exchange(), bytes(50_000)
    exchange.replay.add(b"small")
    exchange.replay.add(LongBody((b"head", large), 50_004))
    exchange.replay.add(b"small")
    assert exchange.replay.size == 50_014
    together = exchange.next_frames(3)
    assert [len(frame) for frame in together] == [2, 3, 2]
    assert together[1][2] is large
    one_by_one = [exchange.next_frame() for _ in range(3)]
    assert one_by_one == together
    assert one_by_one[1][2] is large
    exchange.resume(1)
    assert exchange.replay.size == 5


def test_messages_are_framed_together_up_to_a_number_and_a_size() -> None:
    exchange = Exchange()
    for size in (70_000, 30_000, 35_000, 1000, 1, 1):
        exchange.replay.add(bytes(size))
    together: list[int] = []
    while exchange.replay.backlog:
        frames = exchange.next_frames(3)
        exchange.were_sent(len(frames))
        together.append(len(frames))
    assert together == [1, 2, 3]


def test_number_of_two_bytes_is_not_taken_for_the_next_of_one_byte() -> None:
    exchange = Exchange()
    sent(exchange, b"a", b"b")
    with pytest.raises(DecodeError, match=r"a payload of 4 bytes .* 0 or 1, got 3"):
        received(exchange, b"\5\1\0a", b"\x86\1\3b")


def test_frame_after_the_goodbye_is_ignored() -> None:
    exchange = Exchange()
    assert received(exchange, b"\0\0a", b"\1\0", b"\2\0b") == [b"a", b""]
    assert exchange.last_received == 1


@pytest.mark.rule("stable.seq", "stable.seq.monotonic", "stable.ack", "stable.ack.trim")
class Peers(RuleBasedStateMachine):
    """Two exchanges, and a link between them that delivers, repeats and is replaced.

    The model: what each side was given to send arrives at the other in order and once.
    """

    @initialize(
        first=st.sampled_from([0, 125, 250, LAST - 3, 2**31 - 3]),
        other=st.sampled_from([0, 126, 16_380, LAST - 1]),
    )
    def begin(self, first: int, other: int) -> None:
        self.sides = [
            Exchange(first_sent=first, first_received=other),
            Exchange(first_sent=other, first_received=first),
        ]
        self.given: list[list[bytes]] = [[], []]
        self.got: list[list[bytes]] = [[], []]
        self.on_the_way: list[list[bytes]] = [[], []]
        self.delivered: list[list[bytes]] = [[], []]
        self.acknowledged = [0, 0]

    sides_drawn = st.integers(0, 1)

    @rule(side=sides_drawn)
    def give(self, side: int) -> None:
        body = b"%d.%d" % (side, len(self.given[side]))
        self.given[side].append(body)
        self.sides[side].replay.add(body)

    @rule(side=sides_drawn)
    def put_on_the_link(self, side: int) -> None:
        if self.sides[side].replay.backlog:
            self.on_the_way[side].append(frame(self.sides[side]))

    @rule(side=sides_drawn, most=st.integers(1, 4))
    def put_many_on_the_link(self, side: int, most: int) -> None:
        exchange = self.sides[side]
        if exchange.replay.backlog:
            frames = exchange.next_frames(most)
            exchange.were_sent(len(frames))
            self.on_the_way[side] += map(b"".join, frames)

    @rule(side=sides_drawn, count=st.integers(1, 5))
    def deliver(self, side: int, count: int) -> None:
        payloads = self.on_the_way[side][:count]
        del self.on_the_way[side][:count]
        self.delivered[side] += payloads
        self._receive(side, *payloads)

    @rule(side=sides_drawn, which=st.integers(0, 100))
    def repeat(self, side: int, which: int) -> None:
        if self.delivered[side]:
            before = len(self.got[side])
            again = self.delivered[side][which % len(self.delivered[side])]
            self._receive(side, again)
            assert len(self.got[side]) == before

    def _receive(self, side: int, *payloads: bytes) -> None:
        self.got[side] += received(self.sides[1 - side], *payloads)

    @rule(side=sides_drawn, beyond=st.integers(0, 1000))
    def lie(self, side: int, beyond: int) -> None:
        exchange = self.sides[side]
        lie = (exchange.replay.next_seq + beyond) & MASK
        assert not exchange.can_resume(lie)
        with pytest.raises(DecodeError):
            received(exchange, write_header(0, lie))

    @rule()
    def replace_the_link(self) -> None:
        self.on_the_way = [[], []]
        left, right = self.sides
        for one, other in ((left, right), (right, left)):
            assert one.can_resume(other.last_received)
        told = left.last_received, right.last_received
        left.resume(told[1])
        right.resume(told[0])

    @invariant()
    def everything_arrives_once_and_in_order(self) -> None:
        for side in (0, 1):
            assert self.got[side] == self.given[side][: len(self.got[side])]

    @invariant()
    def what_is_kept_is_what_is_not_acknowledged(self) -> None:
        for side in (0, 1):
            replay = self.sides[side].replay
            kept = list(replay.bodies)
            assert kept == self.given[side][len(self.given[side]) - len(kept) :]
            assert len(self.given[side]) - len(kept) <= len(self.got[side])
            assert replay.size == sum(map(len, kept))
            assert replay.backlog_size == sum(
                map(len, kept[len(kept) - replay.backlog :])
            )

    @precondition(lambda self: self.given[0] or self.given[1])
    @rule()
    def calm_down(self) -> None:
        """On a link that holds everything comes to an end."""
        self.replace_the_link()
        for side in (0, 1):
            while self.sides[side].replay.backlog:
                self._receive(side, frame(self.sides[side]))
        assert self.got == self.given
        for one, other in ((0, 1), (1, 0)):
            last = self.sides[one].last_received
            if last is not None:
                self.sides[other].replay.acknowledge(last)
            assert not self.sides[other].replay.bodies
        self.delivered = [[], []]


test_peers_agree = Peers.TestCase
test_peers_agree.settings = settings(max_examples=30, stateful_step_count=60)
