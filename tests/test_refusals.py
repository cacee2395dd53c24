"""The clients that a server refuses at a time, and which of them are cut off."""

from __future__ import annotations

from collections.abc import Hashable

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from roam_trio import (
    BareConduit,
    MessageFamily,
    Observer,
    Overloaded,
    Peer,
    memory_link_pair,
)
from roam_trio.endpoints.refusals import Refusal, Refusals
from roam_trio.session.turning_away import turn_away
from roam_trio.wire.messages import ProtocolError
from tests.peer import Peer as RawPeer


def begun(refusals: Refusals, *hosts: Hashable) -> list[Refusal]:
    return [refusals.begin(host) for host in hosts]


def cut_off(made: list[Refusal]) -> list[int]:
    return [n for n, each in enumerate(made) if each.scope.cancel_called]


async def test_as_many_as_the_number_are_refused_side_by_side() -> None:
    refusals = Refusals(2.0, most=3)
    made = begun(refusals, "a", "a", "b")
    assert cut_off(made) == []
    refusals.end(made[0])
    refusals.begin("c")
    assert cut_off(made) == []
    assert repr(refusals) == "<Refusals: 3 of at most 3>"


async def test_oldest_of_the_host_with_the_most_is_cut_off() -> None:
    refusals = Refusals(2.0, most=4)
    made = begun(refusals, "honest", "a", "a", "b", "a", "a", None, None)
    assert cut_off(made) == [1, 2, 4, 6]
    assert len(refusals) == 4
    refusals.end(made[1])  # as its task does then
    assert len(refusals) == 4


async def test_host_that_is_not_known_is_one_of_them() -> None:
    refusals = Refusals(2.0, most=2)
    assert cut_off(begun(refusals, None, "a", None)) == [0]


async def test_nothing_is_kept_of_hosts_that_have_gone() -> None:
    refusals = Refusals(2.0)
    for each in begun(refusals, *range(1000)):
        refusals.end(each)
    assert (len(refusals), refusals._of_host) == (0, {})


async def test_refusal_has_bounded_time(autojump_clock: MockClock) -> None:
    (refusal,) = begun(Refusals(2.0), "a")
    with refusal.scope:
        await trio.sleep_forever()
    assert trio.current_time() == 2.0


# ------------------------------------------------------------ telling


class Told(Observer):
    def __init__(self) -> None:
        self.of: list[str] = []

    def client_turned_away(self, peer: Peer, because: Exception) -> None:
        self.of.append(str(because))


WHY = Overloaded(text="full (limit: max_sessions)")


async def test_client_is_told_before_it_has_said_a_word(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    near, far = memory_link_pair(8)
    told = Told()
    nursery.start_soon(turn_away, BareConduit(far, MessageFamily()), WHY, 5.0, told)
    peer = RawPeer(near)
    refusal = await peer.hear(ProtocolError)
    assert refusal.description == "refused: overloaded: full (limit: max_sessions)"
    await peer.tx.close()
    await wait_all_tasks_blocked()
    assert trio.current_time() == 0
    assert len(told.of) == 1


@pytest.mark.parametrize(("close_seconds", "lasts"), [(5.0, 1.0), (0.25, 0.25)])
async def test_client_that_does_not_close_is_let_go(
    close_seconds: float, lasts: float, autojump_clock: MockClock
) -> None:
    near, far = memory_link_pair(8)
    await turn_away(BareConduit(far, MessageFamily()), WHY, close_seconds, None)
    assert trio.current_time() == lasts
    await RawPeer(near).hear(ProtocolError)


async def test_client_is_let_go_at_once_if_that_is_cancelled(
    autojump_clock: MockClock,
) -> None:
    near, far = memory_link_pair(8)
    with trio.move_on_after(0.5):
        await turn_away(BareConduit(far, MessageFamily()), WHY, 5.0, None)
    assert trio.current_time() == 0.5
    await RawPeer(near).hear(ProtocolError)


async def test_client_that_has_gone_need_not_be_told(
    autojump_clock: MockClock,
) -> None:
    near, far = memory_link_pair(8)
    for half in near.split():
        await half.close()
    told = Told()
    await turn_away(BareConduit(far, MessageFamily()), WHY, 5.0, told)
    assert trio.current_time() == 0
    assert len(told.of) == 1
