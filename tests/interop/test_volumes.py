"""Large payloads, many calls at once, and what comes over the limit."""

from __future__ import annotations

import pytest
import trio

from roam_trio import LimitExceeded, channel, client

from ..two_processes.processes import within
from .handlers import Everything
from .peer import Place, meet
from .services import Streams, Values, Waiting
from .test_channels import send_all

pytestmark = pytest.mark.interop

MIB = 1024 * 1024
DATA = bytes(range(251)) * (MIB // 251 + 1)


@within(60)
async def test_payloads_of_1_mib_go_to_rust_and_come_back(
    place: Place, everything: Everything
) -> None:
    data = DATA[:MIB]
    async with meet(place, "serve", handler=everything) as meeting:
        session = await meeting.session()
        assert await client(Values, session.caller).bytes(data) == data
        streams = client(Streams, session.caller)
        tx, rx = channel[bytes]()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send_all, [data] * 4, tx)
            assert await streams.measure(rx) == 4 * MIB
        tx, rx = channel[bytes]()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(streams.fill, MIB, tx)
            blobs = [blob async for blob in rx]
        assert blobs == [bytes([filling]) * MIB for filling in range(4)]


@within(60)
async def test_payloads_of_1_mib_come_from_a_rust_caller(
    place: Place, everything: Everything
) -> None:
    async with meet(place, "call", "payloads", str(MIB), handler=everything) as meeting:
        assert await meeting.peer.wait() == ["done payloads"]


@within(60)
async def test_1000_calls_at_once_wait_for_the_slots_that_rust_has(
    place: Place, everything: Everything
) -> None:
    async with meet(place, "serve", handler=everything) as meeting:
        waiting = client(Waiting, (await meeting.session()).caller)
        sums: list[int] = []

        async def add(left: int) -> None:
            sums.append(await waiting.add(left, 1))

        async with trio.open_nursery() as nursery:
            for left in range(1000):
                nursery.start_soon(add, left)
        assert sorted(sums) == list(range(1, 1001))


@within(60)
async def test_1000_calls_are_in_flight_to_rust_at_once(
    place: Place, everything: Everything
) -> None:
    async with meet(
        place, "serve", "--requests", "1000", handler=everything
    ) as meeting:
        waiting = client(Waiting, (await meeting.session()).caller)
        async with trio.open_nursery() as nursery:
            for _ in range(1000):
                nursery.start_soon(waiting.meet, 1000)


@within(60)
@pytest.mark.parametrize("scenario", ["concurrent", "meet"])
async def test_1000_calls_of_rust_are_in_flight_at_once(
    place: Place, everything: Everything, scenario: str
) -> None:
    async with meet(
        place,
        "call",
        scenario,
        "1000",
        handler=everything,
        max_concurrent_requests=1000,
    ) as meeting:
        assert await meeting.peer.wait() == [f"done {scenario}"]


@within(60)
async def test_rust_goes_over_the_number_of_requests_it_was_told(
    place: Place, everything: Everything
) -> None:
    async with meet(
        place, "call", "meet", "65", handler=everything, max_concurrent_requests=64
    ) as meeting:
        session = await meeting.session()
        await session.closed()
        assert isinstance(session.ended_because, LimitExceeded)
        assert "max_concurrent_requests" in str(session.ended_because)
        with pytest.raises(AssertionError, match="exit code 1"):
            await meeting.peer.wait()
