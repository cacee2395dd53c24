"""Which endpoint gets a call, and what becomes of endpoints, decided without I/O."""

from __future__ import annotations

from collections import Counter

import pytest

from roam_trio.endpoints.lasting.balancing import (
    LASTED,
    LATENCY_DECAY,
    Address,
    Balance,
    Endpoint,
    EndpointTable,
    Phase,
)
from roam_trio.links.resuming.source import Backoff

BACKOFF = Backoff(initial=1.0, factor=2.0, longest=8.0, jitter=0.0)


def table_of(
    *addresses: Address, balance: Balance = "first", sessions: int = 1
) -> tuple[EndpointTable[str], list[Endpoint[str]]]:
    """Return a table whose endpoints are all ready."""
    table = EndpointTable[str](balance, BACKOFF)
    new, _ = table.update(addresses, sessions)
    for endpoint in new:
        table.connected(endpoint, endpoint.address.url, 0.0)
    return table, new


A, B, C = Address("a"), Address("b"), Address("c")


def picks(table: EndpointTable[str], count: int) -> Counter[str]:
    found: Counter[str] = Counter()
    for _ in range(count):
        endpoint = table.pick(0.0)
        assert endpoint is not None
        found[endpoint.address.url] += 1
    return found


def test_nothing_is_picked_while_nothing_is_ready() -> None:
    table = EndpointTable[str]("first", BACKOFF)
    assert table.pick(0.0) is None
    table.update([A], 1)
    assert table.pick(0.0) is None


def test_first_picks_in_order_and_goes_on_to_the_next() -> None:
    table, (a, b) = table_of(A, B)
    assert picks(table, 3) == {"a": 3}
    table.lost(a, 100.0)
    assert picks(table, 3) == {"b": 3}
    table.connected(a, "a", 0.0)
    assert picks(table, 3) == {"a": 3}
    assert table.pick(0.0, frozenset([a])) is b
    assert table.pick(0.0, frozenset([a, b])) is a


def test_round_robin_gives_each_its_share_by_weight() -> None:
    table, _ = table_of(A, B, Address("c", weight=2), balance="round robin")
    assert picks(table, 40) == {"a": 10, "b": 10, "c": 20}


def test_a_newcomer_gets_its_share_and_nothing_to_catch_up() -> None:
    table, _ = table_of(A, B, balance="round robin")
    picks(table, 100)
    new, _ = table.update([A, B, C], 1)
    table.connected(new[0], "c", 0.0)
    assert picks(table, 30) == {"a": 10, "b": 10, "c": 10}


def test_least_busy_avoids_the_slow_one_even_with_one_call_at_a_time() -> None:
    table, _ = table_of(A, B, C, balance="least busy")
    now = 0.0
    found: Counter[str] = Counter()
    for _ in range(1000):
        endpoint = table.pick(now)
        assert endpoint is not None
        seconds = 0.1 if endpoint.address.url == "c" else 0.01
        endpoint.note_time(seconds, now + seconds)
        now += seconds
        found[endpoint.address.url] += 1
    assert 1 <= found["c"] <= 10
    assert abs(found["a"] - found["b"]) < 100


def test_least_busy_counts_the_calls_in_flight() -> None:
    table, endpoints = table_of(A, B, C, balance="least busy")
    for endpoint in endpoints:
        endpoint.note_time(0.01, 0.0)
    found: Counter[str] = Counter()
    for _ in range(30):
        endpoint = table.pick(0.0)
        assert endpoint is not None
        endpoint.calls += 1
        found[endpoint.address.url] += 1
    assert found == {"a": 10, "b": 10, "c": 10}


def test_least_busy_asks_an_unknown_one_once_at_a_time() -> None:
    table, (a, b) = table_of(A, B, balance="least busy")
    a.note_time(0.01, 0.0)
    first = table.pick(0.0)
    assert first is b
    b.calls += 1
    assert table.pick(0.0) is a


def test_least_busy_gives_more_to_a_greater_weight_before_times_are_known() -> None:
    heavy = Address("b", weight=3)
    table, _ = table_of(A, heavy, balance="least busy")
    found: Counter[str] = Counter()
    for _ in range(40):
        endpoint = table.pick(0.0)
        assert endpoint is not None
        endpoint.calls += 1
        found[endpoint.address.url] += 1
    assert abs(found["b"] - 30) <= 1


