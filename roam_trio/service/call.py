"""A call as its handler sees it: its metadata, and the explicit reply."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Generic, TypeVar

import trio

from ..errors import CallCancelled, InvalidPayload, UnknownMethod, UserError
from ..metadata import NO_METADATA, Metadata, MetadataLike
from ..peers import Peer
from ..rpc.connection import Connection
from ..rpc.failure_metadata import FailurePolicy
from ..rpc.handler import ReplySink
from ..wire.ids import ConnectionId, RequestId
from ..wire.messages import RequestCall
from .descriptor import MethodDescriptor

__all__ = ["Call", "SinkCall", "current_call"]

T = TypeVar("T")
E = TypeVar("E")

_current: ContextVar[Call[Any, Any]] = ContextVar("roam_trio_call")


class SinkCall(Generic[T, E]):
    """A typed reply to one request, for a handler that is written by hand.

        async def handle(self, call: RequestCall, reply: ReplySink) -> None:
            method = describe(Calculator).by_id(call.method_id)
            if method is None:
                await reply.send_error(UnknownMethod())
                return
            answer: SinkCall[int, MathError] = SinkCall(reply, method)
            ...
            await answer.ok(3)

    Use it once, with `ok`, `err`, `reply` or `refuse`. If the handler ends without
    using it, the session answers Cancelled. Annotate the variable with the types of the
    method, so that type checkers check the replies.

    Args:
        reply: sends the response.
        method: the called method, which determines the types of the response.

    Attributes:
        method: the called method.
        response_metadata: metadata of the response, however it is made.
    """

    __slots__ = ("_reply", "_response_metadata", "method")

    def __init__(self, reply: ReplySink, method: MethodDescriptor) -> None:
        self.method = method
        self._reply = reply
        self._response_metadata = NO_METADATA

    @property
    def response_metadata(self) -> Metadata:
        """The metadata of the response; set it before the response is made."""
        return self._response_metadata

    @response_metadata.setter
    def response_metadata(self, metadata: MetadataLike) -> None:
        self._response_metadata = Metadata.of(metadata)

    @property
    def is_replied(self) -> bool:
        """True if the response was sent, or can no longer be sent."""
        return self._reply.is_sent

    async def ok(self, value: T) -> T:
        """Answer with `value` now, and return it.

        ``return await call.ok(v)`` has the return type of the method. Waits for room to
        send. If cancelled, it has sent nothing.

        Raises:
            EncodeError: the value does not match the return type of the method.
            RuntimeError: the call was already answered.
        """
        await self._reply.send(
            self.method.result_plan.encode_ok(value), self._response_metadata
        )
        return value

    async def err(self, error: E) -> None:
        """Answer with a declared error now; otherwise as `ok`.

        Raises:
            TypeError: the method declares no error type.
        """
        await self._reply.send(
            self.method.result_plan.encode_user_error(error), self._response_metadata
        )

    async def reply(self, result: T | UserError) -> None:
        """Answer with a value, or with the error in a `UserError`."""
        if isinstance(result, UserError):
            await self.err(result.error)
        else:
            await self.ok(result)

    async def refuse(
        self, because: UnknownMethod | InvalidPayload | CallCancelled
    ) -> None:
        """Answer now that the call has no result; otherwise as `ok`.

        Args:
            because: an exception of the class that the caller gets; its text is not
                sent.
        """
        await self._reply.send_error(because, metadata=self._response_metadata)

    @property
    def failure_policy(self) -> FailurePolicy | None:
        """The policy for telling the caller about failures, if there is one."""
        return self._reply.failure_policy

    def __repr__(self) -> str:
        return f"<SinkCall of {self.method}, {self._state()}>"

    def _state(self) -> str:
        return "replied" if self.is_replied else "open"


class Call(SinkCall[T, E]):
    """The call that a handler is answering; `current_call` gives it.

    A handler answers by returning or raising. To answer earlier and continue, it uses
    `ok`, `err`, `reply` or `refuse`; its result is then ignored. If it ends without an
    answer, the session answers Cancelled.

    Attributes:
        method: the called method.
        response_metadata: metadata of the response, however it is made.
    """

    __slots__ = ("_request",)

    def __init__(
        self,
        method: MethodDescriptor,
        request: RequestCall,
        reply: ReplySink,
    ) -> None:
        # Do not call super().__init__(): it would cost every call a function call.
        self.method = method
        self._request = request
        self._reply = reply
        self._response_metadata = NO_METADATA

    @property
    def metadata(self) -> Metadata:
        """The metadata of the request."""
        return self._request.metadata

    @property
    def peer(self) -> Peer:
        """The peer that has made the call."""
        return self._reply.peer

    @property
    def connection(self) -> Connection:
        """The connection of the call, to call the caller back on it, for example.

            back = client(Display, current_call().connection.caller)

        The handle does not keep the connection alive.

        Raises:
            LookupError: the call has come in another way, without a session.
        """
        return self._reply.connection

    @property
    def identity(self) -> Any:
        """The identity of the caller, as set by the application: `Peer.identity`."""
        return self._reply.peer.identity

    @property
    def deadline(self) -> float:
        """Time at which the caller gives up, by trio's clock; `math.inf` for never."""
        return self._reply.deadline

    @property
    def draining(self) -> trio.Event:
        """An event that is set when this side begins to shut the session down with a
        grace: a handler that never ends by itself should end then.

        Raises:
            LookupError: the call has come in another way, without a session.
        """
        return self.connection.session.draining

    @property
    def connection_id(self) -> ConnectionId:
        """The connection of the call."""
        return self._request.connection_id

    @property
    def request_id(self) -> RequestId:
        """The id of the request on its connection."""
        return self._request.request_id

    def __repr__(self) -> str:
        return f"<Call {self.request_id} of {self.method}, {self._state()}>"


def current_call() -> Call[Any, Any]:
    """Return the call that this task, or the task that started it, is answering.

    Annotate the variable with the types of the method, so that type checkers check
    them: ``call: Call[int, MathError] = current_call()``.

    Raises:
        LookupError: the task is not answering a call.
    """
    try:
        return _current.get()
    except LookupError:
        raise LookupError("current_call: this task answers no call") from None


def add_response_metadata(call: SinkCall[Any, Any], more: Metadata) -> None:
    """Add to what goes with the response; for what is said beside the handler's own."""
    call.response_metadata = Metadata((*call.response_metadata, *more))


set_current_call: Callable[[Call[Any, Any]], object] = _current.set
"""Sets the current call at the start of a handler's task; for the dispatcher. As a
function in Python, it would be a call more."""
