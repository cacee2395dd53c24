"""Services as tools: the official client lists and calls them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any, Protocol

import attrs
import msgspec
import pytest
import trio
from mcp.client.client import Client
from mcp.shared.exceptions import MCPError

from examples.library import Library, LibraryImpl
from roam_trio import (
    Fallible,
    Rx,
    SchemaError,
    Tx,
    connect,
    describe,
    dispatcher,
    dynamic,
    idempotent,
    serve,
    service,
    u8,
    u32,
)
from roam_trio.contrib.mcp import ToolLimits
from roam_trio.contrib.mcp.server import PAGE, tool_server
from roam_trio.contrib.mcp.tools import MOST_DOC, MOST_NAME, MOST_TOOLS, tools_of
from roam_trio.service.description.encoding import schema_from_json
from roam_trio.service.description.model import MethodSchema, ServiceSchema


@attrs.define
class Broken(Exception):
    part: str


class Inner(msgspec.Struct, frozen=True):
    out: Tx[u8]


@service
class Machine(Protocol):
    @idempotent(read_only=True)
    async def state(self) -> str:
        """Return the state.

        It changes nothing.
        """
        ...

    @idempotent
    async def stop(self) -> None: ...

    async def run(self, times: u8, part: str = "wheel") -> Fallible[u32, Broken]: ...
    async def count(self, end: u32, out: Tx[u32]) -> u32: ...
    async def total(self, numbers: Rx[u8]) -> u32: ...
    async def echo(self, numbers: Rx[u8], out: Tx[str], other: Tx[bytes]) -> None: ...
    async def nested(self, inner: Inner) -> None: ...
    async def sleep(self) -> None: ...
    async def large(self, size: u32) -> str: ...
    async def bug(self, out: Tx[u8]) -> None: ...


class MachineImpl:
    def __init__(self) -> None:
        self.cancelled = 0

    async def state(self) -> str:
        return "ready"

    async def stop(self) -> None:
        pass

    async def run(self, times: int, part: str = "wheel") -> int:
        if part != "wheel":
            raise Broken(part)
        return times * 2

    async def count(self, end: int, out: Tx[int]) -> int:
        try:
            for number in range(end):
                await out.send(number)
        except BaseException:
            self.cancelled += 1
            raise
        return end

    async def total(self, numbers: Rx[int]) -> int:
        return sum([number async for number in numbers])

    async def echo(self, numbers: Rx[int], out: Tx[str], other: Tx[bytes]) -> None:
        async for number in numbers:
            await out.send(str(number))
            await other.send(bytes([number]))

    async def nested(self, inner: Inner) -> None:
        raise AssertionError

    async def sleep(self) -> None:
        try:
            await trio.sleep_forever()
        finally:
            self.cancelled += 1

    async def large(self, size: int) -> str:
        return "x" * size

    async def bug(self, out: Tx[int]) -> None:
        await out.send(1)
        raise ZeroDivisionError


@pytest.fixture
def machine() -> MachineImpl:
    return MachineImpl()


LIMITS = ToolLimits(items=5, bytes=1000, seconds=10)


@pytest.fixture
async def tools(machine: MachineImpl, nursery: trio.Nursery) -> AsyncIterator[Client]:
    handlers = {
        "machine": dispatcher(Machine, machine),
        "library": dispatcher(Library, LibraryImpl()),
    }
    server = await nursery.start(serve, "memory://tools", handlers)
    services = {"machine": describe(Machine), "library": describe(Library)}
    async with (
        connect(server.url) as session,
        dynamic(session, "machine", services, for_json=True) as a,
        dynamic(session, "library", services, for_json=True) as b,
        Client(tool_server({"machine": a, "library": b}, services, LIMITS)) as client,
    ):
        yield client


async def call(tools: Client, name: str, **arguments: Any) -> Any:
    """Return the value of a call that succeeds; in its text it is the same."""
    result = await tools.call_tool(name, arguments)
    assert not result.is_error, result.content
    (text,) = result.content
    assert json.loads(text.text) == result.structured_content  # type: ignore[union-attr]
    return result.structured_content


async def failure(tools: Client, name: str, **arguments: Any) -> str:
    """Return the text of a call that fails."""
    result = await tools.call_tool(name, arguments)
    assert result.is_error
    (text,) = result.content
    assert text.type == "text"
    return text.text


async def test_each_method_is_a_tool_with_its_docstring(tools: Client) -> None:
    listed = {each.name: each for each in (await tools.list_tools()).tools}
    assert set(listed) == {
        *(
            f"machine_{method.name}"
            for method in describe(Machine).methods
            if method.name != "nested"
        ),
        "library_lend",
        "library_admit",
    }
    state = listed["machine_state"]
    assert state.description == "Return the state.\n\nIt changes nothing."
    assert listed["machine_stop"].description == "Call machine.stop."
    run = listed["machine_run"].input_schema
    assert run["properties"]["times"] == {
        "type": "integer",
        "minimum": 0,
        "maximum": 255,
    }
    assert run["required"] == ["times"]


async def test_marks_of_methods_become_hints(tools: Client) -> None:
    hints = {each.name: each.annotations for each in (await tools.list_tools()).tools}
    told = [
        (hint.read_only_hint, hint.idempotent_hint)
        for name in ("machine_state", "machine_stop", "machine_run")
        if (hint := hints[name]) is not None
    ]
    assert told == [(True, True), (False, True), (False, False)]


async def test_tools_of_the_example_are_called(tools: Client) -> None:
    assert await call(tools, "library_lend", title="Emma") == {"result": 14}
    text = await failure(tools, "library_lend", title="Emma")
    assert json.loads(text) == {"error": {"LentOut": {"title": "Emma", "days": 9}}}
    text = await failure(tools, "library_admit", member="Bob")
    assert json.loads(text) == {"error": "NoSuchMember"}


async def test_defaults_are_filled_in_and_errors_are_told(tools: Client) -> None:
    assert await call(tools, "machine_run", times=3) == {"result": 6}
    text = await failure(tools, "machine_run", times=3, part="axle")
    assert json.loads(text) == {"error": {"part": "axle"}}
    assert "expected u8 (0 to 255)" in await failure(tools, "machine_run", times=300)
    assert "missing" in await failure(tools, "machine_run")
    assert "'more'" in await failure(tools, "machine_run", times=1, more=1)


async def test_items_of_channels_are_collected_and_told_as_progress(
    tools: Client,
) -> None:
    seen: list[Any] = []

    async def progress(count: float, total: float | None, text: str | None) -> None:
        seen.append((count, text))

    result = await tools.call_tool(
        "machine_count", {"end": 3}, progress_callback=progress
    )
    value = {"result": 3, "items": {"out": [0, 1, 2]}, "cut": False}
    assert result.structured_content == value
    assert seen == [(1, "0"), (2, "1"), (3, "2")]


async def test_items_beyond_the_bound_cancel_the_call(
    tools: Client, machine: MachineImpl
) -> None:
    value = await call(tools, "machine_count", end=1_000_000)
    assert value == {"items": {"out": [0, 1, 2, 3, 4]}, "cut": True}
    assert machine.cancelled == 1


async def test_items_are_sent_from_lists(tools: Client) -> None:
    assert await call(tools, "machine_total", numbers=[1, 2, 3]) == {"result": 6}
    assert await call(tools, "machine_total") == {"result": 0}
    text = await failure(tools, "machine_total", numbers=3)
    assert text == "numbers: expected a list of the items to send"
    assert "expected u8 (0 to 255)" in await failure(
        tools, "machine_total", numbers=[1, 256]
    )
    text = await failure(tools, "machine_total", more=1)
    assert text == "expected no argument 'more'; the arguments are (numbers)"


async def test_items_go_both_ways(tools: Client) -> None:
    value = await call(tools, "machine_echo", numbers=[1, 2])
    items = {"out": ["1", "2"], "other": ["AQ==", "Ag=="]}
    assert value == {"result": None, "items": items, "cut": False}


async def test_a_bug_in_a_handler_is_an_error_of_the_tool(tools: Client) -> None:
    assert "Machine.bug" in await failure(tools, "machine_bug")


@pytest.mark.parametrize("part", ["é", "\x1b[31m\u202e\x9b", "x" * 900])
async def test_a_declared_error_is_json_that_programs_read_whole(
    tools: Client, part: str
) -> None:
    text = await failure(tools, "machine_run", times=1, part=part)
    assert json.loads(text) == {"error": {"part": part}}
    assert text.isprintable()


async def test_a_large_error_is_told_by_its_size(tools: Client) -> None:
    text = await failure(tools, "machine_run", times=1, part="x" * 1000)
    assert text == (
        "the method has failed, with an error of 1023 bytes of JSON, which is more "
        "than ToolLimits.bytes (1000)"
    )


async def test_a_large_result_is_refused(tools: Client) -> None:
    text = await failure(tools, "machine_large", size=1000)
    assert text == (
        "the result has 1002 bytes of JSON, which is more than ToolLimits.bytes (1000)"
    )


async def test_a_call_that_takes_too_long_is_cancelled(
    tools: Client, machine: MachineImpl, autojump_clock: trio.testing.MockClock
) -> None:
    assert await failure(tools, "machine_sleep") == "no result within 10 s"
    assert machine.cancelled == 1


async def test_a_cancelled_call_of_a_tool_cancels_the_handler(
    tools: Client, machine: MachineImpl
) -> None:
    with trio.move_on_after(0.05):
        await tools.call_tool("machine_sleep", {})
    await trio.testing.wait_all_tasks_blocked()
    assert machine.cancelled == 1


async def test_an_unknown_tool_is_refused(tools: Client) -> None:
    with pytest.raises(MCPError, match=r"there is no tool 'machine_nested'"):
        await tools.call_tool("machine_nested", {})


async def test_many_tools_come_in_pages() -> None:
    methods = tuple(MethodSchema(f"m{index}", index) for index in range(PAGE * 2 + 1))
    server = tool_server({}, {"many": ServiceSchema("Many", methods)}, LIMITS)
    async with Client(server) as client:
        names: list[str] = []
        cursor = None
        while True:
            page = await client.list_tools(cursor=cursor)
            names += (each.name for each in page.tools)
            cursor = page.next_cursor
            if cursor is None:
                break
        assert names == [f"many_m{index}" for index in range(PAGE * 2 + 1)]
        for wrong in ("x", "-1", "9" * 20):
            with pytest.raises(MCPError, match="no such page"):
                await client.list_tools(cursor=wrong)


HOSTILE = "\x1b[2J\u202e\u0000"


def test_names_and_docs_of_a_hostile_description_are_harmless() -> None:
    names = ["run!", "run?", "x" * 200, "x" * 201, "naïve"]
    methods = tuple(
        MethodSchema(name, index, doc=f"{HOSTILE}\n{'long ' * 10_000}")
        for index, name in enumerate(names)
    )
    text = ServiceSchema("S", methods).to_json()
    tools = tools_of({"s": schema_from_json(text)})
    assert [*tools] == ["s_run_", "s_run__2", "s_" + "x" * 62, tool_end(2), "s_na_ve"]
    for tool in tools.values():
        assert len(tool.name) <= MOST_NAME
        assert len(tool.description) <= MOST_DOC
        first, second = tool.description.split("\n")
        assert first == "\\x1b[2J\\u202e\\x00"
        assert second.startswith("long long")


def test_too_many_tools_are_refused() -> None:
    methods = tuple(MethodSchema(f"m{index}", index) for index in range(MOST_TOOLS + 1))
    with pytest.raises(
        SchemaError, match=r"^s: its services have more than MOST_TOOLS"
    ):
        tools_of({"s": ServiceSchema("S", methods)})


def tool_end(number: int) -> str:
    return "s_" + "x" * 60 + f"_{number}"


def test_two_services_have_tools_of_their_own() -> None:
    one = ServiceSchema("One", (MethodSchema("a_b", 1),))
    other = ServiceSchema("Other", (MethodSchema("b", 1),))
    tools = tools_of({"x": one, "x_a": other})
    assert {name: tool.service for name, tool in tools.items()} == {
        "x_a_b": "x",
        "x_a_b_2": "x_a",
    }


@pytest.mark.parametrize("wrong", [{"items": 0}, {"bytes": 0}, {"seconds": 0}])
def test_limits_are_positive(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ToolLimits(**wrong)
