"""`is_full` says at every moment what `has_room` would find out."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from roam_trio.errors import LinkClosed, PayloadTooLarge
from roam_trio.links.base import LinkTx, LinkTxPermit, SplitLink
from roam_trio.links.memory import MemoryLinkTx, memory_link_pair
from roam_trio.links.permits import PermitTx
from roam_trio.links.resuming.keys import KeyRing
from roam_trio.links.resuming.limits import StableLimits
from roam_trio.links.resuming.resuming import Resuming
from roam_trio.links.resuming.source import RedialingSource
from roam_trio.links.stream import StreamLimits, StreamLink, StreamLinkTx

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["send", "reserve", "use", "release", "slot", "too much"]),
        st.integers(0, 40),
    ),
    max_size=30,
)


def stream_tx() -> StreamLinkTx:
    limits = StreamLimits(max_payload=50, max_unsent_bytes=60, max_unsent_payloads=4)
    stream, _ = trio.testing.memory_stream_pair()
    return StreamLink(stream, limits=limits).split()[0]


def memory_tx() -> MemoryLinkTx:
    return memory_link_pair(3)[0].split()[0]


def resuming_tx() -> PermitTx:
    async def dial() -> SplitLink:
        raise OSError

    limits = StableLimits(
        max_payload=61, unacknowledged_bytes=60, unacknowledged_frames=4
    )
    return Resuming(RedialingSource(dial), b"", limits, KeyRing({}, None)).tx


def take_step(tx: PermitTx, permits: list[LinkTxPermit], what: str, n: int) -> None:
    payload = (bytes(n + 1),)
    if what == "send":
        tx.send_nowait(payload)
    elif what == "too much":
        tx.send_nowait((bytes(100),))
    elif what == "reserve":
        permits.append(tx.reserve_nowait())
    elif permits:
        permit = permits.pop()
        if what == "use":
            permit.send(payload)
        elif what == "slot":
            permit.alloc(n + 1).commit()
        else:
            permit.release()


@pytest.mark.parametrize("make", [stream_tx, memory_tx, resuming_tx])
@given(steps=STEPS)
def test_is_full_is_true_exactly_while_nothing_can_be_reserved(
    make: type[PermitTx], steps: list[tuple[str, int]]
) -> None:
    tx = make()
    permits: list[LinkTxPermit] = []
    for what, n in steps:
        was_full = tx.is_full
        try:
            take_step(tx, permits, what, n)
        except trio.WouldBlock:
            assert was_full
        except PayloadTooLarge:
            pass
        assert tx.is_full is not tx._has_room()
        assert tx.is_full is not tx.has_room()


async def test_link_is_full_until_something_has_left_it() -> None:
    tx = stream_tx()
    for _ in range(4):
        assert not tx.is_full
        tx.send_nowait((b"x",))
    assert tx.is_full
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tx.pump)
        await trio.testing.wait_all_tasks_blocked()
        assert not tx.is_full
        await tx.close()
    assert not tx.is_full  # so that senders find out


async def test_link_that_ends_while_it_is_full_is_full_no_more() -> None:
    tx = stream_tx()
    permits = [tx.reserve_nowait() for _ in range(4)]
    assert tx.is_full
    await tx.abort()
    assert not tx.is_full
    for permit in permits:
        permit.release()
    assert not tx.is_full
    with pytest.raises(LinkClosed):
        tx.send_nowait((b"x",))


class Asked:
    """A link of somebody else's that says only whether there is room."""

    def __init__(self, *, has_room: bool) -> None:
        self.has_room = lambda: has_room


@pytest.mark.parametrize("has_room", [True, False])
def test_link_without_an_attribute_of_its_own_is_asked(has_room: bool) -> None:
    is_full = vars(LinkTx)["is_full"]
    assert is_full.__get__(Asked(has_room=has_room), LinkTx) is not has_room
