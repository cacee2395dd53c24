"""Where the peer in TypeScript does what the rules say and the Rust crates do not."""

from __future__ import annotations

import pytest
import trio

from roam_trio import channel, describe
from roam_trio.codec import INVALID_PAYLOAD
from roam_trio.wire.messages import joined
from roam_trio.wire.varint import varint

from ...two_processes.processes import within
from ..handlers import Everything
from ..peer import Place, meet
from ..services import Streams, Waiting
from ..test_channels import send_all, streams_of
from ..test_faults import DECIDE
from ..wire_types import Order

pytestmark = pytest.mark.interop


@within(60)
async def test_typescript_refuses_bytes_after_its_arguments(
    place: Place, everything: Everything
) -> None:
    async with meet(place, "serve", handler=everything) as meeting:
        caller = (await meeting.session()).caller
        response = await caller.call(DECIDE, [b"\x01\xff"])
        assert joined(response.ret) == INVALID_PAYLOAD


@within(60)
async def test_typescript_tells_that_it_has_given_a_call_up(
    place: Place, everything: Everything
) -> None:
    async with meet(place, "call", "abandon", handler=everything) as meeting:
        assert await meeting.peer.wait() == ["ended abandoned", "done abandon"]


@within(60)
async def test_a_deadline_of_typescript_ends_the_call_on_both_sides(
    place: Place, everything: Everything
) -> None:
    async with meet(place, "call", "late", handler=everything) as meeting:
        assert await meeting.peer.wait() == ["late", "done late"]


@within(60)
async def test_a_typescript_caller_learns_that_the_session_ends(
    place: Place, everything: Everything
) -> None:
    async with meet(place, "call", "forever", handler=everything) as meeting:
        session = await meeting.session()
        await everything.patient.until_begun("by-typescript")
        await session.shutdown()
        assert await meeting.peer.wait() == ["ConnectionLost", "done forever"]
    assert everything.patient.names_ended == ["by-typescript"]


@within(60)
async def test_typescript_keeps_every_item_that_it_has_granted(
    place: Place, everything: Everything
) -> None:
    async with meet(place, "serve", handler=everything) as meeting:
        streams = await streams_of(meeting.session())
        tx, rx = channel[int]()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send_all, [1] * 200, tx)
            assert await streams.sum_late(rx) == 200


@within(60)
async def test_a_channel_in_a_field_reaches_typescript(
    place: Place, everything: Everything
) -> None:
    async with meet(place, "serve", handler=everything) as meeting:
        streams = await streams_of(meeting.session())
        tx, rx = channel[int]()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send_all, range(100), tx)
            assert await streams.sum_in_order(Order("field", rx)) == 4950


@within(60)
async def test_a_reset_ends_the_items_of_typescript_and_its_handler_answers(
    place: Place, everything: Everything
) -> None:
    async with meet(place, "serve", handler=everything) as meeting:
        streams = await streams_of(meeting.session())
        tx, rx = channel[int]()
        async with trio.open_nursery() as nursery:

            async def count() -> None:
                assert await streams.count(1000, tx) < 1000

            nursery.start_soon(count)
            assert [await rx.recv() for _ in range(5)] == list(range(5))
            rx.reset()


@within(60)
@pytest.mark.parametrize(
    ("scenario", "number", "said"),
    [
        ("take", "3", "sending ended by ChannelReset"),
        ("stop", "5", "count answered early"),
    ],
)
async def test_a_typescript_caller_sends_and_understands_resets(
    place: Place, everything: Everything, scenario: str, number: str, said: str
) -> None:
    async with meet(place, "call", scenario, number, handler=everything) as meeting:
        assert await meeting.peer.wait() == [said, f"done {scenario}"]


@within(60)
async def test_typescript_stays_within_the_number_of_requests_it_was_told(
    place: Place, everything: Everything
) -> None:
    async with meet(
        place,
        "call",
        "concurrent",
        "1000",
        handler=everything,
        max_concurrent_requests=5,
    ) as meeting:
        assert await meeting.peer.wait() == ["done concurrent"]


HELLO = bytes.fromhex("000007004000")
FOREVER = varint(next(m.id for m in describe(Waiting).methods if m.name == "forever"))
SUM = varint(next(m.id for m in describe(Streams).methods if m.name == "sum_narrow"))


def call_forever(request: int) -> bytes:
    return bytes([0, 7, request, 0]) + FOREVER + b"\0\0\x01x"


SUMMING = bytes([0, 7, 1, 0]) + SUM + b"\x01\x01\0"
ITEM = bytes([0, 8, 1, 0, 1])

VIOLATIONS = {
    "more than 2 requests at a time": [HELLO, *map(call_forever, (1, 3, 5))],
    "request 1 is in flight already": [HELLO, call_forever(1), call_forever(1)],
    "an item on channel 1 came without credit": [HELLO, SUMMING, *[ITEM] * 20],
    "Hello after the handshake": [HELLO, HELLO],
    "a payload is not a message": [HELLO, b"\0\x0b"],
    "expected Hello first, got Ping": [b"\0\x09\x01"],
    "expected version 7, got 6": [bytes.fromhex("000006004000")],
    "response to request 2, which is not in flight": [HELLO, b"\0\7\2\1\0\0\0"],
    "connection 2 cannot be opened by the peer": [HELLO, b"\2\3\0\x40\0"],
    "the root connection was closed": [HELLO, b"\0\6\0"],
}


@within(60)
@pytest.mark.parametrize("said", VIOLATIONS)
async def test_typescript_ends_a_session_that_breaks_a_rule_and_says_why(
    executable, language, tmp_path, said: str
) -> None:
    place = Place(executable, language, "tcp", tmp_path, "initiator")
    arguments = ("serve", "listen", place.address(), "--requests", "2")
    async with place.peer(*arguments) as peer:
        port = int(peer.url.rpartition(":")[2])
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            for payload in VIOLATIONS[said]:
                await stream.send_all(len(payload).to_bytes(4, "little") + payload)
            received = b"".join([some async for some in stream])
    assert said in received.decode(errors="replace")
