"""The member with the largest amount, against a model that looks at all of them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from roam_trio.session.ranking import Ranking


def test_nobody_is_the_largest_of_none() -> None:
    assert Ranking[str](len).largest() is None


def test_of_equals_the_first_is_the_largest() -> None:
    ranking = Ranking[str](len)
    for word in ("a", "bb", "cc"):
        ranking.note(word)
    assert ranking.largest() == "bb"


def test_member_without_an_amount_is_not_the_largest() -> None:
    amounts = {"ada": 2, "bob": 1}
    ranking = Ranking[str](amounts.__getitem__)
    for member in amounts:
        ranking.note(member)
    amounts["ada"] = 0
    assert ranking.largest() == "bob"
    amounts["ada"] = 1
    ranking.note("ada")
    ranking.remove("bob")
    assert ranking.largest() == "ada"


@given(st.lists(st.tuples(st.integers(0, 5), st.none() | st.integers(0, 9))))
def test_largest_is_that_of_the_model(changes: list[tuple[int, int | None]]) -> None:
    amounts: dict[int, int] = {}
    ranking = Ranking[int](amounts.__getitem__)
    for member, amount in changes:
        if amount is None:
            ranking.remove(member)
            amounts.pop(member, None)
        else:
            amounts[member] = amount
            ranking.note(member)
        largest = ranking.largest()
        most = max(amounts.values(), default=0)
        assert (0 if largest is None else amounts[largest]) == most


def test_what_is_out_of_date_is_not_kept() -> None:
    amounts = dict.fromkeys(range(10), 1)
    ranking = Ranking[int](amounts.__getitem__)
    for _ in range(1000):
        for member in amounts:
            amounts[member] += 1
            ranking.note(member)
    assert len(ranking._heap) <= 21
    assert ranking.largest() == 0
