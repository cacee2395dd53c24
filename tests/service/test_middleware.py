"""Middleware around calls, on both sides."""

from __future__ import annotations

import enum
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from typing import Any, Protocol

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from roam_trio import (
    CallCancelled,
    EncodeError,
    Fallible,
    Metadata,
    MetadataFlags,
    Refused,
    Rx,
    Tx,
    UserError,
    channel,
    client,
    current_call,
    dispatcher,
    service,
    u8,
    u32,
    with_metadata,
)
from roam_trio.metadata import MetadataEntry
from roam_trio.service.middleware import AnyCall, Middleware, Proceed
from roam_trio.testing import connected_pair


class Wrong(enum.Enum):
    WRONG = "Wrong"


@service
class Shop(Protocol):
    async def add(self, left: u8, right: u8 = 10) -> u8: ...
    async def check(self, value: u8) -> Fallible[u8, Wrong]: ...
    async def wait(self) -> None: ...
    async def echo(self, items: Rx[u32], out: Tx[u32]) -> None: ...


class Impl:
    async def add(self, left: u8, right: u8 = 10) -> u8:
        return left + right

    async def check(self, value: u8) -> Fallible[u8, Wrong]:
        raise UserError(Wrong.WRONG)

    async def wait(self) -> None:
        await trio.sleep_forever()

    async def echo(self, items: Rx[u32], out: Tx[u32]) -> None:
        async with out:
            async for item in items:
                await out.send(item)


@asynccontextmanager
async def shop(
    client_side: Iterable[Middleware] = (),
    server_side: Iterable[Middleware] = (),
    **options: Any,
) -> AsyncGenerator[Shop]:
    handler = dispatcher(Shop, Impl(), middleware=server_side)
    pair = connected_pair(Shop, handler)
    async with pair:
        caller = pair.client_session.caller
        yield client(Shop, caller, middleware=client_side, **options)


class Tracing:
    """Notes what goes in and comes out, under a name."""

    def __init__(self, name: str, log: list[str]) -> None:
        self.name = name
        self.log = log

    async def __call__(self, call: AnyCall, proceed: Proceed) -> Any:
        self.log.append(f"{self.name} {call.side} {call.method} {call.args}")
        try:
            result = await proceed()
        except BaseException as error:
            self.log.append(f"{self.name} {type(error).__name__}")
            raise
        self.log.append(f"{self.name} {result}")
        return result


async def test_middleware_goes_around_calls_on_both_sides_the_first_outermost() -> None:
    log: list[str] = []
    ours = [Tracing("a", log), Tracing("b", log)]
    theirs = [Tracing("c", log), Tracing("d", log)]

    async with shop(ours, theirs) as calls:
        assert await calls.add(1) == 11

    assert log == [
        "a client Shop.add (1, 10)",
        "b client Shop.add (1, 10)",
        "c server Shop.add (1, 10)",
        "d server Shop.add (1, 10)",
        "d 11",
        "c 11",
        "b 11",
        "a 11",
    ]


async def test_middleware_sees_declared_errors_as_they_are_on_both_sides() -> None:
    log: list[str] = []

    async with shop([Tracing("client", log)], [Tracing("server", log)]) as calls:
        with pytest.raises(UserError) as caught:
            await calls.check(1)

    assert caught.value.error is Wrong.WRONG
    assert log[2:] == ["server UserError", "client UserError"]


async def test_middleware_sees_the_cancellation_of_a_call_on_both_sides(
    autojump_clock: trio.testing.MockClock,
) -> None:
    log: list[str] = []

    async with shop([Tracing("client", log)], [Tracing("server", log)]) as calls:
        with trio.move_on_after(1):
            await calls.wait()
        await wait_all_tasks_blocked()

    assert sorted(log[2:]) == ["client Cancelled", "server Cancelled"]


