"""The connection of a call, as its handler has it: call back, start tasks, close."""

from __future__ import annotations

import gc
import logging
from contextvars import ContextVar
from typing import Any, Protocol

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from roam_trio import (
    Call,
    ConnectionHandle,
    ConnectionLost,
    OfferedServices,
    Session,
    client,
    current_call,
    dispatcher,
    service,
)
from roam_trio.rpc.connection import Connection, ConnectionPhase

from .running import join


@service
class Desk(Protocol):
    async def ask(self, text: str) -> str: ...
    async def later(self, text: str) -> None: ...
    async def close(self) -> None: ...


@service
class Display(Protocol):
    async def show(self, text: str) -> str: ...


class DisplayImpl:
    def __init__(self) -> None:
        self.shown: list[str] = []

    async def show(self, text: str) -> str:
        self.shown.append(text)
        return text.upper()


class DeskImpl:
    """Calls its callers back, within the call and after it."""

    def __init__(self) -> None:
        self.connections: list[Connection] = []
        self.started: list[str] = []
        self.ended: list[str] = []

    async def ask(self, text: str) -> str:
        connection = current_call().connection
        self.connections.append(connection)
        return await client(Display, connection.caller).show(text)

    async def later(self, text: str) -> None:
        connection = current_call().connection
        self.connections.append(connection)
        connection.start_soon(self._stay, text)

    async def close(self) -> None:
        await trio.lowlevel.checkpoint()
        current_call().connection.close({"error": "the desk is closed"})

    async def _stay(self, text: str) -> None:
        if text == "fail":
            raise OSError("the printer is on fire")
        self.started.append(f"{text} {current_call().method.name}")
        try:
            await trio.sleep_forever()
        finally:
            self.ended.append(text)


async def connected(
    nursery: trio.Nursery, desk: DeskImpl, display: DisplayImpl
) -> tuple[Session, Session]:
    offered = OfferedServices({"desk": dispatcher(Desk, desk)})
    return await join(
        nursery,
        dispatcher(Desk, desk),
        of_initiator=dispatcher(Display, display),
        accepting={"on_connection": offered},
    )


async def test_a_handler_calls_its_caller_back_on_the_root_connection() -> None:
    desk, display = DeskImpl(), DisplayImpl()
    async with trio.open_nursery() as nursery:
        near, far = await connected(nursery, desk, display)
        assert await client(Desk, near.caller).ask("hello") == "HELLO"
        (connection,) = desk.connections
        assert isinstance(connection, ConnectionHandle)
        assert connection == far.root
        assert hash(connection) == hash(far.root)
        assert connection != near.root
        assert connection.session is far
        assert (display.shown, connection.connection_id) == (["hello"], 0)
        await near.shutdown()


async def test_a_caller_of_a_call_that_is_closed_leaves_the_connection_open() -> None:
    class Closing(DeskImpl):
        async def ask(self, text: str) -> str:
            caller = current_call().connection.caller
            caller.close()
            caller.close()
            with pytest.raises(ConnectionLost, match="has been closed"):
                await client(Display, caller).show(text)
            return text

    async with trio.open_nursery() as nursery:
        near, far = await connected(nursery, Closing(), DisplayImpl())
        async with near.open(Desk) as desk:
            assert await desk.ask("one") == "one"
            assert await desk.ask("two") == "two"
        assert far.ended_because is None
        await near.shutdown()


async def test_calling_back_does_not_close_a_virtual_connection_afterwards() -> None:
    desk, display = DeskImpl(), DisplayImpl()
    async with trio.open_nursery() as nursery:
        near, _ = await connected(nursery, desk, display)
        handler = dispatcher(Display, display)
        async with near.open(
            Desk, metadata={"tenant": "blue"}, handler=handler
        ) as on_it:
            for text in ("one", "two"):
                assert await on_it.ask(text) == text.upper()
                assert desk.connections[-1].connection_id == 1
                assert desk.connections[-1].peer_metadata.get("tenant") == "blue"
                desk.connections.clear()
                gc.collect()
                await wait_all_tasks_blocked()
        assert display.shown == ["one", "two"]
        await near.shutdown()


