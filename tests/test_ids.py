"""The numbers of a session, and who hands out which."""

from __future__ import annotations

import pytest

from roam_trio.wire.ids import IdAllocator, Parity


@pytest.mark.rule("session.parity")
def test_each_number_belongs_to_exactly_one_parity() -> None:
    assert [number for number in range(9) if Parity.ODD.owns(number)] == [1, 3, 5, 7]
    assert [number for number in range(9) if Parity.EVEN.owns(number)] == [2, 4, 6, 8]


def test_zero_and_negative_numbers_belong_to_nobody() -> None:
    for number in (0, -1, -2):
        assert not Parity.ODD.owns(number)
        assert not Parity.EVEN.owns(number)


@pytest.mark.rule("session.parity")
def test_the_counterpart_has_the_other_parity() -> None:
    assert Parity.ODD.other() is Parity.EVEN
    assert Parity.EVEN.other() is Parity.ODD


@pytest.mark.rule("session.parity")
@pytest.mark.parametrize(
    ("parity", "expected"), [(Parity.ODD, [1, 3, 5, 7]), (Parity.EVEN, [2, 4, 6, 8])]
)
def test_numbers_are_handed_out_in_order(parity: Parity, expected: list[int]) -> None:
    ids = IdAllocator(parity)
    assert [ids.allocate() for _ in expected] == expected
    assert repr(ids) == f"<IdAllocator next={expected[-1] + 2}>"


@pytest.mark.rule("session.parity")
def test_two_allocators_of_one_connection_never_meet() -> None:
    odd, even = IdAllocator(Parity.ODD), IdAllocator(Parity.EVEN)
    ours = {odd.allocate() for _ in range(1000)}
    theirs = {even.allocate() for _ in range(1000)}
    assert not ours & theirs
    assert all(map(Parity.ODD.owns, ours))
    assert all(map(Parity.EVEN.owns, theirs))
