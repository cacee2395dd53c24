"""What the two ends of a channel decide: credit, states, and what waits unread.

Nothing here needs a run of trio: only sending and receiving wait.
"""

from __future__ import annotations

from typing import Any

import pytest
import trio

from roam_trio import Limits
from roam_trio.codec import ChannelPlan
from roam_trio.errors import (
    LimitExceeded,
    RemoteProtocolError,
    RxClosed,
    RxConnectionLost,
    RxDecodeError,
    RxReset,
    TxClosed,
    TxConnectionLost,
    TxReset,
)
from roam_trio.session.channel_in import ITEM_BYTES, IncomingChannel
from roam_trio.session.channel_out import OutgoingChannel
from roam_trio.session.channel_state import ChannelState
from roam_trio.wire.messages import (
    ChannelClose,
    ChannelGrantCredit,
    ChannelReset,
)

from .ports import PortOfNobody, plan_of

CREDIT = 4
VALUE = b"\x05"


class Ends:
    """An end of a channel, its port, and the numbers of the channels that it ended."""

    def __init__(self, *, credit: int = CREDIT, **limits: int) -> None:
        self.port = PortOfNobody(Limits(**limits))
        self.ended: list[int] = []
        self.plan: ChannelPlan = plan_of(credit)

    def sending(self) -> OutgoingChannel:
        return OutgoingChannel(self.port, 2, self.plan, self.ended.append)

    def receiving(self) -> IncomingChannel:
        return IncomingChannel(self.port, 2, self.plan, self.ended.append)

    @property
    def pushed(self) -> list[Any]:
        return self.port.pushed


def take_all(channel: IncomingChannel) -> list[object]:
    """Receive what waits, and the error that comes then."""
    found: list[object] = []
    while True:
        try:
            found.append(channel.receive_nowait())
        except Exception as error:
            return [*found, type(error)]


# ------------------------------------------------------------ sending


@pytest.mark.rule("rpc.flow-control.credit.initial")
@pytest.mark.parametrize("credit", [0, 1, CREDIT, 1000])
def test_sender_begins_with_the_credit_of_the_type(credit: int) -> None:
    channel = Ends(credit=credit).sending()
    assert (channel.credit, channel.state) == (credit, ChannelState.OPEN)


@pytest.mark.rule("rpc.flow-control.credit.grant.additive")
def test_credit_adds_up() -> None:
    channel = Ends(credit=1).sending()
    for additional in (1, 5, 2**32 - 1):
        channel.on_credit(additional)
    assert channel.credit == 1 + 1 + 5 + 2**32 - 1


@pytest.mark.rule("rpc.channel.close")
def test_close_is_told_once() -> None:
    ends = Ends()
    channel = ends.sending()
    channel.close()
    channel.close()
    assert ends.pushed == [ChannelClose(3, 2)]
    assert (ends.ended, channel.state) == ([2], ChannelState.CLOSED)


@pytest.mark.parametrize("how", ["reset", "lost"])
def test_close_after_the_peer_ended_the_channel_is_not_told(how: str) -> None:
    ends = Ends()
    channel = ends.sending()
    if how == "reset":
        channel.on_reset()
    else:
        channel.on_lost(RuntimeError("the link broke"))
    channel.close()
    assert (ends.pushed, ends.ended) == ([], [])


def test_first_end_of_a_sender_decides() -> None:
    for first, state in (
        (OutgoingChannel.close, ChannelState.CLOSED),
        (OutgoingChannel.on_reset, ChannelState.RESET),
    ):
        channel = Ends().sending()
        first(channel)
        channel.on_reset()
        channel.on_lost(RuntimeError())
        channel.close()
        assert channel.state is state


@pytest.mark.parametrize(
    ("end", "error", "text"),
    [
        (OutgoingChannel.close, TxClosed, "this end of the channel has been closed"),
        (OutgoingChannel.on_reset, TxReset, "the receiver wants no more items"),
        (
            lambda channel: channel.on_lost(RuntimeError("the link broke")),
            TxConnectionLost,
            "the channel was lost: the link broke",
        ),
    ],
    ids=["closed", "reset", "lost"],
)
def test_sender_says_why_it_cannot_send(
    end: Any, error: type[Exception], text: str
) -> None:
    channel = Ends().sending()
    end(channel)
    found = channel.why_not()
    assert type(found) is error
    assert text in str(found)


