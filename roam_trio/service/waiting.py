"""Detection of handlers that can wait, and so need a task of their own.

A coroutine function without an await runs from start to end in one step: it cannot be
cancelled, and no other task runs in between. Such a handler runs where its request
arrives, which saves a task and a cancel scope, half of the cost of answering a small
call.
"""

from __future__ import annotations

import dis
import functools
import inspect
import sys
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType, MethodType
from typing import Any, cast

__all__ = ["can_ask", "can_wait", "is_async"]


def is_async(function: Callable[..., Any]) -> bool:
    """Return True if calling `function` returns an awaitable, as far as is known.

    A decorator may be async itself, or return the result of the function that it wraps.
    """
    called = _without_partials(function)
    candidates = (called, inspect.unwrap(function), called.__call__)
    return any(
        inspect.iscoroutinefunction(each) or _is_marked_for_asyncio(each)
        for each in candidates
    )


def _without_partials(function: Any) -> Any:
    while isinstance(function, functools.partial):
        function = function.func
    return function


def _is_marked_for_asyncio(function: object) -> bool:
    """Return True if a function has asyncio's mark of coroutine functions.

    Functions compiled by Cython, and specs that `unittest.mock` makes of async
    functions before Python 3.13, have only this mark."""
    mark = getattr(sys.modules.get("asyncio.coroutines"), "_is_coroutine", None)
    return mark is not None and getattr(function, "_is_coroutine", None) is mark


def can_wait(function: Callable[..., Any]) -> bool:
    """Return True if calls of an async function may wait, as far as is known.

    False only for a function or method written in Python with ``async def`` without an
    instruction that awaits. This checks the code object and not
    `inspect.iscoroutinefunction`, because a plain function can be marked as a coroutine
    function, and can return anything.
    """
    code = _code_of(function)
    return code is None or any(each in _WAITING for each in _instructions(code))


def can_ask(function: Callable[..., Any]) -> bool:
    """Return True if a function that cannot wait may ask trio for its deadline.

    False only for one that calls nothing.
    """
    code = _code_of(function)
    # From Python 3.12 on, each coroutine function has an instruction of this name that
    # calls nothing of a program's.
    return code is None or any(
        each.startswith("CALL") and not each.startswith("CALL_INTRINSIC")
        for each in _instructions(code)
    )


def _code_of(function: Callable[..., Any]) -> CodeType | None:
    """Return the code of a function written in Python with ``async def``."""
    # Do not use isinstance: mocks imitate the classes of functions and code.
    plain = cast(object, function)
    if type(plain) is MethodType:
        plain = plain.__func__
    code = plain.__code__ if type(plain) is FunctionType else None
    if type(code) is not CodeType or not code.co_flags & inspect.CO_COROUTINE:
        return None
    return code


def _instructions(code: CodeType) -> Iterator[str]:
    return (each.opname for each in dis.get_instructions(code))


# Every await, `async with` and `async for` compiles to a SEND in a loop.
_WAITING = frozenset({"SEND", "YIELD_VALUE", "GET_AWAITABLE", "YIELD_FROM"})
