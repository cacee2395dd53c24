"""Calls that are given up, on either side."""

from __future__ import annotations

import pytest
import trio

from roam_trio import channel, client

from ..two_processes.processes import within
from .handlers import Everything
from .peer import PATIENCE, Place, meet
from .services import Streams, Waiting

pytestmark = pytest.mark.interop


async def until_named(waiting: Waiting, name: str, *, ended: bool) -> None:
    with trio.fail_after(PATIENCE):
        while True:
            names = await (waiting.ended() if ended else waiting.begun())
            if name in names:
                return
            await trio.sleep(0.005)


@within(60)
async def test_cancelling_a_call_ends_its_rust_handler(
    place: Place, everything: Everything
) -> None:
    async with meet(place, "serve", handler=everything) as meeting:
        session = await meeting.session()
        waiting = client(Waiting, session.caller)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(waiting.forever, "one")
            await until_named(waiting, "one", ended=False)
            assert await waiting.ended() == []
            nursery.cancel_scope.cancel()
        await until_named(waiting, "one", ended=True)
        assert await waiting.add(1, 2) == 3


@within(60)
async def test_the_slot_of_a_cancelled_call_is_free_again(
    place: Place, everything: Everything
) -> None:
    """Rust answers a Cancel at once, which is what the next call waits for."""
    async with meet(place, "serve", "--requests", "1", handler=everything) as meeting:
        waiting = client(Waiting, (await meeting.session()).caller)
        for name in map(str, range(20)):
            with trio.move_on_after(0.01) as giving_up:
                await waiting.forever(name)
            assert giving_up.cancelled_caught
        assert await waiting.add(1, 2) == 3
        assert len(await waiting.ended()) == len(await waiting.begun())


@within(60)
async def test_channels_of_a_cancelled_call_are_let_go_of(
    place: Place, everything: Everything
) -> None:
    async with meet(place, "serve", handler=everything) as meeting:
        session = await meeting.session()
        streams = client(Streams, session.caller)
        for _ in range(5):
            up, taken = channel[str]()
            given, down = channel[str]()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(streams.reversed, taken, given)
                await up.send("abc")
                assert await down.recv() == "cba"
                nursery.cancel_scope.cancel()
            up.close()
            down.reset()
        waiting = client(Waiting, session.caller)
        assert await waiting.add(1, 2) == 3


@within(60)
async def test_rust_does_not_tell_that_it_has_given_a_call_up(
    place: Place, everything: Everything
) -> None:
    async with meet(place, "call", "abandon", handler=everything) as meeting:
        await everything.patient.until_begun("abandoned")
        assert await meeting.peer.wait() == ["ended ", "done abandon"]
    # Here the handler has ended, with its session.
    assert everything.patient.names_ended == ["abandoned"]


@within(60)
async def test_a_rust_caller_gets_cancelled_when_the_session_ends(
    place: Place, everything: Everything
) -> None:
    async with meet(place, "call", "forever", handler=everything) as meeting:
        session = await meeting.session()
        await everything.patient.until_begun("by-rust")
        await session.shutdown()
        assert await meeting.peer.wait() == ["done forever"]
    assert everything.patient.names_ended == ["by-rust"]
