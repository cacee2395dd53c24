"""What both sides of a session say and agree beyond the protocol: the handshake."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from roam_trio import Limits, Peer
from roam_trio.links.memory import memory_link_pair
from roam_trio.metadata import NO_METADATA, Metadata, MetadataEntry
from roam_trio.rpc.failure_metadata import FailurePolicy
from roam_trio.session import acceptor, initiator
from roam_trio.session.terms import (
    SessionTerms,
    said_in_handshake,
    taken_from_handshake,
)
from roam_trio.wire.ids import Parity
from roam_trio.wire.messages import ConnectionSettings, Hello, HelloYourself
from tests.peer import link_to_peer

from .running import join, run_of

NO_PROPAGATE = 2
KNOWS = MetadataEntry("roam-trio", 1, NO_PROPAGATE)
WHO = MetadataEntry("who", "me")


def test_side_that_knows_says_so_beside_its_own_metadata() -> None:
    assert said_in_handshake(Metadata([WHO])) == Metadata([WHO, KNOWS])


@pytest.mark.rule("rpc.metadata.unknown")
@pytest.mark.parametrize(
    ("told", "rest", "knows"),
    [
        ([], [], False),
        ([WHO], [WHO], False),
        ([WHO, KNOWS], [WHO], True),
        ([MetadataEntry("roam-trio", 7)], [], True),
        ([MetadataEntry("roam-trio", 0)], [], False),
        ([MetadataEntry("roam-trio", "one")], [], False),
        ([MetadataEntry("roam-trio", b"\1")], [], False),
    ],
)
def test_what_a_peer_says_of_itself_is_not_metadata_for_programs(
    told: list[MetadataEntry], rest: list[MetadataEntry], knows: bool
) -> None:
    assert taken_from_handshake(Metadata(told)) == (Metadata(rest), knows)


def test_peer_that_does_not_know_the_words_is_told_no_failure() -> None:
    policy = FailurePolicy("text")
    peer = Peer("memory", "nobody")
    terms = SessionTerms(limits=Limits(), peer=peer, failure_policy=policy)
    terms.agree(peer_knows=True)
    assert terms.failure_policy is policy
    terms.agree(peer_knows=False)
    assert terms.failure_policy is None


@pytest.mark.parametrize("initiator_says", [True, False])
@pytest.mark.parametrize("acceptor_says", [True, False])
async def test_acceptor_says_it_only_to_an_initiator_that_does(
    initiator_says: bool, acceptor_says: bool, nursery: trio.Nursery
) -> None:
    left, right = await join(
        nursery, deadlines=initiator_says, accepting={"deadlines": acceptor_says}
    )
    policies = [run_of(each).port.terms.failure_policy for each in (left, right)]
    assert [policy is not None for policy in policies] == [
        initiator_says and acceptor_says,
        initiator_says,
    ]


async def test_initiator_without_deadlines_says_nothing() -> None:
    link, peer = link_to_peer()
    await peer.say(HelloYourself(0, ConnectionSettings(Parity.EVEN, 64)))
    async with initiator(link, deadlines=False).open():
        assert (await peer.hear(Hello)).metadata == NO_METADATA
        await peer.leave()


@pytest.mark.parametrize("knows", [True, False])
async def test_acceptor_answers_in_the_words_of_its_peer(
    knows: bool, nursery: trio.Nursery
) -> None:
    link, peer = link_to_peer()
    told = Metadata([KNOWS]) if knows else NO_METADATA
    await peer.say(Hello(0, 7, ConnectionSettings(Parity.ODD, 64), told))
    session = await nursery.start(acceptor(link).run)
    assert (await peer.hear(HelloYourself)).metadata == told
    assert session.root.peer_metadata == NO_METADATA
    await peer.leave()


@pytest.mark.parametrize(
    ("option", "error", "told"),
    [
        ({"cancel_grace": -1.0}, ValueError, "cancel_grace: expected a finite number"),
        ({"cancel_grace": "1"}, TypeError, "cancel_grace: expected a finite number"),
        (
            {"tell_failures": "everything"},
            ValueError,
            "tell_failures: expected one of 'code', 'text', 'traceback', got 'every",
        ),
    ],
)
def test_option_out_of_range_is_refused_by_its_name(
    option: dict[str, Any], error: type[Exception], told: str
) -> None:
    for side in (initiator, acceptor):
        with pytest.raises(error, match=told):
            side(memory_link_pair(1)[0], **option)
