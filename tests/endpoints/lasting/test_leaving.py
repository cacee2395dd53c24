"""The ends of the blocks of lasting clients: what comes out of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any, Protocol

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from roam_trio import (
    Address,
    Resolver,
    RoamTrioError,
    client,
    dispatcher,
    service,
    serving,
    stay_connected,
)
from roam_trio.endpoints.lasting.staying import _without_cancelled


@service
class Echo(Protocol):
    async def echo(self, text: str) -> str: ...


class EchoImpl:
    async def echo(self, text: str) -> str:
        return text


class Fails(Resolver):
    """Fails once it is told to."""

    def __init__(self, error: BaseException) -> None:
        self.error = error
        self.go_on = trio.Event()

    async def resolve(self) -> list[Address]:
        await self.go_on.wait()
        raise self.error


async def stay(
    target: Resolver | str, block: Callable[[], Awaitable[None]], **options: Any
) -> None:
    async with stay_connected(target, Echo, **options):
        await block()


async def failing(target: Fails) -> None:
    """Let the sessions fail; their cancellation comes with the next checkpoint."""
    target.go_on.set()
    with trio.CancelScope(shield=True):
        await wait_all_tasks_blocked()


@pytest.mark.parametrize("kind", [TypeError, KeyboardInterrupt, SystemExit])
async def test_what_ends_the_sessions_ends_the_block_without_a_group(
    kind: type[BaseException],
) -> None:
    target = Fails(kind("a bug"))
    target.go_on.set()
    with pytest.raises(kind, match="a bug") as caught:
        await stay(target, trio.sleep_forever)
    assert caught.value is target.error


async def test_an_exception_of_the_block_is_not_masked(
    caplog: pytest.LogCaptureFixture,
) -> None:
    target, error = Fails(TypeError("a bug")), KeyError("mine")

    async def block() -> None:
        await failing(target)
        raise error

    with pytest.raises(KeyError) as caught:
        await stay(target, block)
    assert caught.value is error
    assert "a client has failed, and its block too" in caplog.text
    assert "a bug" in caplog.text


async def test_an_exception_of_the_block_is_not_masked_by_a_cancellation() -> None:
    error = KeyError("mine")

    async def block() -> None:
        scope.cancel()
        raise error

    with trio.CancelScope() as scope, pytest.raises(KeyError) as caught:
        await stay("memory://none", block)
    assert caught.value is error


async def test_an_error_of_the_sessions_is_not_masked_by_a_cancellation() -> None:
    target = Fails(TypeError("a bug"))

    async def block() -> None:
        await failing(target)
        scope.cancel()
        await trio.lowlevel.checkpoint()

    with trio.CancelScope() as scope, pytest.raises(TypeError, match="a bug"):
        await stay(target, block)


async def test_an_error_of_the_sessions_comes_out_of_a_block_that_just_ends() -> None:
    target = Fails(TypeError("a bug"))
    with pytest.raises(TypeError, match="a bug"):
        await stay(target, partial(failing, target))


async def test_a_group_of_the_block_keeps_what_is_its_own() -> None:
    target, error = Fails(TypeError("a bug")), KeyError("mine")

    async def block() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            await failing(target)
            raise error

    with pytest.raises(ExceptionGroup) as caught:
        await stay(target, block)
    assert caught.value.exceptions == (error,)


async def test_a_cancelled_block_ends_with_its_cancellation() -> None:
    with trio.move_on_after(0) as scope:
        await stay("memory://none", trio.sleep_forever)
    assert scope.cancelled_caught

    async def block() -> None:
        scope.cancel()

    with trio.CancelScope() as scope:
        await stay("memory://none", block)
    assert scope.cancelled_caught


@pytest.mark.parametrize("is_there", [False, True])
async def test_an_exception_of_the_block_comes_out_whatever_goes_on(
    autojump_clock: MockClock, is_there: bool
) -> None:
    """While it resolves, connects, asks for health, rests, and is ready."""
    url = "memory://steps"

    async def leave_after(steps: int) -> None:
        async with stay_connected(url, Echo):
            for _ in range(steps):
                await trio.lowlevel.checkpoint()
            raise KeyError(steps)

    async def at_every_step() -> None:
        for steps in range(60):
            with pytest.raises(KeyError) as caught:
                await leave_after(steps)
            assert caught.value.args == (steps,)

    if is_there:
        async with serving(url, dispatcher(Echo, EchoImpl()), reflection=True):
            await at_every_step()
    else:
        await at_every_step()


class Exits:
    async def echo(self, text: str) -> str:
        raise SystemExit(3)


async def test_a_handler_that_exits_ends_the_block_without_a_group() -> None:
    async with (
        serving("memory://calls", dispatcher(Echo, EchoImpl())) as server,
        trio.open_nursery() as nursery,
    ):

        async def call() -> None:
            with suppress(RoamTrioError):
                await client(Echo, server.sessions[0].caller).echo("x")

        async def block() -> None:
            await wait_all_tasks_blocked()
            nursery.start_soon(call)
            await trio.sleep_forever()

        handler = dispatcher(Echo, Exits())
        with pytest.raises(SystemExit):
            await stay(server.url, block, handler=handler)


async def test_options_are_checked_at_once_for_every_target() -> None:
    wrong: Any = {"observer": 3}
    for target in (Fails(OSError()), "dns+tcp://host:1", ["memory://a"]):
        with pytest.raises(TypeError, match="observer"):
            stay_connected(target, Echo, **wrong)


async def test_groups_of_cancelled_are_told_apart_from_others() -> None:
    """Nurseries of older versions of trio raise them."""
    found: list[trio.Cancelled] = []
    with trio.CancelScope() as scope:
        scope.cancel()
        try:
            await trio.lowlevel.checkpoint()
        except trio.Cancelled as cancelled:
            found.append(cancelled)
            raise
    assert _without_cancelled(BaseExceptionGroup("two", found * 2)) is None
    error = SystemExit()
    both = BaseExceptionGroup("both", [*found, error])
    assert _without_cancelled(both) is error
