"""Budgets: what counts where, who is refused, and whose session ends."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roam_trio import Limits
from roam_trio.errors import LimitExceeded, Overloaded
from roam_trio.peers import Credentials, Peer
from roam_trio.session.bounds import MESSAGE_BYTES, Bounds
from roam_trio.session.budgets import Budget
from roam_trio.session.server_budget import ServerBudget


def session(
    server: ServerBudget | None = None, peer: Peer | None = None, **limits: int
) -> Budget:
    return Budget(Bounds.of_session(Limits(**limits)), server, peer)


def server(memory: int = 800, tasks: int = 80) -> ServerBudget:
    return ServerBudget(Bounds.of_server(memory, tasks))


class Ending:
    """A session that holds something, and notes how it ends."""

    def __init__(
        self,
        server: ServerBudget,
        size: int = 0,
        tasks: int = 0,
        peer: Peer | None = None,
    ) -> None:
        self.budget = session(server, peer)
        self.budget.begin(self.end)
        self.ends: list[LimitExceeded] = []
        if size:
            self.budget.hold(size)
        if tasks:
            self.budget.take(0, tasks)

    def end(self, error: LimitExceeded) -> None:
        self.ends.append(error)
        self.budget.stop()


def tcp(host: str, identity: object = None) -> Peer:
    return Peer("tcp", f"{host}:1", identity=identity)


STRANGERS = tcp("198.51.100.1")
HONEST = tcp("192.0.2.1")


# ------------------------------------------------------------ of a session


def test_new_work_is_refused_from_seven_eighths_of_the_bytes_of_a_session() -> None:
    budget = session(session_bytes=800)
    budget.take(700)
    with pytest.raises(Overloaded) as caught:
        budget.take(1)
    assert caught.value.text == (
        "this session would hold 701 bytes, at most 700 may be (limit: session_bytes)"
    )
    assert caught.value.was_begun is False
    assert budget.bytes == 700


def test_what_cannot_be_refused_ends_the_session_beyond_all_its_bytes() -> None:
    budget = session(session_bytes=800)
    budget.take(700)
    budget.hold(100)
    with pytest.raises(LimitExceeded, match=r"801 bytes.*limit: session_bytes") as info:
        budget.hold(1)
    assert info.value.limit == "session_bytes"
    assert budget.bytes == 800


def test_responses_that_wait_end_no_session_and_keep_new_work_out() -> None:
    budget = session(session_bytes=800)
    budget.wait(1000)
    with pytest.raises(Overloaded, match=r"1001 bytes.*limit: session_bytes"):
        budget.take(1)
    budget.hold(800)
    with pytest.raises(LimitExceeded, match=r"801 bytes.*limit: session_bytes"):
        budget.hold(1)
    budget.go_on(1000)
    assert budget.bytes == 800


def test_tasks_of_a_session_are_bounded() -> None:
    budget = session(session_tasks=2)
    budget.take(0, 1)
    budget.take(0, 1)
    with pytest.raises(Overloaded, match=r"3 tasks.*limit: session_tasks"):
        budget.take(0, 1)
    budget.give(0, 1)
    budget.take(0, 1)


def test_metadata_of_calls_is_bounded_as_a_part_of_the_bytes() -> None:
    budget = session(session_bytes=800, call_metadata_bytes=100)
    budget.take_metadata(100)
    with pytest.raises(Overloaded, match=r"101 bytes of metadata.*call_metadata_bytes"):
        budget.take_metadata(1)
    assert (budget.bytes, budget.metadata) == (100, 100)


def test_early_messages_are_bounded_as_a_part_of_the_bytes() -> None:
    budget = session(session_bytes=800, early_bytes=100, early_items=1)
    budget.hold_early(100 + MESSAGE_BYTES)
    with pytest.raises(LimitExceeded, match=r"357 bytes of early.*limit: early_bytes"):
        budget.hold_early(1)
    assert (budget.bytes, budget.early) == (356, 356)
    budget.give_early(356)
    budget.take(700)
    with pytest.raises(LimitExceeded, match="limit: session_bytes"):
        budget.hold_early(101)
    assert (budget.bytes, budget.early) == (700, 0)


def test_metadata_that_the_session_has_no_room_for_is_not_counted() -> None:
    budget = session(session_bytes=800, call_metadata_bytes=100)
    budget.take(700)
    with pytest.raises(Overloaded, match="limit: session_bytes"):
        budget.take_metadata(1)
    assert (budget.bytes, budget.metadata) == (700, 0)


def test_what_is_given_back_makes_room() -> None:
    budget = session(session_bytes=800)
    for _ in range(10):
        budget.take(700)
        budget.give(700)
    assert repr(budget) == "<Budget: 0 bytes, 0 tasks>"


# ------------------------------------------------------------ of a server


def test_sessions_count_against_their_server_too() -> None:
    whole = server()
    one, other = session(whole), session(whole)
    one.take(100, 1)
    other.hold(50)
    assert (whole.bytes, whole.tasks) == (150, 1)
    one.give(40)
    assert (whole.bytes, one.bytes) == (110, 60)
    one.close()
    other.close()
    assert (whole.bytes, whole.tasks) == (0, 0)


def test_new_work_of_the_largest_is_refused_first() -> None:
    whole = server(memory=800)
    large, small = Ending(whole, 600), Ending(whole, 50)
    with pytest.raises(Overloaded, match=r"651 bytes \(limit: memory\)"):
        large.budget.take(51)
    small.budget.take(51)
    large.budget.hold(50)
    assert not large.ends


def test_response_of_the_largest_cannot_wait_where_the_server_has_no_room() -> None:
    whole = server(memory=800)
    large, small = Ending(whole), Ending(whole, 50)
    assert large.budget.wait(650) is None
    excess = large.budget.wait(1)
    assert excess is not None
    refusal = excess.as_refusal(was_begun=True)
    assert re.search(r"651 bytes.*limit: memory", str(refusal))
    assert (large.budget.bytes, whole.bytes, large.ends) == (650, 700, [])
    assert small.budget.wait(50) is None
    assert [error.limit for error in large.ends] == ["memory"]


def test_peer_with_most_of_the_memory_gets_no_room_that_it_has_yet_to_give_back() -> (
    None
):
    whole = server(memory=800)
    crowd, other = tcp("192.0.2.1"), tcp("192.0.2.2")
    large, small = Ending(whole, 400, peer=crowd), Ending(whole, 200, peer=crowd)
    honest = Ending(whole, 50, peer=other)
    assert small.budget.wait(51) is not None
    assert [error.limit for error in large.ends] == ["memory"]
    assert (whole.bytes, small.ends) == (650, [])
    assert small.budget.wait(50) is None
    assert small.budget.wait(1) is not None
    assert honest.budget.wait(100) is None
    assert (whole.bytes, small.ends, honest.ends) == (800, [], [])


def test_largest_ends_for_what_it_cannot_be_refused() -> None:
    whole = server(memory=800)
    large, small = Ending(whole, 700), Ending(whole, 90)
    with pytest.raises(
        LimitExceeded,
        match=r"^the server is out of its budget: .* this one 711 bytes "
        r"\(limit: memory; whoever runs the server can raise it in serve\(\)\)",
    ) as caught:
        large.budget.hold(11)
    assert caught.value.of_server
    assert not small.ends


@pytest.mark.parametrize("can_refuse", [True, False])
def test_largest_ends_where_another_needs_room(can_refuse: bool) -> None:
    whole = server(memory=800)
    large, small = Ending(whole, 600), Ending(whole, 190)
    ask = small.budget.take if can_refuse else small.budget.hold
    ask(10)
    assert not large.ends
    ask(10)
    assert [each.limit for each in large.ends] == ["memory"]
    assert "600 bytes" in str(large.ends[0])
    assert small.budget.bytes == 210


def test_second_largest_does_not_end_while_the_largest_gives_back() -> None:
    whole = server(memory=800)
    large, second, small = Ending(whole, 400), Ending(whole, 300), Ending(whole, 100)
    small.budget.hold(50)
    assert large.ends
    small.budget.hold(50)
    assert not second.ends
    large.budget.close()
    assert (whole.bytes, second.ends) == (500, [])


def test_new_work_is_refused_beyond_an_eighth_that_sessions_do_not_give_back() -> None:
    whole = server(memory=800)
    stuck = Ending(whole, 750)
    stuck.budget.stop()
    live, other = Ending(whole, 100), Ending(whole, 20)
    for one in (live, other):
        with pytest.raises(Overloaded, match="limit: memory"):
            one.budget.take(31)
        excess = one.budget.wait(31)
        assert excess is not None
        assert excess.limit == "memory"
    live.budget.take(30)
    assert whole.bytes == 900
    assert [one.ends for one in (stuck, live, other)] == [[], [], []]


def test_largest_ends_where_sessions_that_end_leave_no_room_for_another() -> None:
    whole = server(memory=800)
    stuck = Ending(whole, 750)
    stuck.budget.stop()
    live, small, other = (Ending(whole, size) for size in (100, 20, 10))
    small.budget.hold(40)
    assert [each.limit for each in live.ends] == ["memory"]
    with pytest.raises(LimitExceeded, match=r"this one 61 bytes.*limit: memory"):
        small.budget.hold(1)  # is the largest by now
    other.budget.hold(40)
    assert len(small.ends) == 1


def test_largest_does_not_end_for_more_than_a_quarter_beyond() -> None:
    whole = server(memory=800)
    stuck = Ending(whole, 750)
    stuck.budget.stop()
    live, small = Ending(whole, 120), Ending(whole, 20)
    with pytest.raises(LimitExceeded, match=r"this one 131 bytes.*limit: memory"):
        small.budget.hold(111)
    assert not live.ends
    small.budget.hold(90)
    assert live.ends


def test_trifle_is_held_whatever_sessions_hold_that_end() -> None:
    whole = server(memory=512_000)
    for size in (512_000, 64_000):  # an eighth beyond
        Ending(whole, size).budget.stop()
    first = Ending(whole, 400, peer=HONEST)
    with pytest.raises(LimitExceeded, match=r"this one 1001 bytes.*limit: memory"):
        first.budget.hold(601)
    first.budget.stop()
    second = Ending(whole, 600, peer=HONEST)
    with pytest.raises(LimitExceeded, match=r"this one 601 bytes.*limit: memory"):
        second.budget.hold(1)  # what the first does not give back counts, too
    with pytest.raises(Overloaded, match="limit: memory"):
        Ending(whole).budget.take(1)


def test_second_largest_ends_where_the_first_is_not_enough() -> None:
    whole = server(memory=800)
    large, second, small = Ending(whole, 60), Ending(whole, 500), Ending(whole, 240)
    large.budget.stop()
    small.budget.hold(60)
    assert not second.ends
    small.budget.hold(1)
    assert second.ends
    assert not large.ends


def test_tasks_of_a_server_are_kept_in_the_same_way() -> None:
    whole = server(tasks=80)
    large, small = Ending(whole, tasks=60), Ending(whole, tasks=10)
    with pytest.raises(Overloaded, match=r"61 tasks \(limit: tasks\)"):
        large.budget.take(0, 1)
    large.budget.hold(1)  # is no task
    small.budget.take(0, 10)
    assert not large.ends
    small.budget.take(0, 1)
    assert [each.limit for each in large.ends] == ["tasks"]


def test_session_at_rest_is_not_known_to_its_server() -> None:
    whole = server()
    one = session(whole)
    one.give(0)
    one.take(5)
    one.give(5)
    assert not whole._parts


# ------------------------------------------------------------ holders


@pytest.mark.parametrize(
    ("many", "one"),
    [
        ((tcp("198.51.100.1"), tcp("198.51.100.1")), HONEST),
        ((tcp("[2001:db8::1]"), tcp("[2001:db8::2]")), HONEST),
        ((tcp("198.51.100.1", "bot"), tcp("198.51.100.2", "bot")), HONEST),
        (
            (tcp("10.0.0.1", "bot"), tcp("10.0.0.1", "bot")),
            tcp("10.0.0.1", "ada"),
        ),
        (
            tuple(Peer("unix", "x", credentials=Credentials(n, 7, 7)) for n in (1, 2)),
            Peer("unix", "x", credentials=Credentials(3, 8, 7)),
        ),
    ],
    ids=["address", "network", "identity", "same address", "user"],
)
def test_many_small_sessions_of_one_peer_give_way_to_a_larger_one_of_another(
    many: tuple[Peer, Peer], one: Peer
) -> None:
    whole = server(memory=800)
    honest = Ending(whole, 40, peer=one)
    crowd = [Ending(whole, 16, peer=many[number % 2]) for number in range(44)]
    with pytest.raises(Overloaded, match=r"this one 17 bytes.*limit: memory"):
        crowd[5].budget.take(1)
    honest.budget.take(50)
    honest.budget.hold(40)
    assert [len(each.ends) for each in crowd] == [1, 1, 1, *[0] * 41]
    assert not honest.ends
    assert whole.bytes - 3 * 16 <= 800


def test_sessions_without_a_peer_are_holders_by_themselves() -> None:
    whole = server(memory=800)
    large, *_, small = (Ending(whole, size) for size in (300, 240, 200, 40))
    small.budget.take(30)
    assert large.ends


def test_smaller_sessions_of_a_holder_are_refused_after_its_largest() -> None:
    whole = server(memory=800)
    large, small, other = (
        Ending(whole, size, peer=peer)
        for size, peer in ((500, STRANGERS), (100, STRANGERS), (150, HONEST))
    )
    small.budget.take(50)
    with pytest.raises(Overloaded):
        large.budget.take(1)
    small.budget.take(50)
    assert len(large.ends) == 1
    assert not small.ends + other.ends


def test_as_many_sessions_end_as_make_room() -> None:
    whole = server(memory=800)
    crowd = [Ending(whole, 10, peer=STRANGERS) for _ in range(79)]
    honest = Ending(whole, peer=HONEST)
    honest.budget.hold(100)
    assert sum(len(each.ends) for each in crowd) == 9


def test_session_ends_that_is_the_largest_before_there_is_room_for_it() -> None:
    whole = server(memory=800)
    crowd = [Ending(whole, 10, peer=STRANGERS) for _ in range(54)]
    large = Ending(whole, 250, peer=HONEST)
    with pytest.raises(LimitExceeded, match=r"this one 450 bytes.*limit: memory"):
        large.budget.hold(200)
    assert sum(len(each.ends) for each in crowd) == 9
    assert repr(whole) == "<ServerBudget: 790 bytes, 0 tasks>"


def test_work_of_the_largest_is_refused_where_others_are_too_small_to_make_room() -> (
    None
):
    whole = server(memory=800)
    small = Ending(whole, 100)
    with pytest.raises(Overloaded, match=r"this one 701 bytes"):
        Ending(whole).budget.take(701)
    assert not small.ends


def test_session_that_gets_its_identity_counts_for_it_from_then_on() -> None:
    whole = server(memory=800)
    large = Ending(whole, 680, peer=STRANGERS)
    peer = tcp("198.51.100.1")
    early = session(whole, peer)
    early.note(60)  # before the session is set up
    peer.identity = "ada"
    ended: list[LimitExceeded] = []
    early.begin(ended.append)
    small = Ending(whole, peer=HONEST)
    small.budget.hold(65)
    assert large.ends
    small.budget.hold(1)
    assert not ended


def test_holders_are_compared_only_until_there_is_room_again() -> None:
    whole = server(memory=800)
    one, other = Ending(whole, 650), Ending(whole, 50)
    are_compared = [whole._crowd is not None]
    for budget, change in ((other, 1), (one, -100), (one, -100)):
        if change > 0:
            budget.budget.take(change)
        else:
            budget.budget.give(-change)
        are_compared.append(whole._crowd is not None)
    assert are_compared == [False, True, True, False]


class World:
    """A server and six sessions of four peers."""

    def __init__(self) -> None:
        self.server = server(memory=80, tasks=8)
        peers = [tcp("10.0.0.1"), tcp("10.0.0.1"), HONEST, HONEST, STRANGERS, None]
        self.sessions = [session(self.server, peer) for peer in peers]

    def ask(self, number: int, name: str, size: int, tasks: int) -> None:
        one = self.sessions[number]
        if name == "take":
            one.take(size, tasks)
        elif name == "give":
            one.give(min(size, one.bytes), min(tasks, one.tasks))
        elif name == "begin":
            one.begin(lambda _: one.stop())
        elif name == "end":
            one.end(LimitExceeded("any", "any"))
        else:
            getattr(one, name)(size)

    def check(self) -> None:
        whole, sessions = self.server, self.sessions
        assert whole.bytes == sum(one.bytes for one in sessions)
        assert whole.tasks == sum(one.tasks for one in sessions)
        ending = [one for one in sessions if one.to_end is None]
        assert whole._ending["bytes"] == sum(one.bytes for one in ending)
        assert whole._ending["tasks"] == sum(one.tasks for one in ending)
        holding = {one for one in sessions if one.bytes or one.tasks}
        assert set(whole._parts) == holding
        if whole._crowd is not None:
            self.check_holders(whole._crowd, holding)

    def check_holders(self, crowd: Any, holding: set[Budget]) -> None:
        holders = [crowd.holder(one) for one in holding]
        assert set(crowd._of_part) == holding
        assert set(crowd._by_key.values()) == set(holders)
        for holder in holders:
            of_it = [one for one in holding if crowd.holder(one) is holder]
            live = [one for one in of_it if one.to_end is not None]
            assert holder.number == len(of_it)
            assert holder.bytes == sum(one.bytes for one in live)
            assert holder.tasks == sum(one.tasks for one in live)
            assert holder.all_bytes == sum(one.bytes for one in of_it)
            largest = holder.sessions["bytes"].largest()
            most = max((one.bytes for one in live), default=0)
            assert (0 if largest is None else largest.bytes) == most


ASKS = st.tuples(
    st.integers(0, 5),
    st.sampled_from(["take", "hold", "wait", "note", "give", "begin", "end"]),
    st.integers(1, 30),
    st.integers(0, 3),
)


@given(st.lists(ASKS, max_size=60))
def test_counts_agree_with_what_sessions_hold(asks: list[Any]) -> None:
    world = World()
    for number in range(6):
        world.ask(number, "begin", 0, 0)
    for ask in asks:
        with suppress(Overloaded, LimitExceeded):
            world.ask(*ask)
        world.check()
    for one in world.sessions:
        one.close()
    assert (world.server.bytes, world.server.tasks) == (0, 0)


def calls_made(work: Callable[[], object]) -> int:
    """Return the number of functions that are called."""
    calls = 0

    def count(frame: object, event: str, arg: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(before)
    return calls


def test_steps_of_a_count_do_not_grow_with_the_number_of_sessions() -> None:
    """Above 7/8, for sessions that take turns in being the largest."""

    def steps(sessions: int) -> int:
        whole = server(memory=sessions * 1000)
        holders = [
            Ending(whole, 920, peer=tcp(f"10.0.{n // 256}.{n % 256}"))
            for n in range(sessions)
        ]
        assert whole._crowd is not None
        one, other = holders[0].budget, holders[1].budget

        def take_turns() -> None:
            for _ in range(100):
                for each in (one, other):
                    each.hold(50)
                    each.give(50)

        made = calls_made(take_turns)
        assert whole._crowd is not None
        return made

    few = steps(10)
    assert steps(1000) < 1.5 * few
