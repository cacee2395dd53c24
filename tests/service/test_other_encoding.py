"""What clients and dispatchers ask of a second encoding is all in the door of columns.

The encoding here is none that anybody wants: it turns postcard around.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import pytest
import trio

from roam_trio import Metadata, RoamError, current_call, service, u32
from roam_trio.codec import Outcome, ResultPlan, RpcPlan
from roam_trio.rpc.binding import ChannelBinder, Payload
from roam_trio.rpc.caller import Caller
from roam_trio.rpc.handler import ReplySink
from roam_trio.service import descriptor
from roam_trio.wire.messages import Encoded, RequestCall, RequestResponse, joined
from tests.service.services import connected

MARK = b"\x09"
ASKS = Metadata.of({"turned-around": True})


def turned(encoded: Encoded) -> bytes:
    return MARK + bytes(joined(encoded))[::-1]


def turned_back(encoded: bytes | memoryview) -> bytes:
    assert encoded[:1] == MARK
    return bytes(encoded[1:])[::-1]


class TurnedPayload(Payload):
    __slots__ = ()

    def encode(self, binder: ChannelBinder) -> tuple[tuple[int, ...], Encoded]:
        channels, encoded = super().encode(binder)
        return channels, turned(encoded)


class TurnedAround:
    """Stands where `MethodColumns` stands."""

    def __init__(self, args_plan: RpcPlan[Any], result_plan: ResultPlan) -> None:
        self.args_plan = args_plan
        self.result_plan = result_plan

    async def call(
        self,
        caller: Caller,
        method_id: int,
        args: tuple[Any, ...],
        metadata: Metadata,
        accepting: set[int],
    ) -> RequestResponse:
        payload = TurnedPayload(self.args_plan, args)
        both = Metadata((*metadata, *ASKS))
        return await caller.call(method_id, payload, metadata=both)

    def decode(self, ret: bytes | memoryview) -> Outcome:
        if ret[:1] == MARK:
            ret = turned_back(ret)
        return self.result_plan.decode(ret)

    def receive(
        self, call: RequestCall, reply: ReplySink
    ) -> (
        tuple[
            RequestCall,
            ReplySink,
            Callable[[bytes | memoryview], Any],
            Callable[[Any], Encoded],
        ]
        | None
    ):
        if ASKS[0] not in call.metadata:
            return None
        return (
            call,
            reply,
            lambda args: self.args_plan.decode(turned_back(args)),
            lambda value: turned(self.result_plan.encode_ok(value)),
        )


class Impl:
    async def add(self, left: u32, right: u32) -> u32:
        assert ASKS[0] in current_call().metadata
        return left + right

    async def fail(self) -> u32:
        raise ValueError("never told")


async def test_another_encoding_can_take_the_place_of_columns(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(descriptor, "method_columns", TurnedAround)

    @service
    class Adder(Protocol):
        async def add(self, left: u32, right: u32) -> u32: ...
        async def fail(self) -> u32: ...

    adder = await connected(nursery, Adder, Impl())
    assert await adder.add(3, 500) == 503
    with pytest.raises(RoamError, match="the handler failed"):
        await adder.fail()
