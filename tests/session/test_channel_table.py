"""What a channel is, and what a message for it does: every phase, and every message.

Nothing here needs a run of trio.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import attrs
import pytest

from roam_trio import Limits
from roam_trio.errors import LimitExceeded, RemoteProtocolError
from roam_trio.metadata import Metadata
from roam_trio.session.channel_table import (
    ChannelTable,
    Event,
    Phase,
    Step,
)
from roam_trio.session.statistics import ChannelStatistics
from roam_trio.wire.ids import Parity
from roam_trio.wire.messages import (
    ChannelClose,
    ChannelGrantCredit,
    ChannelItem,
    ChannelMessage,
    ChannelReset,
)

ID = 2
"""A channel of the peer's, which is even."""


@attrs.define
class Receiving:
    """The end of a channel on which this side receives, and what has come to it."""

    got: list[object] = attrs.field(factory=list)

    def on_item(self, item: bytes | memoryview) -> None:
        self.got.append(bytes(item))

    def on_close(self) -> None:
        self.got.append("close")

    def on_reset(self) -> None:
        self.got.append("reset")

    def on_lost(self, because: BaseException) -> None:
        self.got.append(because)

    def statistics(self) -> ChannelStatistics:
        return ChannelStatistics(1, "in", 16, len(self.got))


@attrs.define
class Sending:
    """The end of a channel on which this side sends."""

    got: list[object] = attrs.field(factory=list)

    def on_credit(self, additional: int) -> None:
        self.got.append(additional)

    def on_reset(self) -> None:
        self.got.append("reset")

    def on_lost(self, because: BaseException) -> None:
        self.got.append(because)

    def statistics(self) -> ChannelStatistics:
        return ChannelStatistics(2, "out", len(self.got), 0)


@attrs.define
class Relaying:
    """A proxy's end."""

    got: list[object] = attrs.field(factory=list)

    def on_message(self, message: ChannelMessage) -> None:
        self.got.append(message)

    def on_answered(self) -> None:
        self.got.append("answered")


class Table:
    """A table, what is bound in it, and how often a channel has ended."""

    def __init__(
        self, phase: str = "unknown", *, strict: bool = False, **limits: int
    ) -> None:
        self.ended = 0
        self.table = ChannelTable(
            Limits(**limits), Parity.EVEN, self._on_ended, strict=strict
        )
        self.receiving = Receiving()
        self.sending = Sending()
        self.relaying = Relaying()
        for change in PHASES[phase]:
            change(self)
        self.ended = 0

    def _on_ended(self) -> None:
        self.ended += 1

    @property
    def phase(self) -> Phase | None:
        entry = self.table.entries.get(ID)
        return None if entry is None else entry.phase

    @property
    def got(self) -> list[object]:
        return self.receiving.got + self.sending.got + self.relaying.got

    @property
    def held(self) -> tuple[int, int]:
        held = self.table.held
        return (held.count, held.bytes) if held is not None else (0, 0)


def item(channel_id: int = ID, value: bytes = b"item") -> ChannelItem:
    return ChannelItem(0, channel_id, value)


def announce(table: Table) -> None:
    table.table.announce((ID,))


def keep(table: Table) -> None:
    # What breaks no rule of any phase, be it strict or not.
    table.table.on_message(ChannelReset(0, ID))


def receive(table: Table) -> None:
    table.table.bind_incoming(ID, table.receiving)


def send(table: Table) -> None:
    table.table.bind_outgoing(ID, table.sending)


def relay(table: Table) -> None:
    table.table.join(ID, table.relaying)


def end(table: Table) -> None:
    table.table.end(ID)


PHASES: dict[str, list[Callable[[Table], None]]] = {
    "unknown": [],
    "announced": [announce],
    "early": [keep],
    "announced and early": [announce, keep],
    "receiving": [receive],
    "sending": [send],
    "announced, receiving": [announce, receive],
    "announced, sending": [announce, send],
    "relayed": [relay],
    "announced, relayed": [announce, relay],
    "ended": [end],
}

MESSAGES: dict[str, ChannelMessage] = {
    "item": item(),
    "credit": ChannelGrantCredit(0, ID, 8),
    "close": ChannelClose(0, ID),
    "reset": ChannelReset(0, ID),
}

K, D, L, R, X = Step.KEEP, Step.DELIVER, Step.DELIVER_LAST, Step.RELAY, Step.DROP

