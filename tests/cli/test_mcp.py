"""`mcp`: tools for the official client, from a process and without one."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import trio
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from examples.library import Library, LibraryImpl
from roam_trio import Session, dispatcher, serving
from roam_trio.contrib import mcp as tools
from tests.cli.live import SHOP, invoke, live
from tests.cli.shop import handlers

ROOT = Path(__file__).parents[2]


def test_nothing_is_offered_unless_it_is_allowed() -> None:
    result = invoke("mcp", "tcp://127.0.0.1:1", *SHOP)
    assert result.exit_code == 2
    assert "--allow SERVICE" in result.stderr


def test_calls_need_more_time_than_none() -> None:
    result = invoke("mcp", "tcp://127.0.0.1:1", "--allow", "shop", "--timeout", "0")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "--timeout" in result.stderr


def test_a_service_that_is_not_there_is_told() -> None:
    with live(handlers()) as url:
        result = invoke("mcp", url, *SHOP, "--allow", "shob")
    assert result.exit_code == 2
    assert "shob: there is no such service; did you mean shop?" in result.stderr


def test_a_missing_extra_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "roam_trio.contrib.mcp", None)
    monkeypatch.delattr("roam_trio.contrib.mcp")
    result = invoke("mcp", "tcp://127.0.0.1:1", "--allow", "shop")
    assert result.exit_code == 2
    assert "pip install '.[mcp]'" in result.stderr


def test_options_become_the_limits_of_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[object] = []

    async def serve_tools(
        session: object, described: object, **options: object
    ) -> None:
        await trio.lowlevel.checkpoint()
        seen.append(options)

    monkeypatch.setattr(tools, "serve_tools", serve_tools)
    with live(handlers()) as url:
        for extra in ((), ("--timeout", "5", "--items", "7")):
            assert invoke("mcp", url, *SHOP, "--allow", "shop", *extra).exit_code == 0
    assert seen == [
        {"allow": ["shop"], "limits": tools.ToolLimits()},
        {"allow": ["shop"], "limits": tools.ToolLimits(seconds=5, items=7)},
    ]


def test_tools_end_with_the_session(monkeypatch: pytest.MonkeyPatch) -> None:
    async def serve_tools(session: Session, described: object, **_: object) -> None:
        await session.shutdown()
        with trio.fail_after(10):
            await trio.sleep_forever()

    monkeypatch.setattr(tools, "serve_tools", serve_tools)
    with live(handlers()) as url:
        result = invoke("mcp", url, *SHOP, "--allow", "shop")
    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr.startswith("roam-trio mcp: the session has ended: ")


@pytest.mark.slow
async def test_the_official_client_uses_the_tools_of_the_example() -> None:
    library = {"library": dispatcher(Library, LibraryImpl())}
    async with serving("tcp://127.0.0.1:0", library, reflection=True) as server:
        parameters = StdioServerParameters(
            command=sys.executable,
            args=["-m", "roam_trio", "mcp", server.url, "--allow", "library"],
            cwd=ROOT,
        )
        async with Client(stdio_client(parameters)) as client:
            listed = await client.list_tools()
            assert {each.name for each in listed.tools} == {
                "library_lend",
                "library_admit",
            }
            result = await client.call_tool("library_admit", {"member": "Ada"})
            assert result.structured_content == {"result": "Good morning, Ada."}
