"""Responses that clients do not read count for a server, however many sessions have
them."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

import trio
from trio.testing import MockClock, lockstep_stream_pair, wait_all_tasks_blocked

from roam_trio import (
    BareConduitAcceptor,
    Session,
    StreamLink,
    describe,
    dispatcher,
    serving,
)
from roam_trio.codec import CANCELLED
from roam_trio.errors import LimitExceeded
from roam_trio.metadata import NO_METADATA
from roam_trio.rpc.handler import ReplySink, send_reply
from roam_trio.wire.envelope import MessageFamily
from roam_trio.wire.messages import RequestCall, RequestResponse, joined

from .peer import Peer
from .test_server_budgets import Room, RoomImpl, budget_of

MIB = 1024 * 1024
LOAD = next(each for each in describe(Room).methods if each.name == "load")


async def test_one_session_ends_where_a_server_has_no_room_for_another_response(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    room = RoomImpl()
    room.morning.set()
    clients = BareConduitAcceptor(MessageFamily())
    memory = 5 * MIB // 2
    async with serving(clients, dispatcher(Room, room), memory=memory) as server:
        sessions: list[Session] = []
        for _ in range(3):
            ours, theirs = lockstep_stream_pair()
            nursery.start_soon(clients.attach, StreamLink(ours))
            deaf = Peer(StreamLink(theirs))
            nursery.start_soon(deaf.tx.pump)
            await deaf.initiate()
            sessions.append(server.sessions[-1])
            await deaf.say(RequestCall(0, 1, LOAD.id, (), NO_METADATA, b"\x80\x80\x40"))
            await wait_all_tasks_blocked()
        ended = [each.ended_because for each in sessions if each.ended_because]
        (because,) = ended
        assert isinstance(because, LimitExceeded)
        assert because.limit == "memory"
        whole = budget_of(sessions[0])._server
        assert whole is not None
        assert 2 * MIB < whole.bytes <= memory
        nursery.cancel_scope.cancel()


class AtOnce:
    """Answers without a task."""

    def handle(
        self, call: RequestCall, reply: ReplySink
    ) -> Coroutine[Any, Any, None] | None:
        return send_reply(reply, bytes(MIB))


async def test_response_of_a_handler_without_a_task_is_given_up_where_there_is_no_room(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    clients = BareConduitAcceptor(MessageFamily())
    memory, numbers = 16 * MIB, range(1, 41, 2)
    async with serving(clients, AtOnce(), memory=memory) as server:
        ours, theirs = lockstep_stream_pair()
        nursery.start_soon(clients.attach, StreamLink(ours))
        deaf = Peer(StreamLink(theirs))
        nursery.start_soon(deaf.tx.pump)
        await deaf.initiate()
        calls = [RequestCall(0, each, 7, (), NO_METADATA, b"") for each in numbers]
        await deaf.say(*calls)
        await wait_all_tasks_blocked()
        whole = budget_of(server.sessions[0])._server
        assert whole is not None
        held = whole.bytes
        assert memory // 4 * 3 < held <= memory
        heard = [joined((await deaf.hear(RequestResponse)).ret) for _ in numbers]
        answered = heard.count(bytes(MIB))
        assert answered == held // MIB < len(numbers)
        assert heard.count(CANCELLED) == len(numbers) - answered
        assert server.sessions[0].ended_because is None
        nursery.cancel_scope.cancel()
