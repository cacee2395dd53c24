"""What a stream link has to write is counted without a stream, and without trio."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roam_trio.links.backlog import Backlog
from roam_trio.wire.frames import framed

HEADER = 4


def test_payloads_are_unwritten_until_they_are_written() -> None:
    backlog = Backlog(10, 1000)
    backlog.add(5)
    backlog.add(0)
    assert (backlog.unwritten_payloads, backlog.unwritten_size) == (2, 5 + 2 * HEADER)
    before = (backlog.payloads, backlog.size)
    backlog.add(7)  # while those before are written
    backlog.written(*before)
    assert (backlog.unwritten_payloads, backlog.unwritten_size) == (1, 7 + HEADER)
    assert backlog.payload_bytes == 12


@pytest.mark.parametrize("permits", [0, 1, 2])
def test_there_is_room_for_so_many_payloads_and_permits(permits: int) -> None:
    backlog = Backlog(3, 1000)
    for _ in range(3 - permits):
        assert backlog.has_room(permits)
        backlog.add(1)
    assert not backlog.has_room(permits)
    backlog.written(1, 1 + HEADER)
    assert backlog.has_room(permits)


def test_the_payload_that_goes_over_the_bytes_is_the_last_for_which_there_is_room() -> (
    None
):
    backlog = Backlog(100, 20)
    backlog.add(15)
    assert backlog.has_room(0)
    backlog.add(500)
    assert not backlog.has_room(0)
    backlog.written(1, 15 + HEADER)
    assert not backlog.has_room(0)
    backlog.written(2, 515 + 2 * HEADER)
    assert backlog.has_room(0)


def test_a_permit_counts_as_long_as_the_last_payload() -> None:
    backlog = Backlog(100, 100)
    backlog.add(50)
    assert backlog.has_room(0)
    assert not backlog.has_room(1)
    backlog.add(2)
    assert backlog.has_room(1)


def test_what_is_written_beside_counts_as_unwritten_and_takes_no_room() -> None:
    backlog = Backlog(1, 1)
    backlog.count_beside(1, 30)
    assert (backlog.unwritten_payloads, backlog.unwritten_size) == (1, 30)
    assert backlog.has_room(0)
    backlog.count_beside(-1, -30)
    assert (backlog.unwritten_payloads, backlog.unwritten_size) == (0, 0)


@given(
    most=st.tuples(st.integers(1, 5), st.integers(1, 60)),
    steps=st.lists(st.integers(-3, 30), max_size=40),
)
def test_room_is_as_if_every_unwritten_payload_were_looked_at(
    most: tuple[int, int], steps: list[int]
) -> None:
    backlog = Backlog(*most)
    lengths: list[int] = []
    written = 0
    for step in steps:
        if step >= 0:
            backlog.add(step)
            lengths.append(step)
        else:
            written = min(written - step, len(lengths))
            done = lengths[:written]
            backlog.written(len(done), sum(done) + HEADER * len(done))
        left = lengths[written:]
        size = sum(left) + HEADER * len(left)
        assert backlog.unwritten_payloads == len(left)
        assert backlog.unwritten_size == size
        for permits in range(3):
            last = lengths[-1] if lengths else 0
            assert backlog.has_room(permits) is (
                len(left) + permits < most[0] and size + permits * last < most[1]
            )


class Counted:
    """A budget that notes what it is asked."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def wait(self, size: int) -> bool:
        self.asked.append(size)
        return True

    def go_on(self, size: int) -> None:
        self.asked.append(-size)


def test_bytes_that_are_counted_already_are_not_counted_again() -> None:
    """Nothing, counted by a session that is over, would be kept for ever."""
    budget: Any = Counted()
    backlog = Backlog(10, 10**6)
    assert backlog.count()  # there is no budget yet
    backlog.count_in(budget)
    assert backlog.count()
    assert budget.asked == []
    backlog.add(10**5)
    assert backlog.count()
    assert backlog.count()
    assert budget.asked == [10**5 + HEADER]
    backlog.written(1, 10**5 + HEADER)
    assert backlog.count()
    assert budget.asked == [10**5 + HEADER, -(10**5 + HEADER)]


def test_repr_tells_what_is_unwritten() -> None:
    backlog = Backlog(10, 10)
    backlog.add(2)
    assert repr(backlog) == "<Backlog of 1 payloads (6 bytes)>"


@given(
    st.lists(st.integers(0, 30), min_size=1, max_size=6),
    st.integers(0, 3),
    st.integers(0, 3),
)
def test_several_are_counted_at_once_only_if_each_finds_room(
    lengths: list[int], before: int, permits: int
) -> None:
    backlogs = [Backlog(6, 80), Backlog(6, 80)]
    for backlog in backlogs:
        for _ in range(before):
            backlog.add(5)
    together, one_by_one = backlogs
    frames = framed(b"", [[bytes(length)] for length in lengths])
    assert frames is not None
    if together.add_all(frames, permits):
        for length in lengths:
            assert one_by_one.has_room(permits)
            one_by_one.add(length)
    assert repr(together) == repr(one_by_one)
    assert together.size == one_by_one.size
    assert together.has_room(permits) == one_by_one.has_room(permits)
