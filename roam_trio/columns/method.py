"""Columns of a method, and the negotiation of their use.

Columns are faster than postcard for long lists of records, but only roam_trio knows
them. Each method whose types can use them therefore negotiates in the metadata of its
calls (see `entry`):

    request   "the result may be in columns"
    response  "the arguments may be in columns, next time"

A result in columns begins with a byte with which no result in postcard begins.
Arguments that may be in columns have a byte in front. The sender chooses the encoding
of each value, and uses postcard for short or unusual ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import attrs

from ..codec import INVALID_PAYLOAD, Outcome, ResultKind, ResultPlan, RpcPlan
from ..errors import DecodeError, PayloadTooLarge
from ..metadata import NO_METADATA, REQUEST_DEADLINE, Metadata
from ..peers import Peer
from ..rpc.binding import ChannelBinder, Payload
from ..rpc.caller import Caller
from ..rpc.connection import Connection
from ..rpc.failure_metadata import FailurePolicy
from ..rpc.handler import ReplySink, RequestMemory
from ..wire.ids import ChannelId, MethodId
from ..wire.messages import Encoded, RequestCall, RequestResponse, joined
from .entry import (
    PREFIXED,
    READS_ARGUMENTS,
    READS_RESULT,
    flags_in,
    with_entry,
    without_entry,
)
from .plan import ColumnsPlan, columns_of

__all__ = ["MethodColumns", "Received", "method_columns"]

_ARGS_IN_POSTCARD, _ARGS_IN_COLUMNS = b"\x00", b"\x01"
_RESULT_IN_COLUMNS = b"\x02"


class Received(NamedTuple):
    """The request, reply and codec that a handler uses for a request with the entry.

    Attributes:
        call: the request as the user of its sender has made it.
        reply: sends the response.
        decode: decodes the arguments.
        encode_ok: encodes the result.
    """

    call: RequestCall
    reply: ReplySink
    decode: Callable[[bytes | memoryview], Any]
    encode_ok: Callable[[Any], Encoded]


@attrs.frozen(eq=False)
class MethodColumns:
    """Plans for the arguments and the result of one method in columns.

    Attributes:
        args_plan: the plan of the arguments in postcard.
        result_plan: the plan of the result in postcard.
        args: the plan of the arguments in columns; None if they cannot use columns.
        result: the plan of the result in columns; None if it cannot use columns.
    """

    args_plan: RpcPlan[tuple[Any, ...]]
    result_plan: ResultPlan
    args: ColumnsPlan | None
    result: ColumnsPlan | None

    # ------------------------------------------------------------ the caller

    async def call(
        self,
        caller: Caller,
        method_id: MethodId,
        args: tuple[Any, ...],
        metadata: Metadata,
        accepting: set[MethodId],
    ) -> RequestResponse:
        """Make a call; see `Caller.call`.

        Args:
            caller: makes the call.
            method_id: the id of the method.
            args: its arguments.
            metadata: metadata of the request.
            accepting: the methods whose arguments the peer reads in columns; the
                response adds this method or removes it.
        """
        flags = 0 if self.result is None else READS_RESULT
        if self.args is not None and method_id in accepting:
            payload = _PrefixedArguments(self.args_plan, self.args, args)
            with_prefix = with_entry(metadata, flags | PREFIXED)
            try:
                response = await caller.call(method_id, payload, metadata=with_prefix)
            except PayloadTooLarge:
                pass  # postcard may be shorter
            else:
                if joined(response.ret) != INVALID_PAYLOAD:
                    return _unmarked_response(response)
                # No handler has received the call, so repeating it is safe. The peer
                # may have become a proxy to one without columns.
                accepting.discard(method_id)
        response = await caller.call(
            method_id,
            Payload(self.args_plan, args),
            metadata=with_entry(metadata, flags),
        )
        answer = flags_in(response.metadata)
        if answer is None:
            return response
        if answer & READS_ARGUMENTS:
            accepting.add(method_id)
        return _unmarked_response(response)

    def decode(self, ret: bytes | memoryview) -> Outcome:
        """Decode a response to `call`, as `ResultPlan.decode` does."""
        if self.result is not None and ret[:1] == _RESULT_IN_COLUMNS:
            return Outcome(ResultKind.OK, self.result.decode(ret, 1))
        return self.result_plan.decode(ret)

    # ------------------------------------------------------------ the handler

    def receive(self, call: RequestCall, reply: ReplySink) -> Received | None:
        """Return how to answer a request; None if the request does not have the entry.

        A request can have the entry although this method has no columns: its sender
        asks, and marks the arguments if another handler has answered before.
        """
        metadata = call.metadata
        if len(metadata) == 1 and metadata[0].key is REQUEST_DEADLINE:
            return None  # as it is for most calls with metadata
        flags = flags_in(metadata)
        if flags is None:
            return None
        decode = self._decode_prefixed if flags & PREFIXED else self.args_plan.decode
        answer = _Reply(self, flags, reply)
        return Received(_unmarked_call(call), answer, decode, answer.encode_ok)

    def _decode_prefixed(self, args: bytes | memoryview) -> tuple[Any, ...]:
        if args[:1] == _ARGS_IN_POSTCARD:
            return self.args_plan.decode(args, 1)
        if args[:1] != _ARGS_IN_COLUMNS or self.args is None:
            raise DecodeError(
                "expected 00 (postcard) or 01 (columns) in front of the arguments"
            )
        decoded: tuple[Any, ...] = self.args.decode(args, 1)
        return decoded


def method_columns(
    args_plan: RpcPlan[tuple[Any, ...]], result_plan: ResultPlan
) -> MethodColumns | None:
    """Return the columns of a method, or None if neither direction can use them."""
    args, result = columns_of(args_plan), columns_of(result_plan.ok)
    if args is None and result is None:
        return None
    return MethodColumns(args_plan, result_plan, args, result)


class _PrefixedArguments(Payload):
    """Arguments with a byte in front that names their encoding."""

    __slots__ = ("_columns",)

    def __init__(
        self, plan: RpcPlan[Any], columns: ColumnsPlan, value: tuple[Any, ...]
    ) -> None:
        super().__init__(plan, value)
        self._columns = columns

    def encode(self, binder: ChannelBinder) -> tuple[tuple[ChannelId, ...], Encoded]:
        encoded = self._columns.encode(self.value)
        if encoded is not None:
            return (), [_ARGS_IN_COLUMNS, encoded]
        pieces: list[bytes | memoryview] = [_ARGS_IN_POSTCARD]
        self.plan.encode_into(self.value, pieces)
        return (), pieces


def _unmarked_response(response: RequestResponse) -> RequestResponse:
    response.metadata = without_entry(response.metadata)
    return response


def _unmarked_call(call: RequestCall) -> RequestCall:
    return RequestCall(
        call.connection_id,
        call.request_id,
        call.method_id,
        call.channels,
        without_entry(call.metadata),
        call.args,
    )


class _Reply(ReplySink):
    """The reply to a request that has the entry: its result may be in columns.

    It also tells the caller whether the arguments of later calls may be in columns.

    Args:
        columns: the columns of the method.
        flags: the flags of the request's entry.
        reply: sends the response.
    """

    __slots__ = ("_columns", "_in_columns", "_reads_result", "_reply", "_value")

    def __init__(self, columns: MethodColumns, flags: int, reply: ReplySink) -> None:
        self._columns = columns
        self._reads_result = bool(flags & READS_RESULT)
        self._reply = reply
        self._in_columns: Encoded | None = None
        self._value: Any = None

    def encode_ok(self, value: Any) -> Encoded:
        """Encode a result as `ResultPlan.encode_ok` does, in columns if possible."""
        plan = self._columns.result if self._reads_result else None
        encoded = None if plan is None else plan.encode(value)
        if encoded is None:
            return self._columns.result_plan.encode_ok(value)
        self._value = value
        self._in_columns = [_RESULT_IN_COLUMNS, encoded]
        return self._in_columns

    def count_refused(self) -> None:
        self._reply.count_refused()

    def hold(self, ret: Encoded) -> bool:
        return self._reply.hold(ret)

    async def send(self, ret: Encoded, metadata: Metadata = NO_METADATA) -> None:
        metadata = self._answering(metadata)
        try:
            await self._reply.send(ret, metadata)
        except PayloadTooLarge:
            if ret is not self._in_columns:
                raise
            await self._reply.send(self._in_postcard(), metadata)

    def send_nowait(self, ret: Encoded, metadata: Metadata = NO_METADATA) -> None:
        metadata = self._answering(metadata)
        try:
            self._reply.send_nowait(ret, metadata)
        except PayloadTooLarge:
            if ret is not self._in_columns:
                raise
            self._reply.send_nowait(self._in_postcard(), metadata)

    def _in_postcard(self) -> Encoded:
        """Return the result of a response in postcard, which may be shorter."""
        return self._columns.result_plan.encode_ok(self._value)

    def _answering(self, metadata: Metadata) -> Metadata:
        if self._columns.args is None:
            return metadata
        return with_entry(metadata, READS_ARGUMENTS)

    @property
    def memory(self) -> RequestMemory:
        return self._reply.memory

    @property
    def peer(self) -> Peer:
        return self._reply.peer

    @property
    def connection(self) -> Connection:
        return self._reply.connection

    @property
    def deadline(self) -> float:
        return self._reply.deadline

    @property
    def failure_policy(self) -> FailurePolicy | None:
        return self._reply.failure_policy

    @property
    def is_sent(self) -> bool:
        return self._reply.is_sent

    @property
    def channel_binder(self) -> ChannelBinder:
        return self._reply.channel_binder