STEPS: dict[str, tuple[Step, Step, Step, Step]] = {
    #                        item, credit, close, reset
    "unknown": (K, X, K, K),
    "announced": (K, K, K, K),
    "early": (K, K, K, K),
    "announced and early": (K, K, K, K),
    "receiving": (D, X, L, L),
    "sending": (X, D, X, L),
    "announced, receiving": (D, X, L, L),
    "announced, sending": (X, D, X, L),
    "relayed": (R, R, R, R),
    "announced, relayed": (R, R, R, R),
    "ended": (X, X, X, X),
}

Walk: TypeAlias = tuple[str, str, Step]

WALK: list[Walk] = [
    (phase, message, step)
    for phase, steps in STEPS.items()
    for message, step in zip(MESSAGES, steps, strict=True)
]

STRICT_REFUSES = {
    "unknown": "it is not open",
    "early": "it is not open",
    "sending": "this side sends on it",
    "announced, sending": "this side sends on it",
}

every_phase = pytest.mark.parametrize("phase", PHASES)


def test_every_phase_is_walked() -> None:
    assert {Table(phase).phase for phase in PHASES} == {None, *Phase}
    assert STEPS.keys() == PHASES.keys()


# ------------------------------------------------------------ every phase and message


@pytest.mark.rule("rpc.channel.lifecycle")
@pytest.mark.parametrize(("phase", "message", "step"), WALK)
def test_message_is_decided_on_by_the_phase_of_its_channel(
    phase: str, message: str, step: Step
) -> None:
    table = Table(phase)
    before = table.phase, table.held, table.table.dropped
    assert table.table.decide(MESSAGES[message]) is step
    assert (table.phase, table.held, table.table.dropped) == before  # only decided


@pytest.mark.rule("rpc.channel.item", "rpc.channel.close", "rpc.channel.reset")
@pytest.mark.parametrize(("phase", "message", "step"), WALK)
def test_message_does_what_was_decided_and_no_more(
    phase: str, message: str, step: Step
) -> None:
    table = Table(phase)
    before, held, dropped = table.phase, table.held, table.table.dropped
    table.table.on_message(MESSAGES[message])
    delivered = {"item": b"item", "credit": 8, "close": "close", "reset": "reset"}
    expected: list[object] = {
        Step.DELIVER: [delivered[message]],
        Step.DELIVER_LAST: [delivered[message]],
        Step.RELAY: [MESSAGES[message]],
    }.get(step, [])
    assert table.got == expected
    after = {Step.KEEP: Phase.EARLY, Step.DELIVER_LAST: Phase.ENDED}
    assert table.phase is after.get(step, before)
    assert table.held[0] == held[0] + (step is Step.KEEP)
    assert table.table.dropped == dropped + (step is Step.DROP)
    assert table.ended == (step is Step.DELIVER_LAST)


@pytest.mark.parametrize(("phase", "message", "step"), WALK)
def test_strict_table_refuses_items_that_no_channel_is_open_for(
    phase: str, message: str, step: Step
) -> None:
    table = Table(phase, strict=True)
    if message == "item" and phase in STRICT_REFUSES:
        before = table.phase, table.held
        with pytest.raises(RemoteProtocolError) as caught:
            table.table.on_message(MESSAGES[message])
        why = f"channel {ID}: an item came, and {STRICT_REFUSES[phase]}"
        assert caught.value.description == why
        assert (table.phase, table.held, table.got) == (*before, [])
    else:
        assert table.table.decide(MESSAGES[message]) is step


# ------------------------------------------------------------ every phase and change

CHANGES: dict[Event, Callable[[Table], None]] = {
    Event.ANNOUNCE: announce,
    Event.BIND: receive,
    Event.JOIN: relay,
    Event.END: end,
}

A, B, J, E = Phase.ANNOUNCED, Phase.BOUND, Phase.RELAYED, Phase.ENDED

AFTER: dict[str, tuple[Any, Any, Any, Any]] = {
    #                        announced, bound, joined, ended
    "unknown": (A, B, J, E),
    "announced": (RemoteProtocolError, B, J, E),
    "receiving": (RemoteProtocolError, RuntimeError, RuntimeError, E),
    "sending": (RemoteProtocolError, RuntimeError, RuntimeError, E),
    "announced, receiving": (RemoteProtocolError, RuntimeError, RuntimeError, E),
    "announced, sending": (RemoteProtocolError, RuntimeError, RuntimeError, E),
    "relayed": (RemoteProtocolError, RuntimeError, RuntimeError, E),
    "announced, relayed": (RemoteProtocolError, RuntimeError, RuntimeError, E),
    "ended": (A, B, J, E),
    # The reset that came early ends what is bound at once, and goes to a relay.
    "early": (Phase.EARLY, E, J, E),
    "announced and early": (RemoteProtocolError, E, J, E),
}


