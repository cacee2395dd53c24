"""What the peer does not read counts until it is written, if it is long."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
from trio.testing import lockstep_stream_pair, wait_all_tasks_blocked

from roam_trio import LinkError, StreamLink
from roam_trio.links.base import LinkTx

from .test_counted_payloads import Counting

KIB = 1024
LONG = bytes(200 * KIB)
FRAMED = len(LONG) + 4


async def sending(
    nursery: trio.Nursery, budget: Counting
) -> tuple[LinkTx, trio.abc.Stream]:
    """A sending half whose pump has nothing to do, and the stream of its peer."""
    ours, theirs = lockstep_stream_pair()
    tx, _ = StreamLink(ours).split()
    tx.count_in(budget)
    nursery.start_soon(tx.pump)
    await wait_all_tasks_blocked()
    return tx, theirs


async def read(stream: trio.abc.ReceiveStream, count: int) -> None:
    while count > 0:
        count -= len(await stream.receive_some(count))
    await wait_all_tasks_blocked()


async def test_long_payload_counts_until_it_is_written(nursery: trio.Nursery) -> None:
    budget = Counting()
    tx, peer = await sending(nursery, budget)
    tx.send_nowait([LONG])
    await wait_all_tasks_blocked()
    assert budget.held == FRAMED
    await read(peer, FRAMED - 1)
    assert budget.held == FRAMED
    await read(peer, 1)
    assert budget.held == 0
    nursery.cancel_scope.cancel()


async def test_short_payloads_do_not_count_until_they_are_many(
    nursery: trio.Nursery,
) -> None:
    budget = Counting()
    tx, peer = await sending(nursery, budget)
    for _ in range(60):
        tx.send_nowait([bytes(KIB)])
    await wait_all_tasks_blocked()
    assert budget.held == 0
    for _ in range(60):
        tx.send_nowait([bytes(KIB)])
    assert 64 * KIB < budget.held <= 120 * (KIB + 4)
    await read(peer, 120 * (KIB + 4))
    assert budget.held == 0
    nursery.cancel_scope.cancel()


def one(tx: LinkTx) -> None:
    tx.send_nowait([LONG])


def several(tx: LinkTx) -> None:
    parts = [
        [LONG[start : start + 10 * KIB]] for start in range(0, len(LONG), 10 * KIB)
    ]
    assert tx.send_many_nowait(parts) == len(parts)


@pytest.mark.parametrize("send", [one, several])
async def test_what_is_sent_while_the_peer_does_not_read_counts_at_once(
    nursery: trio.Nursery, send: Callable[[LinkTx], None]
) -> None:
    budget = Counting()
    tx, _ = await sending(nursery, budget)
    tx.send_nowait([b"1"])
    await wait_all_tasks_blocked()
    assert budget.held == 0
    send(tx)
    assert budget.held >= FRAMED
    await tx.abort()
    assert budget.held == 0


@pytest.mark.parametrize("is_writing", [False, True])
@pytest.mark.parametrize("send", [one, several])
async def test_link_without_room_drops_what_is_unwritten_and_fails(
    nursery: trio.Nursery, send: Callable[[LinkTx], None], is_writing: bool
) -> None:
    budget = Counting(100 * KIB)
    tx, _ = await sending(nursery, budget)
    if is_writing:
        tx.send_nowait([bytes(80 * KIB)])
        await wait_all_tasks_blocked()
        assert budget.held > 0
    send(tx)
    await wait_all_tasks_blocked()
    assert budget.held == 0
    assert tx.statistics().unsent_payloads == 0
    with pytest.raises(LinkError, match=r"limits: session_bytes, memory"):
        tx.send_nowait([b"1"])
    await tx.close()


async def test_link_without_room_may_have_no_pump_yet() -> None:
    ours, _ = lockstep_stream_pair()
    tx, _ = StreamLink(ours).split()
    tx.count_in(Counting(100 * KIB))
    starts: list[bool] = []
    assert tx.defer_pump(lambda: starts.append(True))
    tx.send_nowait([LONG])
    assert starts == []
    with pytest.raises(LinkError, match=r"limits: session_bytes, memory"):
        await tx.reserve()


async def test_forgetting_spares_what_is_short(nursery: trio.Nursery) -> None:
    budget = Counting()
    tx, peer = await sending(nursery, budget)
    tx.send_nowait([bytes(KIB)])
    tx.forget()
    tx.send_nowait([LONG])
    await wait_all_tasks_blocked()
    tx.forget()
    tx.forget()
    await wait_all_tasks_blocked()
    assert budget.held == 0
    with pytest.raises(LinkError, match="does not read"):
        tx.send_nowait([b"1"])
    await tx.close()
    await read(peer, KIB)
