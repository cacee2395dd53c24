"""Handlers whose methods are coroutines of asyncio."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from types import SimpleNamespace
from typing import Any

from ...rpc.handler import Handler
from ...service import Middleware, current_call, describe
from ...service import dispatcher as native_dispatcher
from ...service.client import bound_arguments
from ...service.descriptor import MethodDescriptor
from ...service.waiting import can_wait
from .channels import give_to_asyncio
from .deadlines import set_deadline
from .guest import in_asyncio
from .middleware import for_trio

__all__ = ["dispatcher"]


def dispatcher(
    service: Callable[..., Any],
    handler: object,
    *,
    middleware: Iterable[Middleware] = (),
) -> Handler:
    """Return a handler of the calls of `service` that uses coroutines of asyncio.

    Each call runs as a task of asyncio, which is cancelled if the caller cancels the
    call, and waited for. `current_call` works in it, and channels in its arguments are
    `Tx` and `Rx` of this module. A method without an ``await`` runs at once, without a
    task. If this program cancels a task itself, its caller gets `Refused`. Errors are
    those of `roam_trio.dispatcher`.

    Args:
        service: the class of the service.
        handler: any object with the methods of the service.
        middleware: wraps each call, as asyncio code; the first is outermost.

    Raises:
        SchemaError: a method is missing, or has other parameters.
        TypeError: `middleware` is not a list of functions.
    """
    native_dispatcher(service, handler)  # checks it, under its own name
    methods = {
        method.name: _for_trio(method, getattr(handler, method.name))
        for method in describe(service).methods
    }
    around = for_trio(middleware)
    return native_dispatcher(service, SimpleNamespace(**methods), middleware=around)


def _for_trio(
    method: MethodDescriptor, function: Callable[..., Any]
) -> Callable[..., Any]:
    """Return a function of trio that awaits a method in asyncio."""
    if not (can_wait(function) or method.args_plan.has_channels):
        return function

    async def in_task(*args: Any, **kwargs: Any) -> Any:
        set_deadline(current_call().deadline)
        awaited = function(*args, **kwargs)
        del args, kwargs
        return await awaited

    @wraps(function)
    async def call(*args: Any, **kwargs: Any) -> Any:
        if method.args_plan.has_channels:
            every = bound_arguments(method, args, kwargs) if kwargs else args
            for end, _ in method.args_plan.collect_channels(every):
                give_to_asyncio(end)
            del every
        running = in_asyncio(in_task, *args, **kwargs)
        del args, kwargs
        return await running

    return call
