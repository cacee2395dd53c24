"""The answering side of a service: from a request to a method of the handler, and back.

Whatever a method does, its request gets exactly one response, and no other request is
harmed: a declared error is sent as it is, any other exception is logged and answered
with Cancelled.
"""

from __future__ import annotations

import inspect
import logging
import traceback
from collections.abc import Callable, Coroutine
from typing import Any

from ..calls import ReplySink, bind_channels_callee_args
from ..errors import DecodeError, EncodeError, SchemaError, UserError
from ..messages import Encoded, RequestCall, joined
from ..schema import CANCELLED, INVALID_PAYLOAD, UNKNOWN_METHOD
from .call import Call, set_current_call
from .descriptor import MethodDescriptor, ServiceDescriptor, describe

__all__ = ["Dispatcher", "dispatcher"]

logger = logging.getLogger("roam_trio.service")


def dispatcher(service: Callable[..., Any], handler: object) -> Dispatcher:
    """What answers the calls of `service` with the methods of `handler`.

    Args:
        service: the class of the service.
        handler: any object with the methods of the service. No base class is needed;
            annotate it (``handler: Adder = AdderImpl()``) to have type checkers
            compare the two.

    Raises:
        SchemaError: a method is missing, or takes other arguments; it names both
            signatures.
    """
    return Dispatcher(describe(service), service, handler)


class Dispatcher:
    """A `Handler` that answers with the methods of an object."""

    def __init__(
        self,
        descriptor: ServiceDescriptor,
        service: Callable[..., Any],
        handler: object,
    ) -> None:
        self._descriptor = descriptor
        self._methods = {
            method.id: _Method(method, _find(method, service, handler))
            for method in descriptor.methods
        }

    @property
    def descriptor(self) -> ServiceDescriptor:
        """The service it answers for."""
        return self._descriptor

    def handle(
        self, call: RequestCall, reply: ReplySink
    ) -> Coroutine[Any, Any, None] | None:
        """See `Handler.handle`. Arguments are decoded and channels bound before it
        returns, so that no item can come too early for them."""
        method = self._methods.get(call.method_id)
        if method is None:
            reply.send_nowait(UNKNOWN_METHOD)
            return None
        plan = method.descriptor.args_plan
        try:
            args = plan.decode(joined(call.args))
        except DecodeError as error:
            logger.warning("%s: undecodable arguments: %s", method.descriptor, error)
            reply.send_nowait(INVALID_PAYLOAD)
            return None
        if plan.has_channels:
            bind_channels_callee_args(plan, args, call.channels, reply.channel_binder)
        return method.answer(args, call, reply)

    def __repr__(self) -> str:
        return f"<Dispatcher of {self._descriptor.name}>"


class _Method:
    """A method of the service, and the handler's method for it."""

    __slots__ = ("_function", "descriptor")

    def __init__(
        self,
        descriptor: MethodDescriptor,
        function: Callable[..., Coroutine[Any, Any, Any]],
    ) -> None:
        self.descriptor = descriptor
        self._function = function

    async def answer(
        self, args: tuple[Any, ...], request: RequestCall, reply: ReplySink
    ) -> None:
        """Run the handler's method and send what becomes of it."""
        call: Call[Any, Any] = Call(self.descriptor, request, reply)
        set_current_call(call)
        # From here on the handler alone holds its arguments: a channel that it lets go
        # of is closed before the response is sent.
        running = self._function(*args)
        del args
        try:
            value = await running
        except Exception as error:
            ret = self._encode_error(error, call)
        else:
            ret = self._encode_value(value, call)
            del value
        del running
        if not reply.is_sent:
            await reply.send(ret, call.response_metadata)

    def _encode_value(self, value: Any, call: Call[Any, Any]) -> Encoded:
        if call.is_replied:
            return CANCELLED
        try:
            return self.descriptor.result_plan.encode_ok(value)
        except EncodeError:
            logger.exception(
                "%s: the handler returned what cannot be sent; its caller gets "
                "Cancelled",
                self.descriptor,
            )
            return CANCELLED

    def _encode_error(self, error: Exception, call: Call[Any, Any]) -> Encoded:
        try:
            declared = self._declared(error)
            if declared is not None and not call.is_replied:
                return self.descriptor.result_plan.encode_user_error(declared)
            if declared is None:
                logger.error(
                    "%s: the handler failed; its caller gets Cancelled",
                    self.descriptor,
                    exc_info=error,
                )
        except EncodeError:
            logger.exception(
                "%s: the handler raised what cannot be sent; its caller gets Cancelled",
                self.descriptor,
            )
        finally:
            # The traceback would keep the handler's channels open.
            traceback.clear_frames(error.__traceback__)
        return CANCELLED

    def _declared(self, error: Exception) -> Any:
        """The value of the method's error type that `error` stands for, if any."""
        if self.descriptor.error_type is None:
            return None
        if isinstance(error, UserError):
            return error.error
        if isinstance(error, self.descriptor.result_plan.exceptions):
            return error
        return None


def _find(
    method: MethodDescriptor, service: Callable[..., Any], handler: object
) -> Callable[..., Coroutine[Any, Any, Any]]:
    """The handler's method for `method`, checked."""
    wanted = f"expected async def {method.name}{method.signature}"
    where = f"{type(handler).__qualname__}.{method.name}"
    function: Any = getattr(handler, method.name, None)
    if function is None:
        raise SchemaError(f"{wanted}, and there is none", where)
    if getattr(type(handler), method.name, None) is getattr(service, method.name):
        raise SchemaError(f"{wanted}, got only that of the service itself", where)
    try:
        signature = inspect.signature(function)
    except TypeError:
        raise SchemaError(f"{wanted}, got {function!r}", where) from None
    try:
        signature.bind(*method.signature.parameters)
    except TypeError as error:
        raise SchemaError(
            f"{wanted}, got {method.name}{signature}: {error}", where
        ) from None
    inner: Any = inspect.unwrap(function)
    if not inspect.iscoroutinefunction(inner):
        raise SchemaError(
            f"{wanted}, got one that is not async: {method.name}{signature}", where
        )
    found: Callable[..., Coroutine[Any, Any, Any]] = function
    return found
