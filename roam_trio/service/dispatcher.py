"""The answering side of a service, which calls the methods of the handler.

Each request gets exactly one response, whatever the method does, and other requests are
not affected. A declared error is sent, also if it is the only one in an exception
group. Any other exception is logged and answered with Cancelled. A handler that ends
because the receiver of a channel wants no more items is not logged as a failure.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Iterable
from contextvars import copy_context
from math import inf
from typing import Any, TypeVar

import trio

from ..codec import INVALID_PAYLOAD, UNKNOWN_METHOD
from ..errors import (
    CallCancelled,
    DecodeError,
    EncodeError,
    InvalidPayload,
    SchemaError,
    UnknownMethod,
)
from ..failures import is_failure
from ..logs import Log
from ..rpc.binding import bind_channels_callee_args
from ..rpc.expected_service import DescribedHandler
from ..rpc.handler import LIGHT_BYTES, ReplySink, send_reply
from ..wire.messages import Encoded, RequestCall, joined
from .call import Call, set_current_call
from .descriptor import MethodDescriptor, ServiceDescriptor, describe
from .failing import Failing
from .middleware import Middleware, ServerCall, checked_middleware, go_through
from .signatures import show_signature
from .waiting import can_ask, can_wait, is_async

__all__ = ["Dispatcher", "dispatcher"]

T = TypeVar("T")

logger = Log("roam_trio.service")


def dispatcher(
    service: Callable[..., Any],
    handler: object,
    *,
    middleware: Iterable[Middleware] = (),
) -> Dispatcher:
    """Return a handler of the calls of `service` that uses the methods of `handler`.

    Args:
        service: the class of the service.
        handler: any object with the methods of the service. It needs no base class;
            annotate it (``handler: Adder = AdderImpl()``) so that type checkers compare
            the two.
        middleware: wraps each call, the first outermost; see `Middleware`.

    Raises:
        SchemaError: a method is missing, or has other parameters (the error shows both
            signatures), or `handler` is a class instead of an object.
        TypeError: `middleware` is not a list of functions.
    """
    around = checked_middleware(middleware)
    return Dispatcher(describe(service), service, handler, around)


class Dispatcher(DescribedHandler):
    """A `Handler` that answers with the methods of an object."""

    def __init__(
        self,
        descriptor: ServiceDescriptor,
        service: Callable[..., Any],
        handler: object,
        middleware: tuple[Middleware, ...] = (),
    ) -> None:
        self._descriptor = descriptor
        self._service = service
        self._handler = handler
        self._middleware = middleware
        self._methods = {
            method.id: _Method(method, _find(method, service, handler), middleware)
            for method in descriptor.methods
        }

    def with_middleware(self, middleware: Iterable[Middleware]) -> Dispatcher:
        """Return a dispatcher of the same handler with further middleware outside that
        of this one.

        Raises:
            TypeError: `middleware` is not a list of functions.
        """
        around = (*checked_middleware(middleware), *self._middleware)
        return Dispatcher(self._descriptor, self._service, self._handler, around)

    @property
    def descriptor(self) -> ServiceDescriptor:
        """The service that it answers for."""
        return self._descriptor

    @property
    def fingerprint(self) -> bytes:
        """See `DescribedHandler.fingerprint`."""
        return self._descriptor.fingerprint

    @property
    def deflated_schema(self) -> bytes | None:
        """See `DescribedHandler.deflated_schema`."""
        return self._descriptor.deflated_schema

    def handle(
        self, call: RequestCall, reply: ReplySink
    ) -> Coroutine[Any, Any, None] | None:
        """See `Handler.handle`. It decodes the arguments and binds their channels
        before it returns, so that no item can arrive too early.
        """
        method = self._methods.get(call.method_id)
        if method is None:
            reply.count_refused(UnknownMethod())
            return send_reply(reply, UNKNOWN_METHOD)
        plan = method.plan
        encoded = call.args  # in one piece, unless a proxy in this process made it
        if isinstance(encoded, list):
            encoded = joined(encoded)
        is_heavy = len(encoded) > method.light
        if is_heavy:
            reply.memory.foresee(plan.weights.at_most(len(encoded)))
        try:
            args = method.decode(encoded)
        except DecodeError as error:
            logger.warning(
                "%s: undecodable arguments: %s",
                method.descriptor,
                error,
                method=method.descriptor,
                connection=call.connection_id,
            )
            reply.count_refused(InvalidPayload())
            return send_reply(reply, INVALID_PAYLOAD)
        if is_heavy and method.can_wait:
            reply.memory.hold(plan.weights.of(args, len(encoded)))
        if plan.has_channels:
            bind_channels_callee_args(plan, args, call.channels, reply.channel_binder)
        return method.start(args, call, reply)

    def __repr__(self) -> str:
        return f"<Dispatcher of {self._descriptor.name}>"


class _Method:
    """A method of the service, and the handler's method for it."""

    __slots__ = (
        "_can_ask",
        "_encode_ok",
        "_failing",
        "_function",
        "_middleware",
        "can_wait",
        "decode",
        "descriptor",
        "light",
        "plan",
    )

    def __init__(
        self,
        descriptor: MethodDescriptor,
        function: Callable[..., Coroutine[Any, Any, Any]],
        middleware: tuple[Middleware, ...],
    ) -> None:
        self.descriptor = descriptor
        self.plan = descriptor.args_plan
        self.decode: Callable[[bytes | memoryview], Any] = self.plan.decode
        self._encode_ok: Callable[[Any], Encoded] = descriptor.result_plan.encode_ok
        self._failing = Failing(descriptor)
        self._function = _by_name(descriptor, function)
        # The caller of this function still holds the arguments, so channels that the
        # handler drops would be closed after the response.
        self.can_wait = bool(
            middleware or descriptor.args_plan.has_channels or can_wait(function)
        )
        self._can_ask = can_ask(function)
        self._middleware = middleware
        self.light = descriptor.args_plan.weights.length_of(LIGHT_BYTES)

    def start(
        self,
        args: tuple[Any, ...],
        request: RequestCall,
        reply: ReplySink,
    ) -> Coroutine[Any, Any, None] | None:
        """Answer the request: at once if the method cannot wait, else by the returned
        coroutine.
        """
        call: Call[Any, Any] = Call(self.descriptor, request, reply)
        if self.can_wait:
            return self._answer(args, call, reply)
        # Run it in its own context, as a task would have.
        has_deadline = self._can_ask and reply.deadline != inf
        run = self._run_in_scope if has_deadline else self._run_now
        ret = copy_context().run(run, args, call)
        if reply.is_sent:
            return None
        return send_reply(reply, ret, call.response_metadata)

    async def _answer(
        self, args: tuple[Any, ...], call: Call[Any, Any], reply: ReplySink
    ) -> None:
        """Run the handler's method, and send its response."""
        set_current_call(call)
        try:
            try:
                if self._middleware:
                    running = self._go_through(args, call)
                else:
                    running = self._function(*args)
            finally:
                # From here on only the handler holds its arguments: a channel that it
                # drops is closed before the response is sent.
                del args
            value = await running
            del running
        except BaseException as error:
            if not is_failure(error):
                raise
            ret = self._failing.answer_to(error, call)
            if reply.is_sent:
                return
        else:
            if reply.is_sent:
                return
            ret = self._encode_value(value, call)
            del value  # may be large, and sending may have to wait
        sending = send_reply(reply, ret, call.response_metadata)
        if sending is not None:
            await sending

    async def _go_through(self, args: tuple[Any, ...], call: Call[Any, Any]) -> Any:
        """Run the handler's method through the middleware."""
        around = ServerCall(call, args)
        del args

        def proceed() -> Coroutine[Any, Any, Any]:
            around.was_begun = True
            return self._function(*around.args)

        try:
            return await go_through(self._middleware, around, proceed)
        except CallCancelled as refusal:
            if refusal.was_begun is None and not refusal.by_peer:
                refusal.was_begun = around.was_begun
            raise

    @trio.lowlevel.disable_ki_protection
    def _run_now(self, args: tuple[Any, ...], call: Call[Any, Any]) -> Encoded:
        """Run a method that cannot wait, and return its response."""
        set_current_call(call)
        try:
            value = _result_of(self._function(*args))
        except BaseException as error:
            if not is_failure(error):
                raise
            return self._failing.answer_to(error, call)
        return self._encode_value(value, call)

    def _run_in_scope(self, args: tuple[Any, ...], call: Call[Any, Any]) -> Encoded:
        """As `_run_now`; what asks trio for the deadline gets that of the call.

        Nothing is cancelled, as nothing waits.
        """
        with trio.CancelScope(deadline=call.deadline):  # noqa: ASYNC100 - it is asked
            return self._run_now(args, call)
        raise AssertionError("a method that does not wait is not cancelled")

    def _encode_value(self, value: Any, call: Call[Any, Any]) -> Encoded:
        try:
            return self._encode_ok(value)
        except EncodeError as error:
            return self._failing.cannot_be_sent(error, call, "returned")