def test_dropped_sender_is_closed_a_little_later() -> None:
    ends = Ends()
    channel = ends.sending()
    channel.drop()
    assert (ends.pushed, channel.state) == ([], ChannelState.OPEN)
    ends.port.end_dropped()
    assert (ends.pushed, ends.ended) == ([ChannelClose(3, 2)], [2])
    channel.drop()
    assert not ends.port.dropped


def test_sender_tells_its_credit() -> None:
    channel = Ends().sending()
    channel.on_credit(3)
    found = channel.statistics()
    assert (found.channel_id, found.direction, found.credit) == (2, "out", 7)
    assert repr(channel) == "<channel 2 out, open, credit 7>"


# ------------------------------------------------------------ receiving: credit


@pytest.mark.rule("rpc.flow-control.credit")
@pytest.mark.parametrize("credit", [0, 1, CREDIT, 16])
def test_item_without_credit_breaks_the_protocol(credit: int) -> None:
    channel = Ends(credit=credit).receiving()
    for _ in range(credit):
        channel.on_item(VALUE)
    with pytest.raises(RemoteProtocolError) as caught:
        channel.on_item(VALUE)
    assert caught.value.description == "channel 2: an item came without credit"
    assert channel.statistics().queued == credit


@pytest.mark.rule("rpc.flow-control.credit.grant")
@pytest.mark.parametrize(
    ("credit", "grants"),
    [(1, [1] * 8), (2, [1] * 8), (4, [2] * 4), (5, [2] * 4), (8, [4] * 2)],
)
def test_credit_is_granted_for_half_a_window_at_a_time(
    credit: int, grants: list[int]
) -> None:
    ends = Ends(credit=credit)
    channel = ends.receiving()
    for _ in range(8):
        channel.on_item(VALUE)
        assert channel.receive_nowait() == 5
    assert ends.pushed == [ChannelGrantCredit(3, 2, count) for count in grants]


@pytest.mark.parametrize("credit", [1, 3, 8, 17])
def test_sender_never_has_more_than_the_window(credit: int) -> None:
    channel = Ends(credit=credit).receiving()
    for _ in range(5 * credit):
        assert 1 <= channel.allowance <= credit
        channel.on_item(VALUE)
        channel.receive_nowait()


@pytest.mark.rule("rpc.flow-control.credit.initial.zero")
def test_window_of_zero_grants_nothing_by_itself() -> None:
    ends = Ends(credit=0)
    channel = ends.receiving()
    with pytest.raises(trio.WouldBlock):
        channel.receive_nowait()
    assert (ends.pushed, channel.allowance) == ([], 0)


def test_grant_opens_a_window_of_zero() -> None:
    ends = Ends(credit=0)
    channel = ends.receiving()
    channel.grant(2)
    channel.on_item(VALUE)
    channel.on_item(VALUE)
    assert take_all(channel) == [5, 5, trio.WouldBlock]
    counts = [grant.additional for grant in ends.pushed]
    assert counts == [2, 1, 1]  # and from then on one for each item received
    assert channel.allowance == 2


@pytest.mark.parametrize("count", [1, 1000, 2**32 - 1])
def test_grant_is_told_and_adds_up(count: int) -> None:
    ends = Ends()
    channel = ends.receiving()
    channel.grant(count)
    assert ends.pushed == [ChannelGrantCredit(3, 2, count)]
    assert channel.allowance == CREDIT + count


@pytest.mark.parametrize("count", [0, -1, 2**32])
def test_grant_of_no_count_is_refused(count: int) -> None:
    ends = Ends()
    with pytest.raises(
        ValueError, match=f"expected 1 to 4294967295 items, got {count}"
    ):
        ends.receiving().grant(count)
    assert ends.pushed == []


def test_no_credit_is_granted_once_the_sender_is_done() -> None:
    ends = Ends(credit=1)
    channel = ends.receiving()
    channel.on_item(VALUE)
    channel.on_close()
    channel.grant(5)
    assert take_all(channel) == [5, trio.EndOfChannel]
    assert ends.pushed == []


# ------------------------------------------------------------ receiving: ends


def end_of(channel: IncomingChannel, how: str) -> None:
    if how == "close":
        channel.on_close()
    elif how == "reset here":
        channel.reset()
    elif how == "reset":
        channel.on_reset()
    elif how == "lost":
        channel.on_lost(RuntimeError("the link broke"))
    else:
        channel.on_lost(RemoteProtocolError("a rule was broken"))


