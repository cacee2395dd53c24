"""The programs of docs/lowlevel.md do what the page says."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from roam_trio import (
    SessionRejected,
    UnknownMethod,
    channel,
    client,
    connect,
    describe,
    dispatcher,
    serve,
    with_metadata,
)
from roam_trio.codec.result import ResultKind
from roam_trio.lowlevel import (
    Caller,
    Link,
    Message,
    MessageFamily,
    Payload,
    RedialingSource,
    StableConduit,
    acceptor,
    initiator,
    joined,
    memory_link_pair,
    rpc_plan,
)
from roam_trio.testing import conduit_conformance, link_conformance

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


@pytest.mark.parametrize("check", link_conformance.CHECKS, ids=str)
async def test_link_of_the_page_passes_every_check(
    page: Any, check: link_conformance.Check, autojump_clock: MockClock
) -> None:
    await check(link_conformance.LinkUnderTest(page.lines_pair))


async def test_session_runs_on_the_link_of_the_page(
    page: Any, nursery: trio.Nursery
) -> None:
    near, far = await page.lines_pair()
    nursery.start_soon(acceptor(far).run, dispatcher(page.Adder, page.AdderImpl()))
    async with initiator(near).open() as session:
        assert await client(page.Adder, session.caller).add(1, 2) == 3


@pytest.mark.parametrize("check", conduit_conformance.CHECKS, ids=str)
async def test_conduit_of_the_page_passes_every_check(
    page: Any, check: conduit_conformance.Check, autojump_clock: MockClock
) -> None:
    await check(conduit_conformance.ConduitUnderTest(page.watched_pair))


async def test_conduit_of_the_page_sees_the_messages_of_a_session(
    page: Any, nursery: trio.Nursery
) -> None:
    near, far = memory_link_pair(16)
    seen: list[tuple[str, str]] = []

    def watch(way: str, message: Message) -> None:
        seen.append((way, type(message).__name__))

    nursery.start_soon(acceptor(far).run, dispatcher(page.Adder, page.AdderImpl()))
    async with initiator(page.watched(near, watch)).open() as session:
        assert await client(page.Adder, session.caller).add(1, 2) == 3
    assert seen == [
        ("out", "Hello"),
        ("in", "HelloYourself"),
        ("out", "RequestCall"),
        ("in", "RequestResponse"),
    ]


@pytest.fixture
async def summing(page: Any, nursery: trio.Nursery) -> Caller:
    """Calls the handler of the page."""
    near, far = memory_link_pair(16)
    nursery.start_soon(acceptor(far, strict=True).run, page.SumsByHand())
    builder = initiator(near, spawn=nursery.start_soon)
    return (await builder.establish()).caller


async def test_handler_of_the_page_answers_calls_and_takes_channels(
    page: Any, summing: Caller, nursery: trio.Nursery
) -> None:
    sums = client(page.Sums, summing)
    assert await sums.double(21) == 42
    numbers, taken = channel[int]()

    @nursery.start_soon
    async def send() -> None:
        async with numbers:
            for number in range(40):
                await numbers.send(number)

    assert await sums.sum(taken) == sum(range(40))


async def test_handler_of_the_page_refuses_what_it_cannot_answer(
    page: Any, summing: Caller
) -> None:
    with pytest.raises(UnknownMethod):
        await client(page.Adder, summing).add(1, 2)
    method = describe(page.Sums).methods[0]
    response = await summing.call(method.id, Payload(rpc_plan(None), None))
    outcome = method.result_plan.decode(joined(response.ret))
    assert outcome.kind is ResultKind.INVALID_PAYLOAD


async def test_guard_of_the_page_lets_only_the_token_through(
    page: Any, nursery: trio.Nursery
) -> None:
    near, far = memory_link_pair(16)
    guarded = page.Guarded(dispatcher(page.Adder, page.AdderImpl()), "sesame")
    nursery.start_soon(acceptor(far).run, guarded)
    async with initiator(near).open() as session:
        adder = client(page.Adder, session.caller)
        right = await with_metadata(adder.add, {"token": "sesame"})(1, 2)
        assert right.value == 3
        with pytest.raises(UnknownMethod):
            await adder.add(1, 2)


async def test_proxy_of_the_page_joins_a_client_to_the_service_it_names(
    page: Any, nursery: trio.Nursery
) -> None:
    offered = {"adder": dispatcher(page.Adder, page.AdderImpl())}
    await nursery.start(serve, "memory://lowlevel-page", offered)
    near, far = memory_link_pair(16)
    async with connect("memory://lowlevel-page") as upstream:
        nursery.start_soon(page.switch, far, {"adder": upstream, "sums": upstream})
        async with initiator(near).open() as session:
            async with session.open(page.Adder) as adder:
                assert await adder.add(3, 5) == 8
            with pytest.raises(SessionRejected, match="is not one of the services"):
                await session.open(page.Sums).__aenter__()
            with pytest.raises(SessionRejected, match="there is no such service"):
                await session.open(page.Adder, "other").__aenter__()


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
