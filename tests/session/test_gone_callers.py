"""Handlers whose caller is gone end cancelled, which is no failure to be logged."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from roam_trio import Rx, Tx, channel
from roam_trio.session import Session
from roam_trio.wire.messages import ChannelGrantCredit, Message, RequestCall

from .running import WithPeer, call_of, caller_of, item, streams

CHANNEL = 2


@attrs.define
class Handlers:
    """Handlers that wait for their caller, each in its way, and how they ended."""

    session: Session | None = None
    outcomes: list[str] = attrs.field(factory=list[str])

    async def note(self, waiting: Awaitable[object]) -> None:
        try:
            await waiting
        except BaseException as error:
            self.outcomes.append(type(error).__name__)
            raise

    async def send(self, output: Tx[int]) -> None:
        async def send_for_ever() -> None:
            while True:
                await output.send(1)

        await self.note(send_for_ever())

    async def send_much(self, upto: int, output: Tx[int]) -> None:
        await self.send(output)

    async def receive(self, numbers: Rx[int]) -> int:
        async def receive_for_ever() -> None:
            while True:
                await numbers.recv()

        await self.note(receive_for_ever())
        return 0

    async def call_back(self, text: str) -> str:
        assert self.session is not None
        await self.note(caller_of(self.session).echo(text))
        return text


def sends_on(method: str, *before: int) -> RequestCall:
    tx, _ = channel[int]()
    return call_of(method, 2, *before, tx, channels=(CHANNEL,))


def receives_on(method: str) -> RequestCall:
    _, rx = channel[int]()
    return call_of(method, 2, rx, channels=(CHANNEL,))


@pytest.mark.parametrize(
    ("call", "last_words"),
    [
        (sends_on("give_1"), []),
        (sends_on("give_1"), [ChannelGrantCredit(0, CHANNEL, 1)]),
        (sends_on("give", 0), []),
        (receives_on("take"), []),
        (receives_on("take"), [item(CHANNEL, 1)]),
        (call_of("echo", 2, "back"), []),
    ],
    ids=["no credit", "late credit", "no room", "no item", "late item", "no answer"],
)
async def test_handler_that_waits_is_cancelled_when_its_caller_goes(
    call: RequestCall, last_words: Sequence[Message], caplog: pytest.LogCaptureFixture
) -> None:
    handlers = Handlers()
    served = streams(
        give_1=handlers.send,
        give=handlers.send_much,
        take=handlers.receive,
        echo=handlers.call_back,
    )
    async with WithPeer(served, buffer=8) as (session, peer):
        handlers.session = session
        await peer.say(call)
        await wait_all_tasks_blocked()
        assert handlers.outcomes == []
        await peer.say(*last_words)  # is read at once with the end
        await peer.leave()
        await session.closed()
    assert handlers.outcomes == ["Cancelled"]
    assert caplog.records == []


async def test_response_without_room_is_dropped_when_its_caller_goes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def echo(text: str) -> str:
        await trio.lowlevel.checkpoint()
        return text

    async with WithPeer(streams(echo=echo), buffer=1) as (session, peer):
        await peer.say(call_of("echo", 2, "fits"))
        await wait_all_tasks_blocked()
        await peer.say(call_of("echo", 4, "waits"))
        await wait_all_tasks_blocked()
        await peer.leave()
        await session.closed()
    assert caplog.records == []
