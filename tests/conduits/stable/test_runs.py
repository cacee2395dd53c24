"""Messages that are committed together, and messages that are framed as encoded."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import trio
from trio.testing import MockClock

from roam_trio.errors import EncodeError, LinkClosed, PayloadTooLarge
from roam_trio.links.resuming.limits import StableLimits
from roam_trio.links.resuming.tx import ResumingTx
from roam_trio.wire.frames import PASSED_BY_REFERENCE, PayloadRun, frame

from .lines import Lines


def tx_of(nursery: trio.Nursery, limits: StableLimits | None = None) -> ResumingTx:
    """The sending half of a resuming link that has no link yet."""
    tx, _ = Lines().conduit(nursery, limits)
    assert isinstance(tx.carrier, ResumingTx)
    return tx.carrier


def kept(tx: ResumingTx) -> tuple[int, int, int, int]:
    """Totals sent, and what is kept of it."""
    told = tx.statistics()
    assert told.unacknowledged_bytes == told.unsent_bytes
    return (
        *(told.payloads, told.payload_bytes),
        *(told.unacknowledged_frames, told.unacknowledged_bytes),
    )


async def test_frame_is_kept_without_its_length(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    tx = tx_of(nursery, StableLimits(max_payload=31))
    tx.send_nowait(frame((b"head", b"value"), 9))
    assert tx._replay.bodies == [b"headvalue"]
    assert kept(tx) == (1, 9, 1, 9)
    with pytest.raises(PayloadTooLarge, match="max_payload"):
        tx.send_nowait(frame((bytes(21),), 21))
    with pytest.raises(EncodeError, match="empty message"):
        tx.send_nowait(frame((), 0))
    tx.send_nowait(frame((bytes(20),), 20))
    assert kept(tx) == (2, 29, 2, 29)


async def test_messages_of_a_run_are_kept_and_counted(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    tx = tx_of(nursery)
    assert tx.send_many_nowait(PayloadRun(b"h", [b"one", [b"tw", b"o"], b""])) == 3
    assert tx._replay.bodies == [b"hone", b"htwo", b"h"]
    assert kept(tx) == (3, 9, 3, 9)
    assert not tx.is_full
    assert tx.send_many_nowait([[b"a"], [b"b", b"c"]]) == 2
    assert tx._replay.bodies[3:] == [b"a", b"bc"]
    assert tx.send_many_nowait(PayloadRun(b"h", [])) == 0
    long = bytes(PASSED_BY_REFERENCE)
    assert tx.send_many_nowait(PayloadRun(b"h", [long, b"x"])) == 2
    assert list(map(len, tx._replay.bodies[5:])) == [1 + len(long), 2]


@pytest.mark.parametrize(
    ("limits", "sent"),
    [
        (StableLimits(unacknowledged_frames=4), 4),
        (StableLimits(unacknowledged_frames=5), 5),
        (StableLimits(unacknowledged_frames=6), 5),
        (StableLimits(unacknowledged_bytes=7), 4),
        (StableLimits(unacknowledged_bytes=10), 5),
        (StableLimits(unacknowledged_bytes=100), 5),
    ],
)
async def test_as_many_of_a_run_are_sent_as_find_room(
    nursery: trio.Nursery,
    autojump_clock: MockClock,
    limits: StableLimits,
    sent: int,
) -> None:
    one_by_one = tx_of(nursery, limits)
    tx = tx_of(nursery, limits)
    run = PayloadRun(b"h", [b"x"] * 5)
    assert tx.send_many_nowait(run) == sent
    for pieces in list(run)[:sent]:
        one_by_one.send_nowait(pieces)
    assert kept(tx) == kept(one_by_one)
    assert tx.is_full == one_by_one.is_full == (not tx._has_room())
    if tx.is_full:
        assert tx.send_many_nowait(run) == 0


async def test_permits_take_the_room_of_a_run(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    tx = tx_of(nursery, StableLimits(unacknowledged_frames=6))
    permit = tx.reserve_nowait()
    another = tx.reserve_nowait()
    assert tx.send_many_nowait(PayloadRun(b"h", [b"x"] * 5)) == 4
    assert tx.is_full
    another.release()
    assert tx.send_many_nowait(PayloadRun(b"h", [b"x"])) == 1
    assert tx.is_full
    permit.send([b"last"])
    assert len(tx._replay.bodies) == 6


@pytest.mark.parametrize(
    ("run", "error"),
    [
        (PayloadRun(b"", [b"a", b"", b"c"]), EncodeError),
        (PayloadRun(b"h", [b"a"[:0], bytes(20), b"c"]), PayloadTooLarge),
    ],
)
async def test_wrong_message_of_a_run_is_refused_when_it_comes_first(
    nursery: trio.Nursery,
    autojump_clock: MockClock,
    run: Sequence[list[bytes]],
    error: type[Exception],
) -> None:
    tx = tx_of(nursery, StableLimits(max_payload=31))
    assert tx.send_many_nowait(run) == 1
    with pytest.raises(error):
        tx.send_many_nowait(PayloadRun(b"", [b"".join(run[1]), b"c"]))
    assert len(tx._replay.bodies) == 1


async def test_run_after_the_end_is_refused(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    tx = tx_of(nursery)
    await tx.abort()
    with pytest.raises(LinkClosed):
        tx.send_many_nowait(PayloadRun(b"h", [b"x"]))
    with pytest.raises(LinkClosed):
        tx.send_nowait(frame((b"x",), 1))
