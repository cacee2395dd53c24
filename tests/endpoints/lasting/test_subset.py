"""The servers that each client uses of those that there are, decided without I/O."""

from __future__ import annotations

from collections import Counter

import pytest

from roam_trio.endpoints.lasting.balancing import Address, EndpointTable
from roam_trio.endpoints.lasting.staying import stay_connected
from roam_trio.endpoints.lasting.subset import Subset
from roam_trio.links.resuming.source import Backoff

from .test_stay_connected import Bank

TEN = [Address(str(number)) for number in range(10)]
CLIENTS = [number / 1000 for number in range(1000)]


def test_all_are_used_if_there_are_no_more() -> None:
    assert Subset(10, 0.5).choose(TEN) == TEN


def test_those_in_order_are_the_first() -> None:
    subset = Subset(2, None)
    assert subset.choose(TEN) == TEN[:2]
    assert subset.choose(TEN, {TEN[0]}) == TEN[:3]


def test_the_chosen_keep_the_order_in_which_they_are_given() -> None:
    chosen = Subset(4, 0.5).choose(TEN)
    assert chosen == sorted(chosen, key=TEN.index)
    assert len(chosen) == 4


def test_each_server_has_about_as_many_clients_as_its_weight_says() -> None:
    addresses = [*TEN[:8], Address("heavy", weight=2)]
    found = Counter(each for c in CLIENTS for each in Subset(1, c).choose(addresses))
    assert 160 < found[addresses[-1]] < 240
    assert all(70 < found[each] < 130 for each in TEN[:8])


def test_one_that_comes_or_goes_moves_only_clients_of_its_own() -> None:
    moved = 0
    for seed in CLIENTS:
        subset = Subset(3, seed)
        before, after = set(subset.choose(TEN)), set(subset.choose(TEN[1:]))
        assert before - after <= {TEN[0]}
        assert subset.choose(TEN) == Subset(3, seed).choose(TEN)  # when it is back
        moved += before != after
    assert 250 < moved < 350


def test_others_take_the_place_of_those_that_fail_up_to_twice_as_many() -> None:
    subset = Subset(3, 0.5)
    chosen = subset.choose(TEN)
    more = subset.choose(TEN, {chosen[0]})
    assert set(chosen) < set(more)
    assert len(more) == 4
    assert len(subset.choose(TEN, set(TEN))) == 6
    assert subset.choose(TEN) == chosen


def test_lower_priorities_are_used_first() -> None:
    addresses = [Address(f"{number}", priority=number // 5) for number in range(10)]
    assert set(Subset(5, 0.5).choose(addresses)) == set(addresses[:5])
    assert set(Subset(6, 0.5).choose(addresses)) > set(addresses[:5])


def test_a_table_knows_which_addresses_fail() -> None:
    table = EndpointTable[str]("round robin", Backoff())
    (a, b), _ = table.update(TEN[:2], 1)
    assert table.failing() == frozenset()
    table.lost(a, 1.0)
    table.connected(b, "b", 1.0)
    assert table.failing() == {TEN[0]}
    table.connecting(a)
    assert table.failing() == {TEN[0]}
    table.connected(a, "a", 2.0)
    assert table.failing() == frozenset()


def test_clients_of_one_server_that_have_others_come_back_one_by_one() -> None:
    waits: dict[int, list[float]] = {1: [], 2: []}
    for count, found in waits.items():
        for number in range(20):
            backoff = Backoff(chance=lambda number=number: number / 20)
            table = EndpointTable[str]("first", backoff)
            new, _ = table.update(TEN[:count], 1)
            for each in new:
                table.connected(each, "", 0.0)
            table.lost(new[0], 100.0)
            found.append(new[0].rests_until - 100.0)
    assert set(waits[1]) == {0.0}  # its calls wait, so there is a hurry
    assert waits[2] == pytest.approx([number / 20 for number in range(20)])


def test_first_calls_of_many_clients_go_to_all_servers() -> None:
    found: Counter[str] = Counter()
    for seed in CLIENTS:
        offsets = iter([seed, (seed * 7) % 1, (seed * 31) % 1])
        backoff = Backoff(chance=lambda offsets=offsets: next(offsets))
        table = EndpointTable[str]("round robin", backoff)
        for each in table.update(TEN[:3], 1)[0]:
            table.connected(each, "", 0.0)
        chosen = table.pick(0.0)
        assert chosen is not None
        found[chosen.address.url] += 1
    assert min(found[each.url] for each in TEN[:3]) > 200


def test_servers_are_at_least_one() -> None:
    with pytest.raises(
        ValueError, match="servers: expected a whole number from 1, got 0"
    ):
        stay_connected("memory://a", Bank, servers=0)
