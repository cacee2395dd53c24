"""Tests of `connected_pair` and its fixture."""

from __future__ import annotations

import logging
from typing import Protocol
from unittest.mock import AsyncMock, MagicMock

import pytest
import trio
import trio.testing

from roam_trio import (
    CallCancelled,
    ConnectionLost,
    SchemaError,
    SessionError,
    client,
    current_call,
    dispatcher,
    memory_link_pair,
    service,
    u32,
)
from roam_trio.links.base import Link
from roam_trio.testing import connected_pair
from tests.session.running import Custom


@service
class Adder(Protocol):
    async def add(self, left: u32, right: u32) -> u32: ...


class AdderImpl:
    async def add(self, left: int, right: int) -> int:
        return left + right


@service
class Greeter(Protocol):
    async def greet(self) -> str: ...


class GreeterImpl:
    async def greet(self) -> str:
        return f"Good morning, {current_call().identity}."


class Mine(Exception):
    pass


def living_tasks() -> int:
    return trio.lowlevel.current_statistics().tasks_living


async def test_a_client_calls_the_handler_for_the_length_of_the_block() -> None:
    tasks = living_tasks()
    pair = connected_pair(Adder, AdderImpl())
    async with pair as adder:
        assert await adder.add(3, 5) == 8
        assert repr(pair.client_session).startswith("<Session open")
        assert "server: <Session open" in repr(pair)
    assert "ended" in repr(pair.server_session)
    assert living_tasks() == tasks
    with pytest.raises(ConnectionLost):
        await adder.add(1, 2)


async def test_a_handler_is_taken_as_it_is() -> None:
    async with connected_pair(Adder, dispatcher(Adder, AdderImpl())) as adder:
        assert await adder.add(3, 5) == 8
    async with connected_pair(Adder, Custom(lambda call, reply: None)) as adder:
        with pytest.raises(CallCancelled):
            await adder.add(3, 5)


def test_what_has_not_the_methods_is_refused_at_once() -> None:
    with pytest.raises(SchemaError, match="AdderImpl"):
        connected_pair(Adder, AdderImpl)
    with pytest.raises(SchemaError, match="add"):
        connected_pair(Adder, object())


@pytest.mark.parametrize(
    "error", [Mine(), KeyboardInterrupt(), ExceptionGroup("", [Mine()])]
)
async def test_the_exception_of_the_block_passes(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught:
        async with connected_pair(Adder, AdderImpl()):
            raise error
    assert caught.value is error


async def test_a_mock_is_a_handler_with_every_method() -> None:
    mock = AsyncMock()
    mock.add.return_value = 8
    async with connected_pair(Adder, mock) as adder:
        assert await adder.add(3, 5) == 8
    mock.add.assert_awaited_once_with(3, 5)
    mock.handle.assert_not_called()


async def test_a_mock_of_a_handler_is_taken_as_one() -> None:
    mock = MagicMock(spec=Custom)
    mock.handle.side_effect = dispatcher(Adder, AdderImpl()).handle
    async with connected_pair(Adder, mock) as adder:
        assert await adder.add(3, 5) == 8


async def test_an_object_with_the_methods_may_have_one_called_handle_too() -> None:
    class Both(AdderImpl):
        def handle(self) -> None:
            raise AssertionError("it is no method of the service")

    async with connected_pair(Adder, Both()) as adder:
        assert await adder.add(3, 5) == 8


class Fatal(SystemExit):
    """What ends programs."""


async def test_what_ends_programs_comes_out_of_the_server_as_well() -> None:
    class Ending(AdderImpl):
        async def add(self, left: int, right: int) -> int:
            raise Fatal

    async def fail_after_a_call() -> None:
        async with connected_pair(Adder, Ending()) as adder:
            try:
                await adder.add(1, 2)
            finally:
                raise Mine

    with pytest.raises(BaseExceptionGroup) as caught:
        await fail_after_a_call()
    assert caught.value.subgroup(Fatal) is not None
    assert caught.value.subgroup(Mine) is not None


async def test_the_server_can_call_the_client() -> None:
    answering = dispatcher(Adder, AdderImpl())
    pair = connected_pair(Adder, AdderImpl(), client_handler=answering)
    async with pair:
        back = client(Adder, pair.server_session.caller)
        assert await back.add(20, 22) == 42


async def test_cancelled_at_any_moment_it_leaves_nothing() -> None:
    tasks = living_tasks()
    for steps in range(60):
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:

                async def cancel(
                    scope: trio.CancelScope = scope, steps: int = steps
                ) -> None:
                    for _ in range(steps):
                        await trio.lowlevel.cancel_shielded_checkpoint()
                    scope.cancel()

                nursery.start_soon(cancel)
                async with connected_pair(Adder, AdderImpl()) as adder:
                    await adder.add(1, 2)
                nursery.cancel_scope.cancel()
        assert living_tasks() == tasks
    assert not scope.cancelled_caught


async def _close(link: Link) -> None:
    tx, rx = link.split()
    await tx.close()
    await rx.close()


async def test_a_link_that_is_closed_fails_the_entering() -> None:
    tasks = living_tasks()
    near, far = memory_link_pair(1)
    await _close(far)
    with pytest.raises(SessionError):
        async with connected_pair(Adder, AdderImpl(), links=(near, far)):
            pass
    assert living_tasks() == tasks


async def test_the_log_tells_that_only_the_server_could_not_be_set_up(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    near, silent = memory_link_pair(1)
    far, gone = memory_link_pair(1)
    await _close(gone)
    with pytest.raises(SessionError, match="took longer"):
        async with connected_pair(Adder, AdderImpl(), links=(near, far)):
            pass
    assert "the server's session could not be set up" in caplog.text
    await _close(silent)


async def test_a_pair_is_entered_once() -> None:
    pair = connected_pair(Adder, AdderImpl())
    async with pair:
        with pytest.raises(RuntimeError, match="make another"):
            await pair.__aenter__()


async def test_a_test_that_fails_leaves_nothing_of_its_cancelled_pair_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)

    async def keep_connected(task_status: trio.TaskStatus[None]) -> None:
        async with connected_pair(Adder, AdderImpl()) as adder:
            assert await adder.add(3, 5) == 8
            task_status.started()
            await trio.sleep_forever()

    async def fail() -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(keep_connected)
            raise Mine

    with pytest.raises(ExceptionGroup):
        await fail()
    # The call itself is told at DEBUG.
    assert [each for each in caplog.records if each.name != "roam_trio.calls"] == []


async def test_handler_sees_the_identity_that_the_test_has_chosen() -> None:
    async with connected_pair(Greeter, GreeterImpl(), identity="Ada") as greeter:
        assert await greeter.greet() == "Good morning, Ada."


async def test_client_of_a_pair_has_no_identity_otherwise() -> None:
    async with connected_pair(Greeter, GreeterImpl()) as greeter:
        assert await greeter.greet() == "Good morning, None."
