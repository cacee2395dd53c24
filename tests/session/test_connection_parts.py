"""The small parts of a connection: its port, its binder, and who needs it.

Nothing here needs a run of trio.
"""

from __future__ import annotations

import pytest

from roam_trio import Limits
from roam_trio.errors import ConnectionLost, LimitExceeded, RemoteProtocolError
from roam_trio.session.binder import ConnectionBinder
from roam_trio.session.channel_state import ChannelState
from roam_trio.session.channel_table import ChannelTable, Phase
from roam_trio.session.liveness import Liveness
from roam_trio.wire.ids import Parity
from roam_trio.wire.messages import ChannelClose, ChannelItem

from .ports import PortOfNobody, plan_of

# ------------------------------------------------------------ who needs a connection


@pytest.mark.rule("rpc.caller.liveness.last-drop-closes-connection")
@pytest.mark.parametrize(
    ("held", "released", "channels", "is_unused"),
    [
        (0, 0, 0, False),  # it never had a caller
        (0, 0, 1, False),
        (1, 0, 0, False),
        (1, 1, 1, False),
        (1, 1, 0, True),
        (3, 2, 0, False),
        (3, 3, 5, False),
        (3, 3, 0, True),
    ],
)
def test_connection_is_unused_without_its_callers_and_channels(
    held: int, released: int, channels: int, is_unused: bool
) -> None:
    liveness = Liveness()
    for _ in range(held):
        liveness.hold()
    for _ in range(released):
        liveness.release()
    assert liveness.callers == held - released
    assert liveness.has_become_unused(channels) == is_unused
    assert not liveness.has_become_unused(0) or not is_unused  # said only once


@pytest.mark.rule("rpc.caller.liveness.refcounted")
def test_new_caller_makes_a_connection_used_again() -> None:
    liveness = Liveness()
    for _ in range(3):
        liveness.hold()
        assert not liveness.has_become_unused(0)
        liveness.release()
        assert liveness.has_become_unused(0)
        assert not liveness.has_become_unused(0)


# ------------------------------------------------------------ what was dropped


def test_dropped_channels_are_ended_in_the_order_of_dropping() -> None:
    port, order = PortOfNobody(), list[str]()
    port.drop_later(lambda: order.append("first"))
    port.drop_later(lambda: order.append("second"))
    assert order == []
    port.end_dropped()
    port.end_dropped()
    assert order == ["first", "second"]


def test_what_is_dropped_by_the_end_of_another_is_ended_too() -> None:
    port, order = PortOfNobody(), list[str]()

    def first() -> None:
        order.append("first")
        port.drop_later(lambda: order.append("second"))

    port.drop_later(first)
    port.end_dropped()
    assert order == ["first", "second"]


def test_port_tells_why_its_connection_has_ended() -> None:
    port = PortOfNobody()
    assert port.ended_because is None
    why = ConnectionLost("why")
    port.end(why)
    assert port.ended_because is why
    assert repr(port) == "<Port of connection 3>"


# ------------------------------------------------------------ binding


class Bound:
    """A binder, and the table it puts channels into."""

    def __init__(self, ours: Parity = Parity.ODD, **limits: int) -> None:
        self.port = PortOfNobody(Limits(**limits))
        self.ends = 0
        self.table = ChannelTable(self.port.limits, ours.other(), self._on_ended)
        self.binder = ConnectionBinder(self.port, self.table, ours)

    def _on_ended(self) -> None:
        self.ends += 1

    def phase(self, channel_id: int = 2) -> Phase:
        return self.table.entries[channel_id].phase


@pytest.mark.rule("rpc.channel.allocation")
@pytest.mark.parametrize(
    ("ours", "numbers"), [(Parity.ODD, [1, 3, 5]), (Parity.EVEN, [2, 4, 6])]
)
def test_channels_of_this_side_have_its_parity(
    ours: Parity, numbers: list[int]
) -> None:
    binder = Bound(ours).binder
    assert [binder.allocate() for _ in range(3)] == numbers


@pytest.mark.rule("rpc.channel.binding.callee-args.rx")
def test_bound_receiver_gets_the_items_of_its_channel() -> None:
    bound = Bound()
    source = bound.binder.source(2, plan_of(4))
    bound.table.on_message(ChannelItem(3, 2, b"\x07"))
    bound.table.on_message(ChannelItem(3, 4, b"\x08"))
    assert source.receive_nowait() == 7
    assert source.statistics().queued == 0


@pytest.mark.rule("rpc.channel.binding.callee-args.tx")
def test_end_by_this_side_ends_the_channel_in_the_table() -> None:
    bound = Bound()
    bound.binder.sink(2, plan_of(4)).close()
    bound.binder.source(4, plan_of(4)).reset()
    assert [bound.phase(number) for number in (2, 4)] == [Phase.ENDED] * 2
    assert (bound.table.bound, bound.ends) == (0, 2)


def test_channel_is_closed_on_the_wire_before_its_connection_may_end_with_it() -> None:
    bound = Bound()
    told: list[object] = []
    table = ChannelTable(Limits(), Parity.EVEN, lambda: told.extend(bound.port.pushed))
    ConnectionBinder(bound.port, table, Parity.ODD).sink(2, plan_of(4)).close()
    assert told == [ChannelClose(3, 2)]


@pytest.mark.parametrize("kind", ["sink", "source"])
def test_what_is_bound_after_the_end_is_lost_from_the_start(kind: str) -> None:
    bound = Bound()
    bound.port.end(ConnectionLost("the connection has ended"))
    make = bound.binder.sink if kind == "sink" else bound.binder.source
    assert make(2, plan_of(4)).state is ChannelState.LOST
    assert bound.table.entries == {}


@pytest.mark.rule("rpc.flow-control.credit")
def test_peer_is_blamed_for_early_items_beyond_the_credit_and_not_the_handler() -> None:
    bound = Bound()
    for _ in range(2):
        bound.table.on_message(ChannelItem(3, 2, b"\x07"))
    source = bound.binder.source(2, plan_of(1))
    assert source.receive_nowait() == 7
    (failure,) = bound.port.failures
    assert isinstance(failure, RemoteProtocolError)
    assert failure.description == "channel 2: an item came without credit"


def test_peer_is_blamed_for_early_items_that_are_too_much_to_wait_unread() -> None:
    bound = Bound(unread_bytes=65)
    for _ in range(2):
        bound.table.on_message(ChannelItem(3, 2, b"\x07"))
    bound.binder.source(2, plan_of(16))
    (failure,) = bound.port.failures
    assert isinstance(failure, LimitExceeded)
    assert failure.limit == "unread_bytes"


@pytest.mark.parametrize("kind", ["sink", "source"])
def test_channel_cannot_be_bound_twice(kind: str) -> None:
    bound = Bound()
    bound.binder.source(2, plan_of(4))
    make = bound.binder.sink if kind == "sink" else bound.binder.source
    with pytest.raises(RuntimeError, match="channel 2 is bound: it cannot be bound"):
        make(2, plan_of(4))
    assert bound.port.failures == []
