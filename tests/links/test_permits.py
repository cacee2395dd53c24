"""Who may send, decided without a link, a stream or a run of trio."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import trio

from roam_trio.errors import LinkDead, PayloadTooLarge
from roam_trio.links.base import Buffer, TxStatistics
from roam_trio.links.permits import PermitTx, QueuedPermit


class Places(PermitTx):
    """A sending half with so many places, which permits and payloads take."""

    def __init__(self, places: int) -> None:
        super().__init__()
        self.places = places
        self.published: list[bytes] = []
        self.gone = 0

    def _has_room(self) -> bool:
        taken = self._permits + len(self.published) - self.gone
        return self._ending is None and taken < self.places

    def _new_permit(self) -> QueuedPermit:
        return QueuedPermit(self)

    def _check_length(self, length: int) -> None:
        if length > 10:
            raise PayloadTooLarge(length, 10)

    def _publish(self, pieces: Sequence[Buffer]) -> None:
        payload = b"".join(pieces)
        self._check_length(len(payload))
        self.published.append(payload)

    def leave(self) -> None:
        """The oldest payload has left."""
        self.gone += 1
        self._grant_permits()

    def end(self) -> None:
        self._end(LinkDead, "it is over", ValueError("cause"))

    def statistics(self) -> TxStatistics:
        raise NotImplementedError

    async def pump(self) -> None: ...

    async def close(self) -> None: ...

    async def abort(self) -> None: ...


@pytest.mark.rule("link.tx.reserve")
def test_permits_are_granted_while_there_is_room() -> None:
    tx = Places(2)
    first, second = tx.reserve_nowait(), tx.reserve_nowait()
    assert tx.is_full
    with pytest.raises(trio.WouldBlock):
        tx.reserve_nowait()
    with pytest.raises(trio.WouldBlock):
        tx.send_nowait([b"no"])
    second.send([b"of the ", b"2nd"])
    assert tx.is_full  # the payload has the place of its permit
    tx.leave()
    assert not tx.is_full
    first.release()
    assert tx.published == [b"of the 2nd"]


def test_a_payload_without_a_permit_takes_what_permits_leave() -> None:
    tx = Places(2)
    permit = tx.reserve_nowait()
    tx.send_nowait([b"at once"])
    assert not tx.has_room()
    permit.send([b"later"])
    assert tx.published == [b"at once", b"later"]


@pytest.mark.rule("link.tx.permit.drop")
def test_a_permit_given_up_leaves_its_place_once() -> None:
    tx = Places(1)
    permit = tx.reserve_nowait()
    permit.release()
    permit.release()
    assert tx.has_room()
    with pytest.raises(RuntimeError, match="used up"):
        permit.send([b"no"])
    tx.reserve_nowait()
    with pytest.raises(trio.WouldBlock):
        tx.reserve_nowait()


@pytest.mark.rule("link.tx.alloc.limits")
def test_a_slot_too_large_gives_the_place_back() -> None:
    tx = Places(1)
    with pytest.raises(PayloadTooLarge):
        tx.reserve_nowait().alloc(11)
    assert tx.has_room()
    with pytest.raises(PayloadTooLarge):
        tx.reserve_nowait().send([bytes(11)])
    assert tx.has_room()
    assert tx.published == []


@pytest.mark.rule("link.tx.commit", "link.tx.discard")
def test_a_slot_is_published_or_discarded_and_then_used_up() -> None:
    tx = Places(1)
    slot = tx.reserve_nowait().alloc(2)
    assert tx.is_full
    slot.discard()
    slot.discard()
    assert tx.has_room()
    slot = tx.reserve_nowait().alloc(2)
    slot.buffer[:] = b"ok"
    slot.commit()
    with pytest.raises(RuntimeError, match="used up"):
        slot.commit()
    assert tx.published == [b"ok"]


def test_after_the_end_everything_is_refused_with_an_error_of_its_own() -> None:
    tx = Places(2)
    permit = tx.reserve_nowait()
    tx.end()
    assert not tx.is_full  # who sends is to find out, and not to wait
    errors = []
    for send in (
        lambda: permit.send([b"no"]),
        tx.reserve_nowait,
        lambda: tx.send_nowait([b"no"]),
    ):
        with pytest.raises(LinkDead, match="it is over") as caught:
            send()
        assert isinstance(caught.value.__cause__, ValueError)
        errors.append(caught.value)
    assert len(set(map(id, errors))) == 3
    assert tx.published == []
