"""The programs of docs/lowlevel.md do what the page says."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from roam_trio import client, dispatcher
from roam_trio.lowlevel import (
    Link,
    MessageFamily,
    RedialingSource,
    StableConduit,
    acceptor,
    initiator,
    memory_link_pair,
)

PAGE = Path(__file__).parent.parent / "docs" / "lowlevel.md"


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The code of the page, as one module."""
    module = types.ModuleType("code_of_lowlevel")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    text = PAGE.read_text(encoding="utf-8")
    for block in re.findall(r"```python\n(.*?)```", text, re.S):
        exec(compile(block, PAGE.name, "exec"), module.__dict__)
    return module


async def test_page_adds_on_links(page: Any) -> None:
    assert await page.add_in_memory() == 8


async def test_page_establishes_a_session_by_a_spawn_of_its_own(
    page: Any, nursery: trio.Nursery
) -> None:
    near, far = memory_link_pair(16)
    nursery.start_soon(acceptor(far).run, dispatcher(page.Adder, page.AdderImpl()))
    workers = page.Workers(nursery)
    session = await page.establish(near, workers)
    assert workers.running == 1
    assert await client(page.Adder, session.caller).add(1, 2) == 3
    await session.shutdown()
    await wait_all_tasks_blocked()
    assert workers.running == 0


async def test_page_runs_a_connection_by_a_driver(page: Any) -> None:
    assert await page.add_at_the_desk(*memory_link_pair(16)) == 8


async def test_page_serves_the_links_of_a_channel(
    page: Any, nursery: trio.Nursery
) -> None:
    incoming, links = trio.open_memory_channel[Link](0)
    nursery.start_soon(page.serve_incoming, links)
    for _ in range(2):
        near, far = memory_link_pair(16)
        await incoming.send(far)
        async with initiator(near).open() as session:
            assert await client(page.Adder, session.caller).add(1, 2) == 3
    incoming.close()


async def test_page_serves_clients_that_come_back(
    page: Any, nursery: trio.Nursery
) -> None:
    incoming, links = trio.open_memory_channel[Link](0)
    nursery.start_soon(page.serve_and_resume, links)
    made: list[Link] = []

    async def dial() -> Link:
        near, far = memory_link_pair(16)
        await incoming.send(far)
        made.append(near)
        return near

    conduit = StableConduit(RedialingSource(dial), MessageFamily())
    async with initiator(conduit).open() as session:
        adder = client(page.Adder, session.caller)
        assert await adder.add(1, 2) == 3
        await made[0].split()[0].abort()
        assert await adder.add(3, 4) == 7
    assert len(made) == 2
    nursery.cancel_scope.cancel()


async def test_page_makes_a_conduit_of_an_object(
    page: Any, nursery: trio.Nursery
) -> None:
    near, far = memory_link_pair(16)
    nursery.start_soon(acceptor(page.Shared("far", far)).run)
    async with initiator(page.Shared("near", near)).open() as session:
        assert page.told(session.root) == "connection 0 takes 64 requests at a time"
    assert page.told(session.root) == (
        "connection 0 has ended: this side has shut the session down"
    )
