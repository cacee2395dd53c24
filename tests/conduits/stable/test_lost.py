"""Which of the lost clients a server gives up when there are too many."""

from __future__ import annotations

from collections.abc import Hashable

from hypothesis import given
from hypothesis import strategies as st

from roam_trio.links.resuming.lost import LostClients, Record


def stranger(host: Hashable = "elsewhere", seconds: float = 0.0) -> Record:
    return Record(has_worked=False, seconds=seconds, host=host)


def worker(
    host: Hashable = "here", seconds: float = 100.0, identity: Hashable = None
) -> Record:
    return Record(has_worked=True, seconds=seconds, host=host, identity=identity)


def given_up(lost: LostClients[str], records: dict[str, Record]) -> list[str]:
    """Return the clients that are given up as these are lost one after the other."""
    gone = [lost.add(client, record) for client, record in records.items()]
    return [client for client in gone if client is not None]


def test_nobody_is_given_up_below_the_number() -> None:
    lost = LostClients[str](3)
    assert given_up(lost, {name: stranger() for name in "abc"}) == []
    assert len(lost) == 3
    lost.remove("a")
    assert lost.add("d", worker()) is None
    assert repr(lost) == "<LostClients: 3 of at most 3>"


def test_client_that_never_worked_goes_first_even_if_it_comes_last() -> None:
    lost = LostClients[str](2)
    assert given_up(lost, {"a": worker(), "b": worker(), "c": stranger()}) == ["c"]
    assert len(lost) == 2


def test_host_with_the_most_lost_clients_gives_its_own_up() -> None:
    lost = LostClients[str](3)
    given = {
        "honest": worker("here", seconds=1),
        "a": worker("there", seconds=1000),
        "b": worker("there", seconds=2000),
        "c": worker("there", seconds=3000),
    }
    assert given_up(lost, given) == ["a"]


def test_of_one_host_the_client_with_the_shortest_time_goes() -> None:
    lost = LostClients[str](2)
    given = {
        "long": worker(seconds=9),
        "short": worker(seconds=1),
        "middle": worker(seconds=5),
        "shorter": worker(seconds=0.5),
    }
    assert given_up(lost, given) == ["short", "shorter"]


def test_of_equal_clients_the_one_that_was_lost_first_goes() -> None:
    lost = LostClients[str](2)
    assert given_up(lost, {name: worker() for name in "abcd"}) == ["a", "b"]


def test_identity_from_many_hosts_has_one_share() -> None:
    lost = LostClients[str](4)
    given = {
        "honest 1": worker("office", seconds=1),
        "honest 2": worker("office", seconds=1),
        **{f"bot {n}": worker(f"host {n}", identity="stolen") for n in range(5)},
    }
    # The office has two, and the identity three as the table overflows.
    assert given_up(lost, given) == ["bot 0", "bot 1", "bot 2"]


def test_identities_share_when_a_proxy_makes_all_clients_one_host() -> None:
    lost = LostClients[str](3)
    given = {
        "ada": worker("proxy", seconds=1, identity="ada"),
        **{f"bot {n}": worker("proxy", identity="bot") for n in range(4)},
    }
    assert given_up(lost, given) == ["bot 0", "bot 1"]


def test_many_identities_of_one_host_have_the_share_of_the_host() -> None:
    lost = LostClients[str](4)
    given = {
        "honest 1": worker("office", seconds=1),
        "honest 2": worker("office", seconds=1),
        **{f"bot {n}": worker("there", identity=n) for n in range(5)},
    }
    assert given_up(lost, given) == ["bot 0", "bot 1", "bot 2"]


def test_only_a_client_that_never_worked_makes_room_for_a_new_one() -> None:
    lost = LostClients[str](9)
    assert lost.take_idle() is None
    lost.add("honest", worker())
    assert lost.take_idle() is None
    lost.add("idle", stranger(seconds=5))
    lost.add("newer", stranger(seconds=1))
    assert [lost.take_idle() for _ in range(3)] == ["newer", "idle", None]
    assert len(lost) == 1


def test_client_is_removed_once() -> None:
    lost = LostClients[str](1)
    lost.add("a", worker(identity="ada"))
    lost.remove("a")
    lost.remove("a")
    assert (len(lost), lost._of_host, lost._of_identity) == (0, {}, {})


RECORDS = st.builds(
    Record,
    has_worked=st.booleans(),
    seconds=st.sampled_from([0.0, 1.0, 10.0]),
    host=st.integers(0, 5),
    identity=st.none() | st.integers(0, 5),
)


@given(st.integers(1, 6), st.lists(RECORDS, max_size=40))
def test_the_worst_goes_and_an_equal_share_stays(
    most: int, records: list[Record]
) -> None:
    lost = LostClients[int](most)
    kept: dict[int, Record] = {}
    for number, record in enumerate(records):
        kept[number] = record
        gone = lost.add(number, record)
        if len(kept) <= most:
            assert gone is None
            continue
        assert gone is not None
        idle = [each for each in kept.values() if not each.has_worked]
        assert not kept[gone].has_worked or not idle
        if not idle:
            hosts = [each.host for each in kept.values()]
            identities = [each.identity for each in kept.values()]
            counts = hosts.count(kept[gone].host), identities.count(kept[gone].identity)
            is_known = kept[gone].identity is not None
            assert max(counts if is_known else counts[:1]) > most // len(set(hosts))
        del kept[gone]
        assert len(lost) == len(kept) == most