async def test_a_task_ends_with_its_connection_and_knows_its_call() -> None:
    desk = DeskImpl()
    async with trio.open_nursery() as nursery:
        near, _ = await connected(nursery, desk, DisplayImpl())
        async with near.open(Desk) as on_it:
            await on_it.later("virtual")
            await client(Desk, near.caller).later("root")
            await wait_all_tasks_blocked()
            assert desk.started == ["virtual later", "root later"]
            assert desk.ended == []
        await wait_all_tasks_blocked()
        assert desk.ended == ["virtual"]
        await near.shutdown()
    assert desk.ended == ["virtual", "root"]


async def test_an_exception_in_a_task_is_logged_and_harms_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    desk = DeskImpl()
    async with trio.open_nursery() as nursery:
        near, far = await connected(nursery, desk, DisplayImpl())
        asking = client(Desk, near.caller)
        await asking.later("stay")
        await asking.later("fail")
        await wait_all_tasks_blocked()
        assert await asking.ask("fine") == "FINE"
        assert (far.ended_because, desk.ended) == (None, [])
        await near.shutdown()
    (record,) = [each for each in caplog.records if each.levelno >= logging.WARNING]
    assert record.getMessage().startswith("a task of connection 0 failed")
    assert "the printer is on fire" in (record.exc_text or "")


async def test_no_task_starts_on_a_connection_that_has_ended() -> None:
    desk = DeskImpl()
    async with trio.open_nursery() as nursery:
        near, _ = await connected(nursery, desk, DisplayImpl())
        async with near.open(Desk) as on_it:
            await on_it.later("stay")
        await wait_all_tasks_blocked()
        (connection,) = desk.connections
        assert connection.phase is ConnectionPhase.CLOSED
        with pytest.raises(ConnectionLost, match="has ended"):
            connection.start_soon(trio.sleep_forever)
        await near.shutdown()


color: ContextVar[str] = ContextVar("color")


async def test_the_task_has_the_context_of_who_started_it() -> None:
    seen: list[str] = []

    async def look() -> None:
        seen.append(color.get("none"))

    async with trio.open_nursery() as nursery:
        near, far = await connected(nursery, DeskImpl(), DisplayImpl())
        color.set("green")
        far.root.start_soon(look)  # the first task of the connection
        color.set("blue")
        far.root.start_soon(look)
        await wait_all_tasks_blocked()
        far.root.start_soon(look)
        await wait_all_tasks_blocked()
        assert sorted(seen) == ["blue", "blue", "green"]
        await near.shutdown()


async def test_a_handler_closes_its_connection() -> None:
    async with trio.open_nursery() as nursery:
        near, far = await connected(nursery, DeskImpl(), DisplayImpl())
        async with near.open(Desk) as on_it:
            with pytest.raises(ConnectionLost):
                await on_it.close()
        assert (near.ended_because, far.ended_because) == (None, None)
        await near.shutdown()


async def test_the_session_of_a_connection_is_gone_with_it() -> None:
    desk = DeskImpl()

    async def talk() -> None:
        async with trio.open_nursery() as nursery:
            near, _ = await connected(nursery, desk, DisplayImpl())
            await client(Desk, near.caller).ask("hello")
            await near.shutdown()

    await talk()
    gc.collect()
    (connection,) = desk.connections
    assert connection.state.id == 0
    with pytest.raises(ConnectionLost, match="the session of this connection"):
        _ = connection.session


def test_a_call_without_a_session_has_no_connection() -> None:
    from roam_trio.rpc.handler import ReplySink

    class Sink(ReplySink):
        async def send(self, *args: Any) -> None: ...
        def send_nowait(self, *args: Any) -> None: ...

        is_sent = False  # type: ignore[assignment]
        channel_binder = None  # type: ignore[assignment]

    call: Call[Any, Any] = Call(None, None, Sink())  # type: ignore[arg-type]
    with pytest.raises(LookupError, match="a Sink belongs to no connection"):
        _ = call.connection
