"""Detection of async methods of handlers, and of those that can wait."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable
from typing import Any, Protocol, cast
from unittest.mock import AsyncMock, create_autospec

import pytest
import trio

from roam_trio import SchemaError, dispatcher, service, u32
from roam_trio.service.waiting import can_ask, can_wait, is_async
from tests.service.services import connected


@service
class Adder(Protocol):
    async def add(self, left: u32, right: u32) -> u32: ...


MARK_OF_ASYNCIO = getattr(asyncio.coroutines, "_is_coroutine", None)


async def add_at_once(left: int, right: int) -> int:
    return left + right


async def add_later(left: int, right: int) -> int:
    await trio.lowlevel.checkpoint()
    return left + right


def marked(function: Callable[..., Any]) -> Callable[..., Any]:
    """A plain function that `inspect.iscoroutinefunction` takes for another."""
    mark: Any = getattr(inspect, "markcoroutinefunction", None)  # from Python 3.12 on
    if mark is None:
        function._is_coroutine = MARK_OF_ASYNCIO
        return function
    return cast("Callable[..., Any]", mark(function))


class Callee:
    async def __call__(self, left: int, right: int) -> int:
        return await add_later(left, right)


class Late:
    async def add(self, left: int, right: int) -> int:
        return await add_later(left, right)


class LikeCython:
    """A function that is none of Python's, with the attributes of one."""

    __name__ = "add"
    __code__ = add_at_once.__code__
    __defaults__ = None
    __kwdefaults__ = None
    __annotations__: dict[str, Any] = {}
    _is_coroutine = MARK_OF_ASYNCIO

    def __call__(self, left: int, right: int) -> Any:
        return add_later(left, right)


def specified() -> Any:
    spec = create_autospec(add_later)
    spec.return_value = 8
    return spec


def specified_instance() -> Any:
    """A mock whose method passes for a function with code, and has none."""
    spec: Any = create_autospec(Late, instance=True)
    spec.add.return_value = 8
    return spec.add


def mocked() -> Any:
    return AsyncMock(return_value=8)


MAY_WAIT: dict[str, Callable[[], Any]] = {
    "awaits": lambda: add_later,
    "marked": lambda: marked(lambda left, right: add_later(left, right)),
    "autospec": specified,
    "autospec of an instance": specified_instance,
    "mock": mocked,
    "partial": lambda: functools.partial(add_at_once),
    "partial of an object": lambda: functools.partial(Callee()),
    "object": Callee,
    "method of an object": lambda: Callee().__call__,
    "compiled": LikeCython,
}


@pytest.mark.parametrize("make", MAY_WAIT.values(), ids=MAY_WAIT)
async def test_whatever_is_not_plainly_at_once_gets_a_task_and_answers(
    make: Callable[[], Any], nursery: trio.Nursery
) -> None:
    function = make()
    assert can_wait(function)
    assert is_async(function)

    class Handler:
        add = staticmethod(function)

    adder = await connected(nursery, Adder, Handler())
    assert await adder.add(3, 5) == 8


def test_a_coroutine_function_without_an_await_cannot_wait() -> None:
    assert not can_wait(add_at_once)


def test_a_function_without_a_mark_is_refused_although_it_returns_a_coroutine() -> None:
    def plain(left: int, right: int) -> Any:
        return add_later(left, right)

    class Handler:
        add = staticmethod(plain)

    assert not is_async(plain)
    with pytest.raises(SchemaError, match="not async"):
        dispatcher(Adder, Handler())


async def add_with_help(left: int, right: int) -> int:
    return sum((left, right))


def test_only_what_calls_nothing_cannot_ask_for_its_deadline() -> None:
    assert not can_ask(add_at_once)
    assert can_ask(add_with_help)
    assert can_ask(functools.partial(add_at_once, 1))