def _result_of(coroutine: Coroutine[Any, Any, T]) -> T:
    """Return the result of a coroutine that does not wait."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    raise AssertionError(f"{coroutine!r} was not to wait")


def _find(
    method: MethodDescriptor, service: Callable[..., Any], handler: object
) -> Callable[..., Coroutine[Any, Any, Any]]:
    """Return the handler's method for `method`, checked."""
    if isinstance(handler, type) and inspect.isfunction(
        inspect.getattr_static(handler, method.name, None)
    ):
        raise SchemaError(
            f"expected an object with the methods of {method.service}, "
            f"got the class {handler.__qualname__}; are the () missing?"
        )
    wanted = f"expected async def {method.name}{show_signature(method.signature)}"
    where = f"{type(handler).__qualname__}.{method.name}"
    function: Any = getattr(handler, method.name, None)
    if function is None:
        raise SchemaError(f"{wanted}, and there is none", where)
    if _is_stub(getattr(type(handler), method.name, None), method.name, service):
        raise SchemaError(f"{wanted}, got only that of the service itself", where)
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        raise SchemaError(f"{wanted}, got {function!r}", where) from None
    got = f"{method.name}{show_signature(signature)}"
    positional, keywords = method.by_position(tuple(method.signature.parameters))
    try:
        signature.bind(*positional, **keywords)
    except TypeError as error:
        raise SchemaError(f"{wanted}, got {got}: {error}", where) from None
    if not is_async(function):
        raise SchemaError(f"{wanted}, got one that is not async: {got}", where)
    found: Callable[..., Coroutine[Any, Any, Any]] = function
    return found


def _by_name(
    method: MethodDescriptor, function: Callable[..., Coroutine[Any, Any, Any]]
) -> Callable[..., Coroutine[Any, Any, Any]]:
    """Return a function of all arguments by position, as they are on the wire."""
    if method.positional_count is not None:
        return function

    def call(*args: Any) -> Coroutine[Any, Any, Any]:
        positional, keywords = method.by_position(args)
        del args
        return function(*positional, **keywords)

    return call


def _is_stub(function: object, name: str, service: Callable[..., Any]) -> bool:
    """Return True if `function` belongs to the service class or one of its bases."""
    classes: tuple[type[Any], ...] = getattr(service, "__mro__", ())
    return any(vars(cls).get(name, _nothing) is function for cls in classes)


_nothing = object()
