"""Which keys stand for a session, whatever handshakes are cut off."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roam_trio.links.resuming.keys import MOST_KEYS, KeyRing, new_key


def ring_of(index: dict[bytes, str], owner: str = "session") -> KeyRing[str]:
    numbers = iter(range(1000))
    return KeyRing(index, owner, lambda: b"%s-%d" % (owner.encode(), next(numbers)))


@pytest.mark.rule("stable.resume-key")
def test_keys_are_of_16_bytes_and_never_the_same() -> None:
    keys = {new_key() for _ in range(100)}
    assert len(keys) == 100
    assert {len(key) for key in keys} == {16}


@pytest.mark.rule("stable.resume-key", "stable.handshake.server-hello")
def test_every_handshake_makes_a_key_that_is_found() -> None:
    index: dict[bytes, str] = {}
    first, second = ring_of(index, "first"), ring_of(index, "second")
    one, two = first.issue(None), second.issue(None)
    assert index == {one: "first", two: "second"}
    assert one in first
    assert one not in second
    another = first.issue(one)
    assert index == {one: "first", another: "first", two: "second"}


def test_old_key_is_good_until_the_client_proves_that_it_has_the_new_one() -> None:
    index: dict[bytes, str] = {}
    ring = ring_of(index)
    first = ring.issue(None)
    second = ring.issue(first)
    assert first in ring  # the answer may have been lost
    ring.prove()
    assert first not in ring
    assert list(index) == [second]


def test_showing_a_key_proves_it() -> None:
    index: dict[bytes, str] = {}
    ring = ring_of(index)
    first = ring.issue(None)
    second = ring.issue(first)
    third = ring.issue(second)
    assert list(index) == [second, third]


def test_key_of_a_link_that_comes_late_does_not_cost_the_newer_one() -> None:
    ring = ring_of({})
    first = ring.issue(None)
    known = ring.issue(first)
    late = ring.issue(first)  # from a link that the client has given up already
    assert known in ring
    assert late in ring


def test_keys_have_a_bound_and_the_proved_one_stays() -> None:
    index: dict[bytes, str] = {}
    ring = ring_of(index)
    proved = ring.issue(None)
    issued = [ring.issue(proved) for _ in range(100)]
    assert len(ring) == len(index) == MOST_KEYS
    assert proved in ring
    assert list(index) == [proved, *issued[1 - MOST_KEYS :]]


def test_no_key_is_good_after_the_end() -> None:
    index: dict[bytes, str] = {}
    ring = ring_of(index)
    ring.issue(ring.issue(None))
    ring.clear()
    assert index == {}
    ring.clear()


@given(st.lists(st.sampled_from(["answer lost", "answer got", "used"]), max_size=60))
def test_a_client_is_never_shut_out(handshakes: list[str]) -> None:
    index: dict[bytes, str] = {}
    ring = ring_of(index)
    known = ring.issue(None)
    for outcome in handshakes:
        assert known in ring
        key = ring.issue(known)
        if outcome != "answer lost":
            known = key
        if outcome == "used":
            ring.prove()
    assert known in ring
    assert 1 <= len(index) <= MOST_KEYS
