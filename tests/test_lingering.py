"""Handlers that go on after their sessions: who has to wait until they have ended."""

from __future__ import annotations

from typing import Protocol

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from roam_trio import (
    Limits,
    Overloaded,
    Peer,
    Server,
    Session,
    connect,
    dispatcher,
    service,
    serving,
)
from roam_trio.endpoints.lingering import Lingering

from .test_places import by_token, tcp


@attrs.define
class Left:
    """A session that has ended, or not."""

    peer: Peer
    tasks_left: int


class Sessions:
    """The sessions of a server."""

    def __init__(self, most: int) -> None:
        self.all: list[Left] = []
        self.lingering = Lingering(Limits(lingering_tasks=most), self, self)

    @property
    def tasks(self) -> int:
        return sum(each.tasks_left for each in self.all)

    def end(self, host: str, tasks: int) -> Left:
        self.all.append(Left(tcp(host), tasks))
        return self.all[-1]

    def over(self, session: Left) -> None:
        self.all.remove(session)
        self.lingering.over(session.peer)


@attrs.define
class Client:
    """A client that comes back."""

    peer: Peer
    lingering: Lingering
    has_room: bool = False
    refusal: str = ""

    async def run(self) -> None:
        try:
            await self.lingering.room(self.peer)
        except Overloaded as error:
            self.refusal = error.text
        else:
            self.has_room = True


async def coming(
    nursery: trio.Nursery, sessions: Sessions, host: str, number: int = 1
) -> list[Client]:
    clients = [Client(tcp(host), sessions.lingering) for _ in range(number)]
    for each in clients:
        nursery.start_soon(each.run)
        await wait_all_tasks_blocked()
    return clients


async def test_up_to_the_limit_may_be_left(nursery: trio.Nursery) -> None:
    sessions = Sessions(10)
    sessions.end("10.0.0.1", 10)
    assert not sessions.lingering.may_be_many
    [client] = await coming(nursery, sessions, "10.0.0.1")
    assert client.has_room


async def test_client_that_has_left_too_many_waits_until_a_session_is_over(
    nursery: trio.Nursery,
) -> None:
    sessions = Sessions(10)
    first = sessions.end("10.0.0.1", 5)
    second = sessions.end("10.0.0.1", 7)
    assert sessions.lingering.may_be_many
    [client] = await coming(nursery, sessions, "10.0.0.1")
    assert not client.has_room
    assert repr(sessions.lingering) == "<Lingering: 1 clients wait>"
    sessions.over(second)
    await wait_all_tasks_blocked()
    assert client.has_room
    assert repr(sessions.lingering) == "<Lingering: 0 clients wait>"
    sessions.over(first)


async def test_other_clients_do_not_wait(nursery: trio.Nursery) -> None:
    sessions = Sessions(10)
    sessions.end("10.0.0.1", 11)
    other = sessions.end("10.0.0.2", 1)
    [waiting] = await coming(nursery, sessions, "10.0.0.1")
    [client] = await coming(nursery, sessions, "10.0.0.2")
    assert client.has_room
    sessions.over(other)
    await wait_all_tasks_blocked()
    assert not waiting.has_room


async def test_all_clients_that_wait_have_room_at_once_when_there_is_some(
    nursery: trio.Nursery,
) -> None:
    sessions = Sessions(10)
    small, large = sessions.end("10.0.0.1", 1), sessions.end("10.0.0.1", 11)
    clients = await coming(nursery, sessions, "10.0.0.1", 3)
    sessions.over(small)
    await wait_all_tasks_blocked()
    assert not any(each.has_room for each in clients)
    sessions.over(large)
    await wait_all_tasks_blocked()
    assert all(each.has_room for each in clients)


async def test_client_is_refused_after_half_the_time_for_the_handshake(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    sessions = Sessions(10)
    session = sessions.end("10.0.0.1", 11)
    [client] = await coming(nursery, sessions, "10.0.0.1")
    await trio.sleep(Limits().handshake_seconds / 2 + 0.1)
    assert client.refusal == (
        "11 handlers of sessions that this client has left are still running "
        "(limit: lingering_tasks)"
    )
    sessions.over(session)
    [client] = await coming(nursery, sessions, "10.0.0.1")
    assert client.has_room


# ------------------------------------------------------------ servers


@service
class Stubborn(Protocol):
    async def stay(self) -> None: ...
    async def greet(self) -> str: ...


class StubbornImpl:
    """Handlers that go on for so many seconds."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    async def stay(self) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(self._seconds)

    async def greet(self) -> str:
        await trio.lowlevel.checkpoint()
        return "hello"


HASTY = Limits(close_seconds=0.1)


async def leave(url: str, calls: int, token: str = "") -> None:
    """Make calls whose handlers stay, and leave."""
    async with (
        connect(url, Stubborn, metadata={"token": token}, cancel_grace=0.0) as stubborn,
        trio.open_nursery() as nursery,
    ):
        for _ in range(calls):
            nursery.start_soon(stubborn.stay)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()


async def left(
    nursery: trio.Nursery, server: Server, calls: int, token: str = ""
) -> Session:
    """Return the session of a client that has left, whose handlers stay."""
    nursery.start_soon(leave, server.url, calls, token)
    while True:
        await trio.sleep(0.01)
        for session in server._sessions.all:
            if session.tasks_left:
                return session


FEW = Limits(lingering_tasks=3)


async def test_client_gets_a_session_when_its_handlers_have_ended(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    url, handler = "memory://left", dispatcher(Stubborn, StubbornImpl(3.0))
    async with serving(url, handler, limits=FEW) as server:
        session = await left(nursery, server, 4)
        assert session.tasks_left == 4
        began = trio.current_time()
        async with connect(url, Stubborn) as stubborn:
            assert await stubborn.greet() == "hello"
        assert trio.current_time() - began >= 1.5
        assert session.tasks_left == 0


async def test_client_is_refused_while_its_handlers_go_on(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    url, handler = "memory://stays", dispatcher(Stubborn, StubbornImpl(100.0))
    async with serving(
        url, handler, limits=FEW, on_session=by_token, max_sessions_per_peer=5
    ) as server:
        await left(nursery, server, 4, "ada")
        with pytest.raises(Overloaded, match=r"4 handlers.*\(limit: lingering_tasks\)"):
            async with connect(url, metadata={"token": "ada"}):
                pass
        async with connect(url, Stubborn, metadata={"token": "bob"}) as stubborn:
            assert await stubborn.greet() == "hello"
        nursery.cancel_scope.cancel()
