"""Frames that are given to a link, and payloads that it frames itself, are one."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from roam_trio.errors import LinkClosed
from roam_trio.links.base import Buffer
from roam_trio.links.byte_streams import ByteTransport
from roam_trio.links.framing import FrameEncoder
from roam_trio.links.memory import memory_link_pair
from roam_trio.links.stream import StreamLimits, StreamLinkTx
from roam_trio.wire.frames import PASSED_BY_REFERENCE, frame


class Kept(ByteTransport):
    """Keeps what is sent."""

    def __init__(self) -> None:
        self.sent = bytearray()

    def send_nowait(self, buffers: list[Buffer]) -> list[Buffer]:
        self.sent += b"".join(buffers)
        return []

    async def send_all(self, buffers: Sequence[Buffer]) -> None:
        raise NotImplementedError

    async def receive_some(self, most: int) -> bytes:
        raise NotImplementedError

    async def receive_into(self, buffer: memoryview) -> int:
        raise NotImplementedError

    async def end_receiving(self) -> None:
        raise NotImplementedError

    async def end_sending(self) -> None:
        pass

    async def abort_sending(self) -> None:
        pass


LIMITS = StreamLimits(max_unsent_payloads=6, max_unsent_bytes=80)


def link_tx(limits: StreamLimits = LIMITS) -> tuple[StreamLinkTx, Kept]:
    transport = Kept()
    return StreamLinkTx(transport, limits, FrameEncoder()), transport


def send(tx: StreamLinkTx, payload: bytes, *, as_frame: bool) -> bool:
    pieces = [payload[:1], payload[1:]]
    try:
        tx.send_nowait(frame(pieces, len(payload)) if as_frame else pieces)
    except trio.WouldBlock:
        return False
    return True


@given(st.lists(st.binary(max_size=30), max_size=8), st.integers(0, 3))
def test_frames_take_the_room_of_their_payloads(
    payloads: list[bytes], permits: int
) -> None:
    halves = []
    for as_frame in (True, False):
        tx, _ = link_tx()
        for _ in range(permits):
            tx.reserve_nowait()
        sent = [send(tx, payload, as_frame=as_frame) for payload in payloads]
        halves.append((sent, tx.is_full, tx.statistics()))
    assert halves[0] == halves[1]


async def test_lone_frame_is_written_by_its_commit() -> None:
    tx, transport = link_tx()
    tx.defer_pump(lambda: None)
    tx.uncork(prompt=True)
    send(tx, b"abc", as_frame=True)
    assert transport.sent == b"\x03\0\0\0abc"
    await tx.close()
    with pytest.raises(LinkClosed):
        send(tx, b"d", as_frame=True)
    with pytest.raises(LinkClosed):
        tx.send_many_nowait([[b"d"]])


def test_links_take_frames_only_if_all_of_them_fit() -> None:
    assert link_tx(StreamLimits(max_payload=PASSED_BY_REFERENCE))[0].takes_frames
    assert not link_tx(StreamLimits(max_payload=100))[0].takes_frames
    assert not memory_link_pair(1)[0].split()[0].takes_frames
