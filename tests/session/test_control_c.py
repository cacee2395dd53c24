"""Control-C comes out, wherever it strikes, and nothing is broken by it."""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio

from roam_trio import (
    CallCancelled,
    ConnectionLost,
    Handler,
    Rx,
    Tx,
    i32,
    i64,
    open_call,
)
from roam_trio.links.stream import StreamLinkTx
from roam_trio.session import requests
from roam_trio.session.session_run import SessionRun

from .pair_of_sockets import SocketPair
from .running import Streams, streams


def strike() -> None:
    signal.raise_signal(signal.SIGINT)


def once(work: Callable[..., Any]) -> Callable[..., Any]:
    """The same, but Control-C strikes the first time, right before."""
    struck = False

    def strike_and_work(*args: Any) -> Any:
        nonlocal struck
        if not struck:
            struck = True
            strike()
        return work(*args)

    return strike_and_work


async def add(left: int, right: int) -> int:
    return left + right


async def add_later(left: int, right: int) -> int:
    await trio.lowlevel.checkpoint()
    return left + right


async def be_struck(left: int, right: int) -> int:
    strike()
    return left + right


async def be_struck_later(left: int, right: int) -> int:
    await trio.lowlevel.checkpoint()
    strike()
    return left + right


def run_until_interrupted(
    handler: Handler, work: Callable[[Streams], Awaitable[object]]
) -> None:
    """Do something that Control-C strikes, and which goes on after a lost connection,
    as programs do that connect again."""

    async def main() -> None:
        async with SocketPair(handler) as pair:
            try:
                await work(pair.caller)
                await trio.sleep(5)
            except (ConnectionLost, CallCancelled):
                pass

    with pytest.raises((KeyboardInterrupt, BaseExceptionGroup)) as caught:
        trio.run(main)
    error = caught.value
    if isinstance(error, BaseExceptionGroup):
        assert error.subgroup(KeyboardInterrupt) is not None


async def add_in_a_task(caller: Streams) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(caller.add, 1, 2)


@pytest.mark.parametrize("handler", [add, add_later])
@pytest.mark.parametrize("work", [lambda caller: caller.add(1, 2), add_in_a_task])
@pytest.mark.parametrize(
    ("owner", "name"),
    [
        pytest.param(SessionRun, "_dispatch_all", id="before a message is dispatched"),
        pytest.param(requests, "partial", id="between sending a call and waiting"),
    ],
)
def test_in_the_middle_of_a_session(
    owner: Any,
    name: str,
    work: Callable[[Streams], Awaitable[object]],
    handler: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(owner, name, once(getattr(owner, name)))
    run_until_interrupted(streams(add=handler), work)


@pytest.mark.parametrize("handler", [be_struck, be_struck_later])
def test_in_a_handler(handler: Callable[..., Any]) -> None:
    run_until_interrupted(streams(add=handler), lambda caller: caller.add(1, 2))


def test_after_an_item_was_sent_its_credit_is_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    send_nowait = StreamLinkTx.send_nowait

    def send_and_strike(tx: StreamLinkTx, pieces: Any) -> None:
        send_nowait(tx, pieces)
        strike()

    async def take(numbers: Rx[i32]) -> i64:
        await trio.sleep_forever()
        raise AssertionError

    async def send_and_wait(tx: Tx[i32]) -> None:
        await tx.send(2)
        await trio.lowlevel.checkpoint()

    async def main() -> None:
        async with (
            SocketPair(streams(take_16=take)) as pair,
            open_call(pair.caller.take_16) as call,
        ):
            await call.tx.send(1)
            assert call.tx.statistics().credit == 15
            monkeypatch.setattr(StreamLinkTx, "send_nowait", send_and_strike)
            with pytest.raises(KeyboardInterrupt):
                await send_and_wait(call.tx)
            monkeypatch.undo()
            assert call.tx.statistics().credit == 14
            call.cancel()

    trio.run(main)
