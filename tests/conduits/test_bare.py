"""The bare conduit: encoding and decoding on a link, and nothing more."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from trio.testing import wait_all_tasks_blocked

from roam_trio.conduits.bare import BareConduit, BareConduitRx, BareConduitTx
from roam_trio.conduits.base import ConduitTx
from roam_trio.errors import (
    BareConduitError,
    DecodeError,
    EncodeError,
    LinkClosed,
    PayloadTooLarge,
)
from roam_trio.links.memory import memory_link_pair
from roam_trio.links.stream import StreamLimits, StreamLink
from roam_trio.wire.family import MsgFamily


class Words(MsgFamily[list[str]]):
    """Lists of words, separated by spaces; counts what it is asked to do."""

    def __init__(self) -> None:
        self.encoded = 0
        self.decoded: list[bytes | memoryview] = []

    def encode(self, message: list[str]) -> list[bytes | memoryview]:
        self.encoded += 1
        if any(" " in word for word in message):
            raise EncodeError("expected a word without spaces")
        return [memoryview(" ".join(message).encode())]

    def decode(self, payload: bytes | memoryview) -> list[str]:
        self.decoded.append(payload)
        try:
            return str(payload, "utf-8").split(" ")
        except UnicodeDecodeError as exc:
            raise DecodeError("expected UTF-8") from exc


def conduit_pair(
    words: Words, buffer: int = 4
) -> tuple[BareConduitTx[list[str]], BareConduitRx[list[str]]]:
    left, right = memory_link_pair(buffer)
    tx, _ = BareConduit(left, words).split()
    _, rx = BareConduit(right, words).split()
    return tx, rx


@pytest.mark.rule("conduit", "conduit.bare", "conduit.split", "conduit.permit")
async def test_messages_pass_in_order() -> None:
    words = Words()
    tx, rx = conduit_pair(words)
    (await tx.reserve()).send(["one", "two"])
    tx.reserve_nowait().send(["three"])
    assert await rx.recv() == ["one", "two"]
    assert rx.recv_nowait() == ["three"]
    with pytest.raises(trio.WouldBlock):
        rx.recv_nowait()


@pytest.mark.rule(
    "conduit.bare",
    "zerocopy.framing.conduit",
    "zerocopy.framing.conduit.bare",
    "zerocopy.framing.single-pass",
)
async def test_payload_is_the_encoding_and_nothing_else() -> None:
    words = Words()
    left, right = memory_link_pair(4)
    tx, rx = BareConduit(left, words).split()
    link_tx, link_rx = right.split()
    (await tx.reserve()).send(["plain", "bytes"])
    assert await link_rx.recv() == b"plain bytes"
    payload = b"come back"
    (await link_tx.reserve()).send((payload,))
    assert await rx.recv() == ["come", "back"]
    assert words.decoded[0] is payload


@pytest.mark.rule("zerocopy.framing.no-double-serialize", "zerocopy.scatter.write")
async def test_pieces_go_to_the_link_as_they_are() -> None:
    class Recorder(Words):
        def encode(self, message: list[str]) -> list[bytes | memoryview]:
            return [piece]

    piece = b"not copied" * 100
    tx, rx = conduit_pair(words := Recorder())
    tx.reserve_nowait().send([])
    await rx.recv()
    assert words.decoded[0] is piece


@pytest.mark.rule("conduit.permit", "conduit.permit.send", "zerocopy.send.lifetime")
async def test_encoding_comes_after_the_wait_for_room(nursery: trio.Nursery) -> None:
    words = Words()
    tx, rx = conduit_pair(words, buffer=1)
    sent = trio.Event()

    async def send() -> None:
        (await tx.reserve()).send(["waited"])
        sent.set()

    tx.reserve_nowait().send(["first"])
    nursery.start_soon(send)
    await wait_all_tasks_blocked()
    with pytest.raises(trio.WouldBlock):
        tx.reserve_nowait()
    assert words.encoded == 1
    assert await rx.recv() == ["first"]
    await sent.wait()
    assert await rx.recv() == ["waited"]
    assert words.encoded == 2


@pytest.mark.rule("conduit.permit.send")
def test_permit_given_up_returns_its_room() -> None:
    tx, _ = conduit_pair(Words(), buffer=1)
    with tx.reserve_nowait() as permit:
        pass
    permit.release()  # harmless now
    tx.reserve_nowait().release()
    tx.reserve_nowait()


@pytest.mark.rule("conduit.permit.send", "link.tx.reserve")
async def test_message_is_sent_without_a_permit_only_where_there_is_room() -> None:
    words = Words()
    tx, rx = conduit_pair(words, buffer=2)
    tx.send_nowait(["first"])
    ConduitTx.send_nowait(tx, ["second"])
    assert not tx.has_room()
    with pytest.raises(trio.WouldBlock):
        tx.send_nowait(["third"])
    assert await rx.recv() == ["first"]
    assert tx.has_room()
    assert await rx.recv() == ["second"]
    with pytest.raises(EncodeError):
        tx.send_nowait(["not sent"])
    with pytest.raises(trio.WouldBlock):
        rx.recv_nowait()


async def test_message_that_cannot_be_encoded_gives_its_room_back() -> None:
    tx, rx = conduit_pair(Words(), buffer=1)
    with pytest.raises(EncodeError, match="without spaces"):
        tx.reserve_nowait().send(["two words"])
    tx.reserve_nowait().send(["fine"])
    assert await rx.recv() == ["fine"]


async def test_message_too_long_for_the_link_is_refused() -> None:
    left, right = trio.testing.memory_stream_pair()
    limits = StreamLimits(max_payload=4, max_unsent_payloads=1)
    tx, _ = BareConduit(StreamLink(left, limits=limits), Words()).split()
    with pytest.raises(PayloadTooLarge):
        tx.reserve_nowait().send(["longer"])
    tx.reserve_nowait().send(["fits"])
    await tx.abort()
    await right.aclose()


@pytest.mark.rule("conduit")
async def test_payload_that_is_no_message_is_a_conduit_error() -> None:
    left, right = memory_link_pair(4)
    link_tx, _ = left.split()
    _, rx = BareConduit(right, Words()).split()
    for _ in range(2):
        link_tx.reserve_nowait().send((b"\xff\xff",))
    with pytest.raises(BareConduitError, match=r"2 bytes.*expected UTF-8") as caught:
        await rx.recv()
    assert isinstance(caught.value.__cause__, DecodeError)
    with pytest.raises(BareConduitError):
        rx.recv_nowait()


async def test_halves_close_their_halves_of_the_link(nursery: trio.Nursery) -> None:
    tx, rx = conduit_pair(Words())
    returned = trio.Event()

    async def pump() -> None:
        await tx.pump()
        returned.set()

    nursery.start_soon(pump)
    (await tx.reserve()).send(["last"])
    await tx.close()
    await returned.wait()
    assert await rx.recv() == ["last"]
    assert await rx.recv() is None
    assert rx.recv_nowait() is None
    with pytest.raises(LinkClosed):
        await tx.reserve()
    await rx.close()
    with pytest.raises(LinkClosed):
        await rx.recv()
    await tx.abort()
    assert "MemoryLinkTx" in repr(tx)
    assert "MemoryLinkRx" in repr(rx)