@pytest.mark.rule("rpc.channel.lifecycle", "rpc.channel.allocation")
@pytest.mark.parametrize(
    ("phase", "event", "after"),
    [
        (phase, event, after)
        for phase, row in AFTER.items()
        for event, after in zip(CHANGES, row, strict=True)
    ],
)
def test_change_leads_to_the_next_phase_or_is_refused(
    phase: str, event: Event, after: Any
) -> None:
    table = Table(phase)
    if isinstance(after, Phase):
        CHANGES[event](table)
        assert table.phase is after
        return
    before = table.phase
    with pytest.raises(after) as caught:
        CHANGES[event](table)
    if after is RemoteProtocolError:
        assert f"channel {ID} is open, and its id was used again" in str(caught.value)
    else:
        assert f"channel {ID} is {before.value}: it cannot be" in str(caught.value)
    assert table.phase is before
    assert table.ended == 0


@every_phase
def test_counts_follow_the_phase(phase: str) -> None:
    table = Table(phase).table
    assert (table.bound, table.relayed) == (
        int("receiving" in phase or "sending" in phase),
        int("relayed" in phase),
    )
    assert table.open == table.bound + table.relayed
    assert table.is_relayed(ID) == ("relayed" in phase)
    assert table.relayed_ids() == ([ID] if "relayed" in phase else [])
    table.end(ID)
    assert (table.bound, table.relayed, table.open) == (0, 0, 0)
    assert table.relayed_ids() == []


@every_phase
def test_end_gives_back_what_was_kept_and_brought(phase: str) -> None:
    table = Table(phase, channels=1, early_items=1)
    table.table.end(ID)
    assert table.held == (0, 0)
    assert table.ended == 1
    table.table.announce((ID,))  # as there is room for one
    with pytest.raises(LimitExceeded):
        table.table.announce((ID + 2,))


@every_phase
def test_end_is_told_once_for_each_end(phase: str) -> None:
    table = Table(phase)
    table.table.end(ID)
    assert table.phase is Phase.ENDED
    table.table.end(ID)
    assert (table.phase, table.ended) == (Phase.ENDED, 2)


# ------------------------------------------------------------ announced


def test_channels_of_a_call_are_announced_together() -> None:
    table = Table()
    table.table.announce((2, 4, 6))
    phases = [table.table.entries[number].phase for number in (2, 4, 6)]
    assert phases == [Phase.ANNOUNCED] * 3
    assert table.table.open == 0


def test_channel_that_a_call_names_twice_is_refused() -> None:
    with pytest.raises(RemoteProtocolError, match="channel 4 is open"):
        Table().table.announce((2, 4, 4))


@pytest.mark.parametrize("already", [0, 1, 3])
def test_channels_of_calls_are_bounded(already: int) -> None:
    table = Table(channels=3).table
    for number in range(already):
        table.announce((2 + 2 * number,))
    table.announce(tuple(range(20, 20 + 2 * (3 - already), 2)))
    with pytest.raises(LimitExceeded) as caught:
        table.announce((100,))
    assert caught.value.limit == "channels"
    assert 100 not in table.entries


def test_channels_of_this_side_do_not_count_as_brought() -> None:
    table = Table(channels=1).table
    for number in (1, 3, 5):
        table.bind_incoming(number, Receiving())
        table.bind_outgoing(number + 100, Sending())
    table.announce((2,))
    assert table.bound == 6


@pytest.mark.rule("rpc.channel.allocation")
@pytest.mark.parametrize(("number", "is_theirs"), [(2, True), (3, False), (0, False)])
def test_strict_table_refuses_channels_of_the_wrong_parity(
    number: int, is_theirs: bool
) -> None:
    strict, lenient = Table(strict=True).table, Table().table
    lenient.announce((number,))
    if is_theirs:
        strict.announce((number,))
        return
    with pytest.raises(RemoteProtocolError) as caught:
        strict.announce((number,))
    why = f"channel {number} has not the parity of its caller"
    assert caught.value.description == why


# ------------------------------------------------------------ early messages

EARLY_AND_IN_ORDER: list[ChannelMessage] = [
    item(value=b"1"),
    ChannelGrantCredit(0, ID, 5),
    item(value=b"2"),
    ChannelGrantCredit(0, ID, 6),
    ChannelClose(0, ID),
]


