"""What thousands of lasting clients do together: shares, peaks, retries, recovery."""

from __future__ import annotations

import math

import attrs
import pytest

from .herd import Herd, Setup

SMALL = Setup(clients=200, servers=10, uses=3, begins_within=5.0)
LARGE = Setup(clients=10_000, servers=100, uses=4, rate=0.03, lease=20.0)


def check_shares(herd: Herd) -> None:
    """Check that all servers have about as many sessions, and as many calls."""
    sessions = herd.sessions()
    mean = sum(sessions) / len(sessions)
    print(f"sessions: {min(sessions)} to {max(sessions)}, {mean:.0f} on average")
    assert max(sessions) < 1.5 * mean < 3 * min(sessions)
    called = [herd.called[each.number] for each in herd.servers]
    mean = sum(called) / len(called)
    print(f"calls: {min(called)} to {max(called)}, {mean:.0f} on average")
    assert max(called) < 2 * mean < 5 * min(called)


def check_restart_of_a_tenth(herd: Herd) -> None:
    """Check the peaks while a tenth of the servers is gone for three seconds."""
    began, setup = int(herd.now), herd.setup
    clients_of_one = setup.clients * setup.uses / setup.servers
    calls_before = herd.calls.copy()
    herd.stop(herd.servers[: setup.servers // 10])
    herd.run_until(began + 3)
    herd.start()
    seconds = herd.seconds_until_whole()
    herd.run_until(began + 30)
    during = herd.peak(began, began + 3) / clients_of_one
    after = herd.peak(began + 3) / clients_of_one
    asked = herd.peak_asked(began) / setup.clients
    print(
        f"restart of a tenth: connects a second for each client of a server: "
        f"{during:.2f} while it is gone, {after:.2f} afterwards; questions a second "
        f"for each client: {asked:.2f}; whole after {seconds} s"
    )
    # Without a spread, more than five: 0, 0.04, 0.1, 0.3 and 0.6 seconds after the end.
    assert during < 2.8
    assert after < 1.6
    assert asked < 1
    assert seconds < 2
    assert herd.calls["waited"] - calls_before["waited"] < setup.clients / 20
    assert herd.calls["failed"] == calls_before["failed"]


def check_outage(herd: Herd) -> None:
    """Check what happens while no server is there for ten seconds."""
    began, setup = int(herd.now), herd.setup
    before = herd.calls.copy()
    herd.stop(herd.servers)
    herd.run_until(began + 10)
    made_until_then = herd.calls["done"] - before["done"]
    assert made_until_then < setup.clients * setup.rate
    herd.start()
    seconds = herd.seconds_until_whole()
    herd.run_until(began + 40)
    # A client tries further servers, up to twice as many.
    clients_of_one = 2 * setup.clients * setup.uses / setup.servers
    after = herd.peak(began + 10) / clients_of_one
    print(
        f"outage of all: connects a second for each client of a server: {after:.2f} "
        f"afterwards; whole after {seconds:.2f} s"
    )
    assert after < 1
    assert seconds < 2 * setup.retry.backoff.longest
    assert herd.calls["failed"] == before["failed"]
    waiting = sum(len(each._waiting) for each in herd.clients)
    assert not waiting


def check_outage_of_the_resolver(herd: Herd) -> None:
    """Check that clients go on with what they know, and ask ever more seldom."""
    began, setup = int(herd.now), herd.setup
    before, dialed = herd.calls.copy(), herd.dialed.total()
    herd.resolver_is_up = False
    herd.run_until(began + 30)
    herd.resolver_is_up = True
    herd.run_until(began + 40)
    late = [n for second, n in herd.asked.items() if began + 15 <= second < began + 30]
    # Pauses grow to five seconds, less a random part.
    usual = setup.clients / min(setup.lease, 0.75 * setup.retry.backoff.longest)
    peak = max(late)
    print(f"outage of the resolver: {peak / usual:.2f} times the usual questions")
    assert peak < 2 * usual
    assert herd.dialed.total() == dialed
    assert herd.calls["waited"] == before["waited"]


def check_all(setup: Setup) -> None:
    herd = Herd(setup)
    herd.run_until(20)
    check_shares(herd)
    check_restart_of_a_tenth(herd)
    check_outage(herd)
    check_outage_of_the_resolver(herd)


def test_hundreds_of_clients_do_not_come_together() -> None:
    check_all(SMALL)


@pytest.mark.slow
def test_ten_thousand_clients_of_a_hundred_servers_do_not_come_together() -> None:
    check_all(LARGE)


def test_first_calls_of_many_clients_go_to_many_servers() -> None:
    for balance in ("round robin", "least busy"):
        setup = attrs.evolve(SMALL, balance=balance, rate=0.02, uses=10)
        herd = Herd(setup)
        herd.run_until(20)
        assert herd.calls["made"] < setup.clients  # few have made a second one
        assert max(herd.called.values()) < 0.4 * herd.calls["made"]


def test_retries_stay_within_the_budget_while_servers_die_again_and_again() -> None:
    """Each call is in flight when its server dies, or nearly."""
    retry = attrs.evolve(SMALL.retry, attempts=10, reserve=2.0)
    setup = attrs.evolve(SMALL, retry=retry, takes=0.5, rate=1.0)
    herd = Herd(setup)
    herd.run_until(10)
    for _ in range(60):
        herd.stop(herd.chance.sample(herd.servers, setup.servers // 2))
        herd.run_until(herd.now + 0.1)
        herd.start()
        herd.run_until(herd.now + 0.4)
    allowed = retry.budget * herd.calls["made"] + retry.reserve * setup.clients
    print(
        f"{herd.calls['again']} retries of {herd.calls['made']} calls, "
        f"{allowed:.0f} allowed, {herd.calls['failed']} failed"
    )
    assert herd.calls["failed"]  # or the budget was never short
    assert 0.3 * allowed < herd.calls["again"] <= allowed


def test_herd_is_the_same_for_one_seed() -> None:
    setup = attrs.evolve(SMALL, clients=50)
    herds = [Herd(setup, seed) for seed in (1, 1, 2)]
    for herd in herds:
        herd.run_until(10)
        herd.stop(herd.servers)
        herd.run_until(20)
    assert herds[0].dialed == herds[1].dialed != herds[2].dialed
    assert herds[0].calls == herds[1].calls
    assert math.isinf(herds[0].seconds_until_whole(longest=1.0))
