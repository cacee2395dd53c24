"""Detection of handlers that can wait, and so need a task of their own.

A coroutine function without an await in it runs from its start to its end in one go,
whoever runs it: nobody can cancel it on the way, and nothing can come between. Such a
handler is run where its request arrives, which spares a task and a cancel scope, half
of what answering a small call costs.
"""

from __future__ import annotations

import dis
import functools
import inspect
import sys
from collections.abc import Callable
from types import CodeType, FunctionType, MethodType
from typing import Any, cast

__all__ = ["can_wait", "is_async"]


def is_async(function: Callable[..., Any]) -> bool:
    """Return True if calling `function` gives something to await, as far as is known.

    A decorator may be async itself, or return what the function it wraps returns.
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
    """Functions that Cython compiles, and specs that `unittest.mock` makes of async
    functions before Python 3.13, are known by this mark alone."""
    mark = getattr(sys.modules.get("asyncio.coroutines"), "_is_coroutine", None)
    return mark is not None and getattr(function, "_is_coroutine", None) is mark


def can_wait(function: Callable[..., Any]) -> bool:
    """Return True if calls of an async function can ever wait, as far as can be known.

    False only for a function or method written in Python with ``async def``, none of
    whose instructions hands over to something awaited. The code object decides, and not
    `inspect.iscoroutinefunction`: a plain function may be marked as a coroutine
    function, and returns what it pleases.
    """
    # Not isinstance: mocks say that they are functions, and that theirs is code.
    plain = cast(object, function)
    if type(plain) is MethodType:
        plain = plain.__func__
    code = plain.__code__ if type(plain) is FunctionType else None
    if type(code) is not CodeType or not code.co_flags & inspect.CO_COROUTINE:
        return True
    return any(
        instruction.opname in _WAITING for instruction in dis.get_instructions(code)
    )


# Every await, `async with` and `async for` compiles to a SEND in a loop.
_WAITING = frozenset({"SEND", "YIELD_VALUE", "GET_AWAITABLE", "YIELD_FROM"})