@pytest.mark.rule("rpc.channel.binding.callee-args")
@pytest.mark.parametrize("order", ["call first", "call late"])
def test_early_messages_reach_a_receiver_in_order(order: str) -> None:
    table = Table()
    if order == "call first":
        table.table.announce((ID,))
    for message in EARLY_AND_IN_ORDER:
        table.table.on_message(message)
    if order == "call late":
        table.table.announce((ID,))
    assert table.held[0] == 5
    table.table.bind_incoming(ID, table.receiving)
    assert table.receiving.got == [b"1", b"2", "close"]
    assert (table.phase, table.held, table.table.bound) == (Phase.ENDED, (0, 0), 0)


@pytest.mark.rule("rpc.channel.binding.callee-args")
def test_early_messages_reach_a_sender_in_order() -> None:
    table = Table("announced")
    for message in EARLY_AND_IN_ORDER:
        table.table.on_message(message)
    table.table.bind_outgoing(ID, table.sending)
    assert table.sending.got == [5, 6]
    assert (table.phase, table.table.dropped) == (Phase.BOUND, 3)


def test_early_messages_reach_a_proxy_in_order() -> None:
    table = Table("announced")
    for message in EARLY_AND_IN_ORDER:
        table.table.on_message(message)
    table.table.join(ID, table.relaying)
    assert table.relaying.got == EARLY_AND_IN_ORDER
    assert table.phase is Phase.RELAYED  # until the proxy has passed on the close


@pytest.mark.rule("rpc.channel.reset")
def test_nothing_after_an_early_reset_reaches_anybody() -> None:
    table = Table("announced")
    for message in (item(), ChannelReset(0, ID), item()):
        table.table.on_message(message)
    table.table.bind_incoming(ID, table.receiving)
    assert table.receiving.got == [b"item", "reset"]
    assert (table.phase, table.table.dropped) == (Phase.ENDED, 1)


def test_early_messages_are_kept_for_each_channel_by_itself() -> None:
    table = Table()
    for number in (2, 4, 2):
        table.table.on_message(item(number))
    table.table.bind_incoming(4, table.receiving)
    assert table.receiving.got == [b"item"]
    assert table.held == (2, 16)
    other = Receiving()
    table.table.bind_incoming(2, other)
    assert other.got == [b"item"] * 2
    assert table.held == (0, 0)


def test_item_in_pieces_is_delivered_in_one() -> None:
    table = Table("receiving")
    table.table.on_message(ChannelItem(0, ID, [b"it", memoryview(b"em")]))
    assert table.receiving.got == [b"item"]


@pytest.mark.parametrize(
    ("limits", "named"),
    [({"early_items": 3}, "early_items"), ({"early_bytes": 24}, "early_bytes")],
)
@pytest.mark.parametrize("numbers", [(2, 2, 2, 2), (2, 4, 6, 8)], ids=["one", "many"])
def test_early_messages_are_bounded_over_all_channels(
    limits: dict[str, int], named: str, numbers: tuple[int, ...]
) -> None:
    table = Table(**limits)
    for number in numbers[:3]:
        table.table.on_message(item(number))
    assert table.held == (3, 24)
    with pytest.raises(LimitExceeded) as caught:
        table.table.on_message(item(numbers[3]))
    assert caught.value.limit == named
    assert f"channel {numbers[3]}: " in str(caught.value)
    assert table.held == (3, 24)


@pytest.mark.parametrize(
    "message",
    [
        ChannelClose(0, ID, Metadata.of({"why": bytes(1000)})),
        ChannelReset(0, ID, Metadata.of({"why": bytes(1000)})),
        item(value=bytes(1000)),
    ],
    ids=["close", "reset", "item"],
)
def test_early_messages_count_by_their_size_whatever_their_kind(
    message: ChannelMessage,
) -> None:
    table = Table(early_bytes=2500)
    table.table.on_message(message)
    table.table.on_message(message)
    with pytest.raises(LimitExceeded, match="limit: early_bytes"):
        table.table.on_message(message)


def test_table_without_early_messages_counts_none() -> None:
    table = Table("receiving")
    table.table.on_message(item())
    assert table.table.held is None


# ------------------------------------------------------------ late messages


@pytest.mark.rule("rpc.channel.reset", "rpc.channel.lifecycle")
def test_late_messages_are_dropped_and_counted() -> None:
    table = Table("receiving", early_items=1)
    table.table.end(ID)
    for message in [item()] * 10 + [ChannelClose(0, ID)]:
        table.table.on_message(message)
    assert table.receiving.got == []
    assert (table.table.dropped, table.held) == (11, (0, 0))