def test_one_that_was_slow_is_asked_again_after_a_while() -> None:
    table, (a, b) = table_of(A, B, balance="least busy")
    a.note_time(0.01, 0.0)
    b.note_time(1.0, 0.0)
    assert table.pick(0.0) is a
    later = LATENCY_DECAY * 6
    a.note_time(0.01, later)
    assert table.pick(later) is b


def test_times_grow_at_once_and_shrink_by_and_by() -> None:
    endpoint = Endpoint[str](A, 0)
    endpoint.note_time(0.1, 0.0)
    endpoint.note_time(1.0, 0.0)
    assert endpoint.latency == 1.0
    endpoint.note_time(0.1, 0.0)
    assert endpoint.latency == 1.0
    endpoint.note_time(0.1, LATENCY_DECAY)
    assert 0.4 < endpoint.latency < 0.5


def test_a_lower_priority_is_used_only_while_no_other_is_ready() -> None:
    table, (a, _) = table_of(A, Address("b", priority=1), balance="round robin")
    assert picks(table, 4) == {"a": 4}
    table.lost(a, 100.0)
    assert picks(table, 4) == {"b": 4}
    table.connected(a, "a", 0.0)
    assert picks(table, 4) == {"a": 4}


def test_pauses_grow_until_a_session_has_lasted() -> None:
    table, (a,) = table_of(A)
    soon = 100.0 + LASTED / 2
    waits = []
    for _ in range(5):
        table.connected(a, "a", 100.0)
        table.lost(a, soon)  # it has begun, and ended soon
        waits.append(a.rests_until - soon)
    assert waits == [1.0, 2.0, 4.0, 8.0, 8.0]
    assert a.phase is Phase.RESTING
    table.connecting(a)
    assert a.phase is Phase.CONNECTING
    table.lost(a, 1000.0)  # it did not begin, however long that took
    assert a.rests_until == 1008.0
    table.connected(a, "a", 2000.0)
    table.lost(a, 2000.0 + LASTED)
    assert a.rests_until == 2000.0 + LASTED


def test_one_that_drains_gets_no_more_calls() -> None:
    table, (a, b) = table_of(A, B, balance="round robin")
    table.drain(a)
    assert picks(table, 3) == {"b": 3}
    table.remove(a)
    assert table.endpoints == (b,)


def test_one_that_drains_is_followed_by_another_with_its_address() -> None:
    table, (a, b) = table_of(A, B)
    table.connected(a, "a", 0.0)
    table.drain(a)
    new = table.follow(a, LASTED)
    assert (new.address, new.number, new.failures) == (A, 0, 0)
    assert table.endpoints == (new, b, a)
    table.connected(new, "a", LASTED)
    table.drain(new)
    assert table.follow(new, LASTED).failures == 1  # it has not lasted
    assert table.update([A, B], 1) == ([], [])


def test_an_update_adds_what_is_new_and_drains_what_is_gone() -> None:
    table, (a, b) = table_of(A, B)
    new, gone = table.update([C, A], 1)
    assert [each.address for each in new] == [C]
    assert gone == [b]
    assert b.phase is Phase.DRAINING
    assert [each.address.url for each in table.endpoints] == ["c", "a", "b"]
    assert table.pick(0.0) is a
    assert table.update([C, A], 1) == ([], [])
    table.connected(b, "b", 0.0)
    assert b.phase is Phase.DRAINING


def test_an_address_can_have_several_sessions() -> None:
    table, endpoints = table_of(A, B, balance="round robin", sessions=2)
    assert [(each.address.url, each.number) for each in endpoints] == [
        ("a", 0),
        ("a", 1),
        ("b", 0),
        ("b", 1),
    ]
    assert {table.pick(0.0) for _ in range(4)} == set(endpoints)


@pytest.mark.parametrize("wrong", [{"priority": -1}, {"weight": 0}])
def test_addresses_are_checked(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Address("a", **wrong)


def test_endpoints_beyond_some_are_known() -> None:
    table, (a, b) = table_of(A, B)
    assert table.has_ready_beyond(frozenset([a]))
    assert not table.has_ready_beyond(frozenset([a, b]))
    table.drain(b)
    assert not table.has_ready_beyond(frozenset([a]))
