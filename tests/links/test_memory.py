"""Memory links, beyond what every link must do."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from roam_trio.errors import LinkClosed, LinkError
from roam_trio.links.base import LinkTx
from roam_trio.links.memory import MemoryLinkTxPermit, MemoryWriteSlot, memory_link_pair


@pytest.mark.rule("transport.memory", "link.tx.reserve")
async def test_queued_payloads_and_permits_together_fill_the_link() -> None:
    left, right = memory_link_pair(3)
    tx, _ = left.split()
    _, rx = right.split()
    tx.reserve_nowait().send((b"queued",))
    permit = tx.reserve_nowait()
    slot = tx.reserve_nowait().alloc(4)
    assert isinstance(permit, MemoryLinkTxPermit)
    assert isinstance(slot, MemoryWriteSlot)
    with pytest.raises(trio.WouldBlock):
        tx.reserve_nowait()
    statistics = tx.statistics()
    assert (statistics.permits, statistics.unsent_payloads) == (2, 1)
    assert statistics.unsent_bytes == 6
    assert await rx.recv() == b"queued"
    tx.reserve_nowait().release()
    assert tx.statistics().unsent_bytes == 0
    assert repr(tx) == "<MemoryLinkTx open, 0 of 3 queued>"


@pytest.mark.rule("transport.memory", "zerocopy.framing.link.memory")
async def test_bytes_pass_without_framing_and_without_a_copy() -> None:
    left, right = memory_link_pair(1)
    payload = b"as it is" * 1000
    left.split()[0].reserve_nowait().send((payload,))
    assert await right.split()[1].recv() is payload


def test_no_room_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        memory_link_pair(0)


async def test_send_nowait_of_a_link_that_only_gives_permits() -> None:
    left, right = memory_link_pair(1)
    tx, _ = left.split()
    LinkTx.send_nowait(tx, (b"by ", b"permit"))
    with pytest.raises(trio.WouldBlock):
        LinkTx.send_nowait(tx, (b"",))
    assert await right.split()[1].recv() == b"by permit"


async def test_pump_waits_for_the_close(nursery: trio.Nursery) -> None:
    tx, _ = memory_link_pair(1)[0].split()
    returned = trio.Event()

    async def pump() -> None:
        await tx.pump()
        returned.set()

    nursery.start_soon(pump)
    await wait_all_tasks_blocked()
    assert not returned.is_set()
    await tx.close()
    await returned.wait()


async def test_senders_are_told_when_the_peer_receives_no_more(
    nursery: trio.Nursery,
) -> None:
    left, right = memory_link_pair(1)
    tx, _ = left.split()
    _, rx = right.split()
    permit = tx.reserve_nowait()
    refused: list[LinkError] = []

    async def reserve() -> None:
        try:
            await tx.reserve()
        except LinkError as exc:
            refused.append(exc)

    nursery.start_soon(reserve)
    await wait_all_tasks_blocked()
    await rx.close()
    await wait_all_tasks_blocked()
    assert [type(exc) for exc in refused] == [LinkError]
    with pytest.raises(LinkError, match="peer"):
        permit.send((b"",))
    await tx.close()
    with pytest.raises(LinkClosed):
        tx.reserve_nowait()


async def test_peer_that_stops_after_our_close_changes_nothing() -> None:
    left, right = memory_link_pair(1)
    tx, _ = left.split()
    await tx.close()
    await right.split()[1].close()
    with pytest.raises(LinkClosed):
        tx.reserve_nowait()
