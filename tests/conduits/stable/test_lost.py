"""Which of the lost clients a server gives up when there are too many."""

from __future__ import annotations

from collections.abc import Hashable

from hypothesis import given
from hypothesis import strategies as st

from roam_trio.links.resuming.lost import LostClients, Record


def stranger(host: Hashable = "elsewhere", seconds: float = 0.0) -> Record:
    return Record(messages=0, seconds=seconds, lost_at=0.0, host=host)


def worker(
    host: Hashable = "here",
    seconds: float = 100.0,
    identity: Hashable = None,
    *,
    messages: int = 1000,
    lost_at: float = 0.0,
) -> Record:
    return Record(messages, seconds, lost_at, host, identity)


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


def test_messages_bound_the_time_for_which_a_client_counts_as_working() -> None:
    lost = LostClients[str](2)
    given = {
        "idle": worker(seconds=1000, messages=1),
        "short": worker(seconds=11),
        "busy": worker(seconds=100, messages=10),
        "long": worker(seconds=99, messages=10),
    }
    assert given_up(lost, given) == ["idle", "short"]
    assert given["busy"].worked == 100


def made_room(lost: LostClients[str], host: Hashable, *times: float) -> list[str]:
    """Return the clients that give their places to new ones of a host, at times."""
    gone = [lost.make_room(host, now) for now in times]
    return [client for client in gone if client is not None]


def test_client_keeps_its_place_for_as_long_as_it_has_worked_less_ten_seconds() -> None:
    lost = LostClients[str](9)
    assert made_room(lost, "new", 0) == []
    lost.add("honest", worker("here", seconds=70, lost_at=1000))
    lost.add("brief", worker("there", seconds=15, lost_at=1000))
    assert made_room(lost, "new", 1000, 1004.9) == []
    assert made_room(lost, "new", 1005, 1005, 1059.9) == ["brief"]
    assert made_room(lost, "new", 1060) == ["honest"]


def test_clients_without_ten_seconds_of_work_give_their_places_at_once() -> None:
    lost = LostClients[str](9)
    lost.add("honest", worker("here", seconds=70))
    lost.add("one call", worker("x", seconds=1000, messages=1))
    lost.add("no call", stranger("y"))
    lost.add("shorter", worker("z", seconds=9))
    assert made_room(lost, "here", 0, 0, 0, 0) == ["no call", "shorter", "one call"]


def test_host_keeps_no_more_places_than_those_of_new_clients_from_elsewhere() -> None:
    lost = LostClients[str](9)
    for name in "abcd":
        lost.add(name, worker("there", seconds=1000 + ord(name)))
    lost.add("honest", worker("here", seconds=11))
    assert made_room(lost, "there", 0) == []
    assert made_room(lost, "here", 0, 0, 0) == ["a", "b"]
    assert made_room(lost, "new", 0, 0) == ["c"]


def test_identity_keeps_no_more_places_from_many_hosts() -> None:
    lost = LostClients[str](9)
    for name in "abc":
        lost.add(name, worker(f"host of {name}", identity="bot"))
    lost.add("honest", worker("here", identity="ada"))
    assert made_room(lost, "new", 0, 0, 0) == ["a", "b"]


def test_client_is_removed_once() -> None:
    lost = LostClients[str](1)
    lost.add("a", worker(identity="ada"))
    lost.remove("a")
    lost.remove("a")
    assert (len(lost), lost._of_host, lost._of_identity) == (0, {}, {})


RECORDS = st.builds(
    Record,
    messages=st.sampled_from([0, 1, 9]),
    seconds=st.sampled_from([0.0, 1.0, 10.0]),
    lost_at=st.just(0.0),
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
        idle = [each for each in kept.values() if not each.messages]
        assert not kept[gone].messages or not idle
        if not idle:
            hosts = [each.host for each in kept.values()]
            identities = [each.identity for each in kept.values()]
            counts = hosts.count(kept[gone].host), identities.count(kept[gone].identity)
            is_known = kept[gone].identity is not None
            assert max(counts if is_known else counts[:1]) > most // len(set(hosts))
        del kept[gone]
        assert len(lost) == len(kept) == most