async def test_middleware_replaces_arguments_and_results() -> None:
    async def double(call: AnyCall, proceed: Proceed) -> Any:
        call.args = tuple(2 * value for value in call.args)
        return await proceed() + 1

    async with shop([double], [double]) as calls:
        assert await calls.add(1, 2) == 4 * 3 + 2


async def test_middleware_answers_in_place_of_the_handler() -> None:
    async def answer(call: AnyCall, proceed: Proceed) -> Any:
        return 7

    async with shop(server_side=[answer]) as calls:
        assert await calls.add(1) == 7
    async with shop([answer]) as calls:
        assert await calls.add(1) == 7


async def test_middleware_makes_a_failure_a_result() -> None:
    async def forgive(call: AnyCall, proceed: Proceed) -> Any:
        try:
            return await proceed()
        except UserError:
            return 0

    async with shop([forgive]) as calls:
        assert await calls.check(1) == 0
    async with shop(server_side=[forgive]) as calls:
        assert await calls.check(1) == 0


async def test_middleware_of_a_server_raises_a_declared_error() -> None:
    async def object_(call: AnyCall, proceed: Proceed) -> Any:
        raise UserError(Wrong.WRONG)

    async with shop(server_side=[object_]) as calls:
        with pytest.raises(UserError):
            await calls.check(1)


