"""Rejections of virtual connections that a program can tell apart."""

from __future__ import annotations

import pytest
import trio

from roam_trio import (
    Metadata,
    MetadataEntry,
    MetadataFlags,
    Overloaded,
    Refused,
    SessionRejected,
    Unavailable,
)
from roam_trio.session import AcceptedConnection, Session
from roam_trio.session.proxy import accept_from
from roam_trio.session.refusal import Refusal
from roam_trio.session.rejection import error_of_rejection, metadata_of_rejection
from roam_trio.wire.messages import ConnectionSettings

from .connecting import Acceptor
from .running import join

BUSY = Overloaded(text="ten are open", retry_after=2.5, was_begun=False)


@pytest.mark.parametrize(
    "refusal",
    [
        BUSY,
        Refused("denied", "not for you"),
        Unavailable(text="no server is there", was_begun=False),
    ],
    ids=["overloaded", "refused", "unavailable"],
)
async def test_what_an_acceptor_raises_is_raised_by_the_open(
    refusal: Refusal, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    left, _ = await join(nursery, accepting={"on_connection": Acceptor(refusal)})
    with pytest.raises(type(refusal), match=refusal.text) as caught:
        await left.open_connection()
    told = caught.value
    assert (told.code, told.text) == (refusal.code, refusal.text)
    assert (told.was_begun, told.retry_after) == (
        refusal.was_begun,
        refusal.retry_after,
    )
    assert told.by_peer
    assert not caplog.records


async def test_peer_that_knows_no_additions_gets_the_text_alone(
    nursery: trio.Nursery,
) -> None:
    left, _ = await join(
        nursery,
        accepting={"on_connection": Acceptor(BUSY)},
        deadlines=False,
    )
    with pytest.raises(SessionRejected) as caught:
        await left.open_connection()
    assert [*caught.value.metadata] == [MetadataEntry("error", "ten are open")]


def test_refusal_without_a_text_tells_its_code() -> None:
    metadata = metadata_of_rejection(Refused("denied"), peer_knows=False)
    assert metadata.get("error") == "denied"


def test_refusal_of_another_peer_passes_without_what_was_for_one_hop() -> None:
    once = MetadataEntry("hop", 1, MetadataFlags.NO_PROPAGATE)
    sent = metadata_of_rejection(
        Refused("denied", "no", metadata=Metadata([once])), peer_knows=True
    )
    assert sent.get("hop") == 1
    heard = error_of_rejection(sent)
    assert isinstance(heard, Refused)
    passed_on = metadata_of_rejection(heard, peer_knows=True)
    assert passed_on.get("hop") is None
    assert [entry.key for entry in passed_on].count("error") == 1


@pytest.mark.parametrize("code", ["failed", "deadline", "", 7])
def test_codes_that_are_no_refusals_are_rejections(code: str | int) -> None:
    assert isinstance(
        error_of_rejection(Metadata.of({"error-code": code})), SessionRejected
    )


async def test_refusal_passes_through_a_proxy(nursery: trio.Nursery) -> None:
    upstream, _ = await join(nursery, accepting={"on_connection": Acceptor(BUSY)})
    left, _ = await join(nursery, accepting={"on_connection": _To(upstream)})
    with pytest.raises(Overloaded, match="ten are open"):
        await left.open_connection()


class _To:
    def __init__(self, upstream: Session) -> None:
        self._upstream = upstream

    async def accept(
        self, connection_id: int, settings: ConnectionSettings, metadata: Metadata
    ) -> AcceptedConnection | Metadata:
        return await accept_from(self._upstream, settings, metadata)
