"""A relay queue keeps messages of channels in order; decided without a run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from roam_trio.errors import LinkError, PayloadTooLarge
from roam_trio.limits import Limits
from roam_trio.metadata import NO_METADATA, Metadata, MetadataEntry, MetadataFlags
from roam_trio.session.channel_table import Relay
from roam_trio.session.held_messages import encoded_size
from roam_trio.session.joining import JoinedCall, Side
from roam_trio.session.relay_queue import RelayQueue
from roam_trio.wire.ids import IdAllocator, Parity
from roam_trio.wire.messages import (
    ChannelClose,
    ChannelGrantCredit,
    ChannelItem,
    ChannelMessage,
    ChannelReset,
    Message,
    RequestCall,
)


class Channels:
    """The channels of a connection, as far as they are joined."""

    def __init__(self, *joined: int) -> None:
        self.relays: dict[int, Relay | None] = dict.fromkeys(joined)

    def is_relayed(self, channel_id: int) -> bool:
        return channel_id in self.relays

    def stop_relaying(self, channel_id: int) -> None:
        self.relays.pop(channel_id, None)

    def join(self, channel_id: int, relay: Relay) -> None:
        assert channel_id not in self.relays
        self.relays[channel_id] = relay


class Outbox:
    """Takes messages as long as it has room, and fails with what it is told to."""

    def __init__(self, room: int = 0) -> None:
        self.room = room
        self.sent: list[Message] = []
        self.error: Exception | None = None

    def has_room(self) -> bool:
        return self.room > 0

    def send_nowait(self, message: Message) -> None:
        assert self.has_room()
        if self.error is not None:
            raise self.error
        self.room -= 1
        self.sent.append(message)


class Bench:
    """A queue to a connection with channels 1 and 3 joined."""

    def __init__(self, room: int = 0, **limits: int) -> None:
        self.channels = Channels(1, 3)
        self.outbox = Outbox(room)
        self.failures: list[str] = []
        self.queue = RelayQueue(
            self.channels, self.outbox, Limits(**limits), self._fail
        )

    def _fail(self, why: str) -> None:
        self.failures.append(why)
        self.queue.close()

    def forward(self, *messages: ChannelMessage) -> None:
        for message in messages:
            self.queue.forward(message)

    def take_all(self) -> list[ChannelMessage]:
        taken = []
        while (message := self.queue.take()) is not None:
            taken.append(message)
        return taken


def item(number: int, channel_id: int = 1) -> ChannelItem:
    return ChannelItem(0, channel_id, b"%d" % number)


# ------------------------------------------------------------ order


def test_where_there_is_room_it_is_sent_at_once() -> None:
    bench = Bench(room=5)
    bench.forward(item(1), item(2))
    assert bench.outbox.sent == [item(1), item(2)]
    assert bench.queue.is_empty
    assert repr(bench.queue) == "<RelayQueue <HeldMessages: 0, of 0 bytes>>"


def test_without_room_it_is_held_in_order() -> None:
    bench = Bench()
    bench.forward(item(1), item(2, 3), item(3))
    assert bench.outbox.sent == []
    assert bench.take_all() == [item(1), item(2, 3), item(3)]
    assert bench.queue.is_empty


def test_what_comes_later_does_not_overtake_what_is_held() -> None:
    bench = Bench()
    bench.forward(item(1))
    bench.outbox.room = 5
    bench.forward(item(2))
    assert bench.outbox.sent == []
    assert bench.take_all() == [item(1), item(2)]


def test_who_sends_what_is_held_is_told_of_it() -> None:
    bench = Bench()
    told: list[bool] = []
    bench.queue.on_arrival = lambda: told.append(bench.queue.is_empty)
    bench.forward(item(1))
    assert told == [False]


# ------------------------------------------------------------ what is dropped


def test_what_is_for_no_joined_channel_is_dropped() -> None:
    bench = Bench(room=5)
    bench.forward(item(1, 7))
    assert bench.outbox.sent == []
    assert bench.queue.is_empty


def test_what_is_held_for_a_channel_that_ends_is_dropped() -> None:
    bench = Bench()
    bench.forward(item(1), item(2, 3), item(3))
    bench.channels.stop_relaying(1)
    assert bench.take_all() == [item(2, 3)]
    assert repr(bench.queue) == "<RelayQueue <HeldMessages: 0, of 0 bytes>>"


@pytest.mark.rule("rpc.channel.close", "rpc.channel.reset")
@pytest.mark.parametrize("last", [ChannelClose(0, 1), ChannelReset(0, 1)])
def test_after_the_last_message_nothing_passes_on_its_channel(
    last: ChannelMessage,
) -> None:
    bench = Bench(room=5)
    bench.forward(item(1), last, item(2), item(3, 3))
    assert bench.outbox.sent == [item(1), last, item(3, 3)]
    assert not bench.channels.is_relayed(1)


@pytest.mark.rule("rpc.channel.reset")
def test_nothing_passes_on_a_channel_while_its_last_message_is_held() -> None:
    bench = Bench()
    bench.forward(ChannelReset(0, 1), item(1))
    first = bench.queue.take()
    assert first == ChannelReset(0, 1)
    assert first is not None
    bench.outbox.room = 1
    bench.queue.send(bench.outbox.send_nowait, first)
    assert bench.take_all() == []


def test_what_comes_after_the_close_of_the_queue_is_dropped() -> None:
    bench = Bench(room=5)
    bench.queue.close()
    bench.forward(item(1))
    assert bench.outbox.sent == []
    assert not bench.queue.count(item(1))


def test_closing_the_queue_drops_what_is_held() -> None:
    bench = Bench()
    bench.forward(item(1), item(2))
    bench.queue.close()
    assert bench.take_all() == []
    assert repr(bench.queue) == "<RelayQueue <HeldMessages: 0, of 0 bytes>>"


# ------------------------------------------------------------ limits and failures


def test_a_message_too_many_ends_the_proxy_and_names_the_limit() -> None:
    bench = Bench(proxied_items=2)
    bench.forward(item(1), item(2))
    assert bench.failures == []
    bench.forward(item(3))
    (why,) = bench.failures
    assert why.startswith("channel 1: 3 messages wait")
    assert why.endswith("(limit: proxied_items)")
    assert bench.take_all() == []


@pytest.mark.parametrize(("less", "fails"), [(0, False), (1, True)])
def test_bytes_are_those_of_the_encoding(less: int, fails: bool) -> None:
    messages = [item(1), ChannelGrantCredit(0, 3, 300), ChannelClose(0, 1)]
    size = sum(map(encoded_size, messages))
    bench = Bench(proxied_bytes=size - less)
    bench.forward(*messages)
    assert len(bench.failures) == fails
    assert all(why.endswith("(limit: proxied_bytes)") for why in bench.failures)
    assert bench.queue.is_empty is fails


def test_what_has_been_sent_does_not_count() -> None:
    bench = Bench(proxied_items=1)
    for number in range(10):
        bench.forward(item(number))
        assert bench.take_all() == [item(number)]
    assert bench.failures == []


def test_what_is_counted_before_it_is_held_counts_once() -> None:
    bench = Bench(proxied_items=1)
    assert bench.queue.count(item(1))
    bench.queue.hold(item(1))
    assert bench.take_all() == [item(1)]
    assert bench.queue.count(item(2))
    bench.queue.discount(item(2))
    assert bench.failures == []
    assert repr(bench.queue) == "<RelayQueue <HeldMessages: 0, of 0 bytes>>"


def test_an_item_too_large_for_the_other_side_ends_the_proxy() -> None:
    bench = Bench(room=1)
    bench.outbox.error = PayloadTooLarge(5000, 1000)
    bench.forward(item(1))
    (why,) = bench.failures
    assert why.startswith("an item cannot pass: ")
    assert "5000" in why


def test_a_link_that_fails_is_the_end_of_its_session_and_not_the_queues() -> None:
    bench = Bench(room=1)
    bench.outbox.error = LinkError("gone")
    bench.forward(ChannelClose(0, 1))
    assert bench.failures == []
    assert bench.channels.is_relayed(1)


# ------------------------------------------------------------ what waits for a queue


def test_who_waits_for_what_is_held_is_told_when_it_is_gone() -> None:
    bench = Bench()
    told: list[str] = []
    bench.forward(item(1), item(2))
    assert bench.queue.after_held(lambda: told.append("both are gone"))
    bench.forward(item(3))
    assert bench.queue.take() == item(1)
    assert bench.queue.take() == item(2)
    assert told == []
    assert bench.queue.take() == item(3)
    assert told == ["both are gone"]


def test_there_is_nothing_to_wait_for_if_nothing_is_held() -> None:
    bench = Bench()
    assert not bench.queue.after_held(lambda: None)


def test_who_waits_is_told_of_the_close_too() -> None:
    bench = Bench()
    told: list[bool] = []
    bench.forward(item(1))
    bench.queue.after_held(lambda: told.append(bench.queue.is_empty))
    bench.queue.close()
    assert told == [True]


def test_the_last_of_several_responses_is_told() -> None:
    bench = Bench()
    told: list[int] = []
    bench.queue.on_answered = lambda: told.append(bench.queue.responses)
    bench.queue.begin_response()
    bench.queue.begin_response()
    bench.queue.end_response()
    assert told == []
    bench.queue.end_response()
    assert told == [0]


# ------------------------------------------------------------ joined channels


class Joined:
    """Connection 9 on the near side, with even numbers, joined to connection 1 on the
    far side; a call with channels 2 and 4 has come from near."""

    def __init__(self, near_room: int = 99, far_room: int = 99) -> None:
        self.failures: list[str] = []
        limits = Limits()
        self.near_outbox, self.far_outbox = Outbox(near_room), Outbox(far_room)
        self.near_channels, self.far_channels = Channels(), Channels()
        near = RelayQueue(
            self.near_channels, self.near_outbox, limits, self.failures.append
        )
        far = RelayQueue(
            self.far_channels, self.far_outbox, limits, self.failures.append
        )
        self.near = Side(9, self.near_channels, near)
        self.far = Side(1, self.far_channels, far)
        call = RequestCall(9, 2, 7, (2, 4), NO_METADATA, b"args")
        self.call = JoinedCall(call, self.far, self.near)

    def send_call(self) -> tuple[tuple[int, ...], Any]:
        binder: Any = IdAllocator(Parity.ODD)
        return self.call.encode(binder)

    def from_near(self, *messages: ChannelMessage) -> None:
        self._deliver(self.near_channels, messages)

    def from_far(self, *messages: ChannelMessage) -> None:
        self._deliver(self.far_channels, messages)

    @staticmethod
    def _deliver(channels: Channels, messages: tuple[ChannelMessage, ...]) -> None:
        for message in messages:
            relay = channels.relays.get(message.channel_id)
            if relay is not None:
                relay.on_message(message)


METADATA = Metadata(
    [MetadataEntry("a", "b"), MetadataEntry("c", "d", MetadataFlags.NO_PROPAGATE)]
)
PROPAGATED = Metadata([MetadataEntry("a", "b")])

TRANSLATED: list[Callable[[int, int, Metadata], ChannelMessage]] = [
    lambda connection, channel, _: ChannelItem(connection, channel, b"value"),
    lambda connection, channel, _: ChannelGrantCredit(connection, channel, 2**32 - 1),
    ChannelClose,
    ChannelReset,
]


def test_a_call_gets_numbers_of_the_far_side_and_keeps_its_bytes() -> None:
    joined = Joined()
    assert joined.send_call() == ((1, 3), b"args")
    assert set(joined.near_channels.relays) == {2, 4}
    assert set(joined.far_channels.relays) == {1, 3}


@pytest.mark.rule("rpc.metadata.flags.no-propagate", "rpc.flow-control.credit.grant")
@pytest.mark.parametrize("make", TRANSLATED)
@pytest.mark.parametrize("from_near", [True, False])
def test_messages_pass_with_the_numbers_of_the_other_side(
    make: Callable[[int, int, Metadata], ChannelMessage], from_near: bool
) -> None:
    joined = Joined()
    joined.send_call()
    if from_near:
        joined.from_near(make(9, 4, METADATA))
        assert joined.far_outbox.sent == [make(1, 3, PROPAGATED)]
    else:
        joined.from_far(make(1, 3, METADATA))
        assert joined.near_outbox.sent == [make(9, 4, PROPAGATED)]


@pytest.mark.parametrize("kind", [ChannelClose, ChannelReset])
def test_a_last_message_parts_both_ends(
    kind: type[ChannelClose | ChannelReset],
) -> None:
    joined = Joined()
    joined.send_call()
    joined.from_near(kind(9, 2))
    assert set(joined.near_channels.relays) == {4}
    assert set(joined.far_channels.relays) == {3}


def test_what_comes_before_the_call_is_sent_follows_it_in_order() -> None:
    joined = Joined()
    early: list[ChannelMessage] = [
        ChannelItem(9, 2, b"1"),
        ChannelGrantCredit(9, 4, 9),
        ChannelItem(9, 2, b"2"),
        ChannelClose(9, 2),
    ]
    joined.from_near(*early)
    assert joined.far_outbox.sent == []
    joined.send_call()
    queue, passed = joined.far.queue, []
    while (message := queue.take()) is not None:
        passed.append(message)
    assert passed == [
        ChannelItem(1, 1, b"1"),
        ChannelGrantCredit(1, 3, 9),
        ChannelItem(1, 1, b"2"),
        ChannelClose(1, 1),
    ]
    assert repr(queue) == "<RelayQueue <HeldMessages: 0, of 0 bytes>>"


@pytest.mark.parametrize("is_sent", [False, True])
def test_a_call_that_is_not_taken_up_parts_its_channels(is_sent: bool) -> None:
    joined = Joined()
    if is_sent:
        joined.send_call()
    else:
        joined.from_near(ChannelItem(9, 2, b"early"))
    joined.call.stop()
    assert not joined.near_channels.relays
    assert not joined.far_channels.relays
    assert joined.far.queue.is_empty
    assert repr(joined.far.queue) == "<RelayQueue <HeldMessages: 0, of 0 bytes>>"


def test_a_call_that_is_answered_before_it_is_sent_parts_its_channels() -> None:
    joined = Joined()
    joined.from_near(ChannelItem(9, 2, b"early"))
    for relay in list(joined.near_channels.relays.values()):
        assert relay is not None
        relay.on_answered()
    assert not joined.near_channels.relays
    assert repr(joined.far.queue) == "<RelayQueue <HeldMessages: 0, of 0 bytes>>"


def test_a_response_does_not_part_channels_that_are_joined() -> None:
    joined = Joined()
    joined.send_call()
    for relay in list(joined.near_channels.relays.values()):
        assert relay is not None
        relay.on_answered()
    assert set(joined.near_channels.relays) == {2, 4}