@pytest.mark.parametrize("most", [1, 3, 10])
def test_ends_are_remembered_up_to_the_limit(most: int) -> None:
    table = Table(channels=most)
    numbers = range(2, 2 + 2 * (most + 2), 2)
    for number in numbers:
        table.table.bind_incoming(number, Receiving())
    for number in numbers:
        table.table.end(number)
    assert list(table.table.entries) == list(numbers)[-most:]
    table.table.on_message(item(numbers[0]))  # forgotten, and taken for an early one
    table.table.on_message(item(numbers[-1]))
    assert (table.held[0], table.table.dropped) == (1, 1)


def test_channel_that_ends_twice_takes_the_place_of_one() -> None:
    table = Table(channels=2)
    for number in (2, 4, 4, 4):
        table.table.end(number)
    assert list(table.table.entries) == [2, 4]


def test_channels_that_are_open_are_never_forgotten() -> None:
    table = Table("receiving", channels=2)
    for number in range(100, 120, 2):
        table.table.end(number)
    table.table.on_message(item())
    assert table.receiving.got == [b"item"]
    assert len(table.table.entries) == 3


def test_number_that_is_used_again_is_not_forgotten_for_its_first_end() -> None:
    table = Table("ended", channels=2)
    table.table.announce((ID,))
    table.table.end(100)
    table.table.end(102)  # the first end of `ID` is forgotten now
    assert table.phase is Phase.ANNOUNCED


# ------------------------------------------------------------ the response of a call


@pytest.mark.rule("rpc.channel.binding.callee-args")
@every_phase
def test_response_ends_what_no_handler_has_bound(phase: str) -> None:
    table = Table(phase)
    before = table.phase
    table.table.answered((ID,))
    stays = before in (Phase.BOUND, Phase.RELAYED)
    assert table.phase is (before if stays else Phase.ENDED)
    assert table.relaying.got == (["answered"] if before is Phase.RELAYED else [])
    assert (table.held, table.ended) == ((0, 0), 0)


# ------------------------------------------------------------ losses


@every_phase
def test_lost_channel_ends_and_its_end_learns_why(phase: str) -> None:
    table = Table(phase)
    why = RuntimeError("why")
    table.table.lose((ID,), why)
    is_bound = "receiving" in phase or "sending" in phase
    assert table.got == ([why] if is_bound else [])
    assert (table.phase, table.table.open, table.held) == (Phase.ENDED, 0, (0, 0))


@every_phase
def test_end_of_the_connection_ends_every_channel(phase: str) -> None:
    table = Table(phase)
    why = RuntimeError("why")
    table.table.close(why)
    is_bound = "receiving" in phase or "sending" in phase
    expected = [why] if is_bound else ["answered"] if "relayed" in phase else []
    assert table.got == expected
    assert (table.table.entries, table.table.open, table.held) == ({}, 0, (0, 0))
    assert table.ended == 0  # nobody needs to look for others now


def test_senders_learn_of_the_end_before_receivers() -> None:
    order: list[str] = []

    class First(Sending):
        def on_lost(self, because: BaseException) -> None:
            order.append("sender")

    class Second(Receiving):
        def on_lost(self, because: BaseException) -> None:
            order.append("receiver")

    table = Table().table
    table.bind_incoming(2, Second())
    table.bind_outgoing(4, First())
    table.close(RuntimeError())
    assert order == ["sender", "receiver"]


@every_phase
def test_proxy_parts_only_from_what_it_relays(phase: str) -> None:
    table = Table(phase)
    before = table.phase
    table.table.stop_relaying(ID)
    is_relayed = "relayed" in phase
    assert table.phase is (Phase.ENDED if is_relayed else before)
    assert table.ended == is_relayed


def test_last_message_is_delivered_after_the_channel_has_ended() -> None:
    table = Table()

    class Looking(Receiving):
        def on_close(self) -> None:
            self.got.append((table.phase, table.table.bound, table.ended))

    looking = Looking()
    table.table.bind_incoming(ID, looking)
    table.table.on_message(ChannelClose(0, ID))
    assert looking.got == [(Phase.ENDED, 0, 1)]


# ------------------------------------------------------------ what is told


def test_statistics_tell_what_is_open_by_direction() -> None:
    table = Table("relayed").table
    table.announce((20,))
    table.end(22)
    table.bind_incoming(4, Receiving())
    table.bind_outgoing(6, Sending())
    assert table.statistics() == (
        ChannelStatistics(2, "out", 0, 0),
        ChannelStatistics(1, "in", 16, 0),
        ChannelStatistics(ID, "proxied", None, 0),
    )
    assert repr(table) == "<ChannelTable: 2 bound, 1 proxied>"