async def test_a_result_of_another_type_fails_the_call(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def spoil(call: AnyCall, proceed: Proceed) -> Any:
        return "text"

    async with shop(server_side=[spoil]) as calls:
        with pytest.raises(CallCancelled):
            await calls.add(1)
    assert "returned what cannot be sent" in caplog.text


async def test_arguments_of_another_type_are_refused_where_they_are_sent() -> None:
    async def spoil(call: AnyCall, proceed: Proceed) -> Any:
        call.args = ("text", 1)
        return await proceed()

    async with shop([spoil]) as calls:
        with pytest.raises(EncodeError):
            await calls.add(1)


async def test_middleware_calls_again() -> None:
    async def retry(call: AnyCall, proceed: Proceed) -> Any:
        with pytest.raises(UserError):
            await proceed()
        return await proceed()

    log: list[str] = []
    async with shop([retry], [Tracing("server", log)]) as calls:
        with pytest.raises(UserError):
            await calls.check(1)
    assert log.count("server UserError") == 2


@pytest.mark.parametrize("begun", [False, True])
async def test_a_refusal_knows_whether_the_handler_was_called(begun: bool) -> None:
    refusals: list[Refused] = []

    async def refuse(call: AnyCall, proceed: Proceed) -> Any:
        if begun:
            await proceed()
        refusals.append(Refused("overloaded", "not now", retry_after=0.5))
        raise refusals[0]

    async with shop(server_side=[refuse]) as calls:
        with pytest.raises(CallCancelled):
            await calls.add(1)

    assert refusals[0].was_begun is begun


@pytest.mark.parametrize("said", [None, False])
async def test_a_middleware_may_say_itself_whether_the_call_was_begun(
    said: bool | None,
) -> None:
    """And of what another peer has said, nothing is known here."""
    refusal = Refused("denied", was_begun=said)
    refusal.by_peer = said is None

    async def refuse(call: AnyCall, proceed: Proceed) -> Any:
        await proceed()
        raise refusal

    async with shop(server_side=[refuse]) as calls:
        with pytest.raises(CallCancelled):
            await calls.add(1)

    assert refusal.was_begun is said


async def test_a_refusal_on_the_client_goes_to_the_caller_and_no_call_is_made() -> None:
    log: list[str] = []

    async def refuse(call: AnyCall, proceed: Proceed) -> Any:
        raise Refused("denied")

    async with shop([refuse], [Tracing("server", log)]) as calls:
        with pytest.raises(Refused, match="denied") as caught:
            await calls.add(1)
    assert log == []
    assert caught.value.was_begun is False


async def test_a_refusal_on_the_client_after_the_call_tells_not_whether_it_began() -> (
    None
):
    async def refuse(call: AnyCall, proceed: Proceed) -> Any:
        await proceed()
        raise Refused("denied")

    async with shop([refuse]) as calls:
        with pytest.raises(Refused, match="denied") as caught:
            await calls.add(1)
    assert caught.value.was_begun is None


# ---------------------------------------------------------------- metadata


async def received(call: AnyCall, proceed: Proceed) -> Any:
    """Sends back, beside the result, what has come as metadata."""
    entries = list(current_call().metadata)
    call.response_metadata = Metadata(entries)
    assert list(call.metadata) == entries
    return await proceed()


async def test_a_client_has_metadata_for_all_its_calls() -> None:
    token = MetadataEntry("token", "secret", MetadataFlags.SENSITIVE.value)
    default = Metadata([token, MetadataEntry("tenant", "blue")])

    async with shop(server_side=[received], metadata_for_calls=default) as calls:
        parts = await with_metadata(calls.add)(1)
        assert parts.metadata == default
        own = {"tenant": "red", "more": 1}
        parts = await with_metadata(calls.add, own)(1)

    assert parts.value == 11
    assert parts.metadata == (token, *Metadata.of(own))


async def test_middleware_of_a_client_changes_the_metadata_of_the_request() -> None:
    async def add(call: AnyCall, proceed: Proceed) -> Any:
        assert call.metadata.get("tenant") == "blue"
        assert call.metadata.get_all("tenant") == ["blue"]
        assert call.metadata.get("none") is None
        assert call.metadata.get("none", 3) == 3
        call.metadata["tenant"] = "red"
        call.metadata.append(MetadataEntry("more", 1))
        call.metadata[1] = MetadataEntry("more", 2)
        call.metadata.append(MetadataEntry("less", 1))
        del call.metadata[2:]
        result = await proceed()
        assert call.response_metadata == Metadata.of({"tenant": "red", "more": 2})
        return result

    async with shop([add], [received], metadata_for_calls={"tenant": "blue"}) as calls:
        assert await calls.add(1) == 11


async def test_middleware_of_a_client_sets_other_metadata() -> None:
    async def set_(call: AnyCall, proceed: Proceed) -> Any:
        call.metadata = {"tenant": "red"}
        return await proceed()

    async with shop([set_], [received]) as calls:
        parts = await with_metadata(calls.add, {"tenant": "blue"})(1)

    assert parts.metadata == Metadata.of({"tenant": "red"})


async def test_metadata_that_is_none_is_refused_where_it_is_sent() -> None:
    async def spoil(call: AnyCall, proceed: Proceed) -> Any:
        call.metadata["tenant"] = 2.5  # type: ignore[call-overload]
        return await proceed()

    async with shop([spoil]) as calls:
        with pytest.raises(TypeError, match="expected str, bytes or int"):
            await calls.add(1)


async def test_middleware_has_the_response_metadata_of_an_error() -> None:
    found: list[Metadata] = []

    async def look(call: AnyCall, proceed: Proceed) -> Any:
        try:
            return await proceed()
        finally:
            found.append(call.response_metadata)

    async with shop([look], [received], metadata_for_calls={"a": 1}) as calls:
        with pytest.raises(UserError):
            await calls.check(1)

    assert found == [Metadata.of({"a": 1})]


# ---------------------------------------------------------------- items


async def exchange(calls: Shop, *values: int) -> list[int]:
    """Send values to `echo`, and return what comes back."""
    tx, items = channel[u32]()
    out, rx = channel[u32]()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(calls.echo, items, out)
        async with tx:
            for value in values:
                await tx.send(value)
        return [item async for item in rx]


class Items:
    """Sees the items of each call, and adds to them."""

    def __init__(self, log: list[tuple[str, str, Any]], more: int) -> None:
        self._log = log
        self._more = more

    async def __call__(self, call: AnyCall, proceed: Proceed) -> Any:
        def each(direction: str, value: Any) -> Any:
            self._log.append((call.side, direction, value))
            return value + self._more

        call.each_item(each)
        return await proceed()


async def test_middleware_sees_and_changes_each_item_of_the_channels_of_a_call() -> (
    None
):
    log: list[tuple[str, str, Any]] = []

    async with shop([Items(log, 1)], [Items(log, 10)]) as calls:
        assert await exchange(calls, 100) == [122]

    assert log == [
        ("client", "out", 100),
        ("server", "in", 101),
        ("server", "out", 111),
        ("client", "in", 121),
    ]


async def test_each_item_of_a_call_without_channels_has_nothing_to_see() -> None:
    log: list[tuple[str, str, Any]] = []

    async with shop([Items(log, 1)], [Items(log, 10)]) as calls:
        assert await calls.add(1) == 11

    assert log == []


async def test_the_receiver_of_an_item_gets_what_a_function_raises() -> None:
    def each(direction: str, value: Any) -> Any:
        if direction == "in":
            raise KeyError(value)
        return value

    async def look(call: AnyCall, proceed: Proceed) -> Any:
        call.each_item(each)
        return await proceed()

    async with shop([look]) as calls:
        with pytest.RaisesGroup(KeyError, flatten_subgroups=True):
            await exchange(calls, 3)


async def test_items_taken_without_waiting_and_grants_pass_through() -> None:
    tx, items = channel[u32]()
    out, rx = channel[u32]()
    log: list[tuple[str, str, Any]] = []

    async with shop([Items(log, 1)]) as calls, trio.open_nursery() as nursery:
        nursery.start_soon(calls.echo, items, out)
        await tx.send(1)
        await wait_all_tasks_blocked()
        rx.grant(3)
        assert rx.recv_nowait() == 3
        assert "in" in repr(rx)
        assert "out" in repr(tx)
        rx.reset()
        tx.close()


async def test_item_received_with_its_buffer_passes_through_too() -> None:
    tx, items = channel[u32]()
    out, rx = channel[u32]()

    async with shop([Items([], 1)]) as calls, trio.open_nursery() as nursery:
        nursery.start_soon(calls.echo, items, out)
        await tx.send(5)
        borrowed = await rx.recv_borrowed()
        tx.close()

    assert (borrowed.value, borrowed.backing) == (7, b"\6")


# ---------------------------------------------------------------- what it may be


@pytest.mark.parametrize(
    ("wrong", "text"),
    [([3], "got 3"), (print, "a list of middleware"), ([None], "got None")],
)
def test_what_is_no_middleware_is_refused_at_once(wrong: Any, text: str) -> None:
    with pytest.raises(TypeError, match=text):
        dispatcher(Shop, Impl(), middleware=wrong)


async def test_what_is_no_middleware_is_refused_by_a_client_at_once() -> None:
    async with connected_pair(Shop, Impl()) as calls:
        with pytest.raises(TypeError, match="got 3"):
            client(Shop, calls.__roam_caller__, middleware=[3])  # type: ignore


async def test_middleware_is_put_around_that_of_a_dispatcher() -> None:
    log: list[str] = []
    inner = dispatcher(Shop, Impl(), middleware=[Tracing("inner", log)])

    outer = inner.with_middleware([Tracing("outer", log)])
    async with connected_pair(Shop, outer) as calls:
        await calls.add(1)

    assert [line.split()[0] for line in log] == ["outer", "inner", "inner", "outer"]
    assert outer.descriptor is inner.descriptor


async def test_a_call_tells_what_it_is() -> None:
    async def look(call: AnyCall, proceed: Proceed) -> Any:
        assert "of Shop.add" in repr(call)
        assert call.deadline == trio.current_effective_deadline()
        assert call.peer.address
        return await proceed()

    async with shop([look], [look]) as calls:
        assert await calls.add(1) == 11
