"""Budgets: what counts where, who is refused, and whose session ends."""

from __future__ import annotations

import pytest

from roam_trio import Limits
from roam_trio.errors import LimitExceeded, Overloaded
from roam_trio.session.budgets import Bounds, Budget


def session(server: Budget | None = None, **limits: int) -> Budget:
    return Budget(Bounds.of_session(Limits(**limits)), server)


def server(memory: int = 800, tasks: int = 80) -> Budget:
    return Budget(Bounds.of_server(memory, tasks))


class Ending:
    """A session that holds something, and notes how it ends."""

    def __init__(self, server: Budget, size: int = 0, tasks: int = 0) -> None:
        self.budget = session(server)
        self.budget.begin(self.end)
        self.ends: list[LimitExceeded] = []
        if size:
            self.budget.hold(size)
        if tasks:
            self.budget.take(0, tasks)

    def end(self, error: LimitExceeded) -> None:
        self.ends.append(error)
        self.budget.stop()


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
    large.budget.wait(750)
    with pytest.raises(Overloaded, match=r"751 bytes.*limit: memory") as caught:
        large.budget.wait(1)
    assert caught.value.was_begun is True
    assert (large.budget.bytes, whole.bytes, large.ends) == (750, 800, [])
    small.budget.wait(50)
    assert [error.limit for error in large.ends] == ["memory"]


def test_largest_ends_for_what_it_cannot_be_refused() -> None:
    whole = server(memory=800)
    large, small = Ending(whole, 700), Ending(whole, 90)
    with pytest.raises(LimitExceeded, match=r"this one 711 bytes.*limit: memory"):
        large.budget.hold(11)
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


def test_sessions_that_end_and_give_nothing_back_leave_an_eighth_to_others() -> None:
    whole = server(memory=800)
    stuck = Ending(whole, 750)
    stuck.budget.stop()
    live, other = Ending(whole, 100), Ending(whole, 20)
    for one in (live, other):
        with pytest.raises(Overloaded, match="limit: memory"):
            one.budget.take(31)
        with pytest.raises(LimitExceeded, match="limit: memory"):
            one.budget.hold(31)
    live.budget.take(30)
    assert whole.bytes == 900
    assert [one.ends for one in (stuck, live, other)] == [[], [], []]


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
    assert not whole._holders
