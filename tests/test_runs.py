"""Runs of items: what was received together, gathered, means the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roam_trio.native import NATIVE
from roam_trio.wire.envelope import (
    MessageFamily,
    decode_message,
    encode_message,
    functions,
)
from roam_trio.wire.messages import (
    ChannelClose,
    ChannelGrantCredit,
    ChannelItem,
    Message,
    Ping,
    RequestCancel,
)
from roam_trio.wire.runs import BORROW_FROM, MOST_IN_RUN, ItemRun

BY = {"Python": functions(None).gather}
if NATIVE is not None:
    BY["Rust"] = functions(NATIVE).gather

Gather = Callable[[Sequence[Any]], Sequence[Any]]

by_each = pytest.mark.parametrize("gather_items", BY.values(), ids=BY)

ids = st.sampled_from([0, 1, 3, 127, 128, 300, 2**40])

messages = st.one_of(
    st.builds(ChannelItem, ids, ids, st.binary(max_size=20)),
    st.builds(ChannelItem, st.just(0), st.just(1), st.binary(max_size=20)),
    st.builds(ChannelItem, st.just(0), st.just(1), st.just(b"x" * BORROW_FROM)),
    st.builds(ChannelGrantCredit, st.just(0), st.just(1), st.integers(1, 300)),
    st.builds(ChannelClose, st.just(0), st.just(1)),
    st.builds(RequestCancel, ids, ids),
    st.builds(Ping, st.just(0), ids),
)


def payload_of(message: Message) -> bytes:
    return b"".join(encode_message(message))


def spread(gathered: Sequence[bytes | memoryview | ItemRun]) -> list[Message]:
    spread: list[Message] = []
    for payload in gathered:
        if isinstance(payload, ItemRun):
            assert len(payload) > 1
            spread += payload
        else:
            spread.append(decode_message(payload))
    return spread


@by_each
@given(st.lists(messages, min_size=1, max_size=12))
def test_gathered_payloads_are_the_messages_that_were_sent(
    gather_items: Gather, sent: list[Message]
) -> None:
    gathered = gather_items([payload_of(message) for message in sent])
    assert list(map(payload_of, spread(gathered))) == list(map(payload_of, sent))


@given(st.lists(messages, min_size=1, max_size=12))
def test_messages_encoded_together_are_encoded_as_each_alone(
    sent: list[Message],
) -> None:
    encoded = MessageFamily().encode_all(sent)
    assert [b"".join(pieces) for pieces in encoded] == list(map(payload_of, sent))


@pytest.mark.parametrize("channel_id", [1, 127, 128, 2**63])
def test_run_of_items_is_encoded_as_its_items(channel_id: int) -> None:
    run = ItemRun(300, channel_id, [[b"a"], b"", [b"x" * 5000, b"y"], memoryview(b"z")])
    encoded = MessageFamily().encode_all(run)
    assert [b"".join(pieces) for pieces in encoded] == list(map(payload_of, run))


@by_each
def test_items_of_one_channel_that_follow_each_other_are_one_run(
    gather_items: Gather,
) -> None:
    sent = [ChannelItem(0, 1, bytes([number])) for number in range(5)]
    credit = ChannelGrantCredit(0, 2, 7)
    other = [ChannelItem(0, 3, b"a"), ChannelItem(0, 3, b"b")]
    gathered = gather_items(list(map(payload_of, [*sent, credit, *other])))
    first, between, last = gathered
    assert isinstance(first, ItemRun)
    assert isinstance(last, ItemRun)
    assert (first.channel_id, last.channel_id) == (1, 3)
    assert list(first.items) == [b"\0", b"\1", b"\2", b"\3", b"\4"]
    assert between == payload_of(credit)
    assert repr(first) == "<ItemRun of 5 items of channel 1>"
    assert first[1:3] == sent[1:3]


@by_each
def test_run_has_no_more_items_than_a_receiver_may_handle_at_once(
    gather_items: Gather,
) -> None:
    item = payload_of(ChannelItem(0, 1, b"a"))
    gathered = gather_items([item] * (2 * MOST_IN_RUN + 2))
    assert list(map(len, gathered)) == [MOST_IN_RUN, MOST_IN_RUN, 2]


@by_each
def test_other_payloads_are_left_as_they_are(gather_items: Gather) -> None:
    """They are not even copied: this is looked at for everything that is received."""
    calls = [payload_of(RequestCancel(0, number)) for number in range(8)]
    assert gather_items(calls) is calls
    garbage = [b"", b"\xff", b"\x00\x08", b"\x00\x08\x80"]
    assert gather_items(garbage) is garbage
    views = [memoryview(payload_of(ChannelItem(0, 1, b"a")))] * 4
    assert gather_items(views) is views


@by_each
def test_payloads_of_another_kind_in_between_are_left_as_they_are(
    gather_items: Gather,
) -> None:
    """A view may be of a buffer that its owner fills again."""
    payload = payload_of(ChannelItem(0, 1, b"a"))
    mixed: list[bytes | memoryview] = [memoryview(payload), *[payload] * 5]
    assert gather_items(mixed) is mixed