@pytest.mark.rule("rpc.channel.close", "rpc.channel.reset")
@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("close", [5, 5, trio.EndOfChannel]),
        ("reset here", [RxClosed]),
        ("reset", [RxReset]),
        ("lost", [5, 5, RxConnectionLost]),
        ("protocol error", [RxConnectionLost]),
    ],
)
def test_what_waits_is_received_or_forgotten_by_how_the_channel_ends(
    how: str, expected: list[object]
) -> None:
    ends = Ends(credit=8)
    channel = ends.receiving()
    channel.on_item(VALUE)
    channel.on_item(VALUE)
    end_of(channel, how)
    assert take_all(channel) == expected
    assert ends.port.unread_bytes == 0


@pytest.mark.parametrize("how", ["close", "reset here", "reset", "lost"])
def test_first_end_of_a_receiver_decides(how: str) -> None:
    channel = Ends().receiving()
    end_of(channel, how)
    state = channel.state
    for other in ("lost", "reset", "close"):
        end_of(channel, other)
    assert channel.state is state


@pytest.mark.rule("rpc.channel.reset")
def test_reset_is_told_once() -> None:
    ends = Ends()
    channel = ends.receiving()
    channel.reset()
    channel.reset()
    assert ends.pushed == [ChannelReset(3, 2)]
    assert (ends.ended, channel.state) == ([2], ChannelState.RESET)


def test_reset_of_what_the_sender_closed_forgets_and_tells_nothing() -> None:
    ends = Ends()
    channel = ends.receiving()
    channel.on_item(VALUE)
    channel.on_close()
    channel.reset()
    assert (take_all(channel), ends.pushed, ends.ended) == ([RxClosed], [], [])


def test_dropped_receiver_is_reset_a_little_later() -> None:
    ends = Ends()
    channel = ends.receiving()
    channel.on_item(VALUE)
    channel.drop()
    assert (ends.pushed, ends.port.unread_bytes) == ([], 1 + ITEM_BYTES)
    ends.port.end_dropped()
    assert (ends.pushed, ends.port.unread_bytes) == ([ChannelReset(3, 2)], 0)


@pytest.mark.parametrize(("queued", "is_reset"), [(0, False), (1, True)])
def test_receiver_dropped_after_the_close_has_only_items_to_forget(
    queued: int, is_reset: bool
) -> None:
    ends = Ends()
    channel = ends.receiving()
    for _ in range(queued):
        channel.on_item(VALUE)
    channel.on_close()
    channel.drop()
    assert bool(ends.port.dropped) == is_reset
    ends.port.end_dropped()
    assert (ends.pushed, ends.port.unread_bytes) == ([], 0)


# ------------------------------------------------------------ receiving: bytes


def test_unread_bytes_are_bounded_over_all_channels() -> None:
    ends = Ends(credit=16, unread_bytes=10 * (1 + ITEM_BYTES))
    first, second = ends.receiving(), ends.receiving()
    for _ in range(5):
        first.on_item(VALUE)
        second.on_item(VALUE)
    with pytest.raises(LimitExceeded) as caught:
        second.on_item(VALUE)
    assert caught.value.limit == "unread_bytes"
    assert f"items of {11 * (1 + ITEM_BYTES)} bytes wait unread" in str(caught.value)


def test_what_was_received_makes_room() -> None:
    ends = Ends(credit=16, unread_bytes=2 * (1 + ITEM_BYTES))
    channel = ends.receiving()
    for _ in range(100):
        channel.on_item(VALUE)
        channel.on_item(VALUE)
        assert ends.port.unread_bytes == 2 * (1 + ITEM_BYTES)
        assert take_all(channel) == [5, 5, trio.WouldBlock]
    assert ends.port.unread_bytes == 0


def test_item_that_is_not_of_its_type_is_received_as_an_error_and_no_others() -> None:
    channel = Ends().receiving()
    for item in (VALUE, b"", VALUE):
        channel.on_item(item)
    found = [channel.receive_nowait()]
    with pytest.raises(RxDecodeError):
        channel.receive_nowait()
    found.append(channel.receive_nowait())
    assert found == [5, 5]


def test_receiver_tells_its_allowance_and_what_waits() -> None:
    channel = Ends().receiving()
    channel.on_item(VALUE)
    found = channel.statistics()
    assert (found.direction, found.credit, found.queued) == ("in", 3, 1)
    assert repr(channel) == "<channel 2 in, open, 1 queued, allowance 3>"


# ------------------------------------------------------------ size


def test_ends_have_few_attributes_and_no_dict() -> None:
    for end in (Ends().sending(), Ends().receiving()):
        assert len(type(end).__slots__) <= 15
        assert not hasattr(end, "__dict__")
