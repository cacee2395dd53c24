"""Which handlers can wait, and so need a task of their own.

A coroutine function without an await in it runs from its start to its end in one go,
whoever runs it: nobody can cancel it on the way, and nothing can come between. Such a
handler is run where its request arrives, which spares a task and a cancel scope, half
of what answering a small call costs.
"""

from __future__ import annotations

import dis
import inspect
from collections.abc import Callable
from types import FunctionType, MethodType
from typing import Any

__all__ = ["can_wait"]


def can_wait(function: Callable[..., Any]) -> bool:
    """Whether calls of an async function can ever wait, as far as can be known.

    False only for a function or method written in Python, none of whose instructions
    hands over to something awaited.
    """
    if isinstance(function, MethodType):
        function = function.__func__
    if not isinstance(function, FunctionType) or not inspect.iscoroutinefunction(
        function
    ):
        return True
    return any(
        instruction.opname in _WAITING for instruction in dis.get_instructions(function)
    )


# Every await, `async with` and `async for` compiles to a SEND in a loop.
_WAITING = frozenset({"SEND", "YIELD_VALUE", "GET_AWAITABLE", "YIELD_FROM"})
