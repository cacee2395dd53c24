"""The registry in a real server of Valkey."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import trio

from roam_trio import Address, RedisRegistry, dispatcher, serving, stay_connected
from tests.endpoints.lasting.test_stay_connected import Bank, BankImpl
from tests.endpoints.registry.valkey import valkey

ROOT = Path(__file__).parents[3]
LOOPBACK = "tcp://127.0.0.1:0"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with valkey() as url:
        yield url


async def test_a_server_is_there_from_its_start_until_its_end(url: str) -> None:
    registry = RedisRegistry(url, lease=60)
    service = registry.service("start")
    async with service.following() as follower:
        assert await follower.resolve() == []
        async with serving(
            LOOPBACK, dispatcher(Bank, BankImpl()), announce=service
        ) as server:
            await follower.changed()
            assert await follower.resolve() == [Address(server.url)]
            assert await registry.service("other").resolve() == []
        await follower.changed()
        assert await follower.resolve() == []


async def test_a_client_follows_servers_that_come_and_go(url: str) -> None:
    service = RedisRegistry(url, lease=60).service("bank", weight=2)
    async with stay_connected(service, Bank) as client:
        for name in ("a", "b"):
            handler = dispatcher(Bank, BankImpl(name))
            async with serving(
                LOOPBACK, handler, reflection=True, grace=5, announce=service
            ):
                assert await client.pay(1) == f"{name}1 None"


async def test_a_lease_that_is_not_renewed_ends(url: str) -> None:
    registry = RedisRegistry(url, lease=0.3)
    service = registry.service("short")
    async with service.following() as follower:
        async with registry.open("short") as entries:
            await entries.put(['{"url": "tcp://127.0.0.1:1"}'], registry.lease)
        began = trio.current_time()
        while not await follower.resolve():
            await follower.changed()
        while await follower.resolve():
            await follower.changed()
        assert trio.current_time() - began >= registry.lease / 2


PROGRAM = """
import sys, trio
from roam_trio import RedisRegistry, dispatcher, serve
from tests.endpoints.lasting.test_stay_connected import Bank, BankImpl

service = RedisRegistry(sys.argv[1], lease=2).service("killed")
handler = dispatcher(Bank, BankImpl())
trio.run(lambda: serve("tcp://127.0.0.1:0", handler, announce=service))
"""


@pytest.mark.slow
async def test_a_server_that_is_killed_is_gone_within_its_lease(url: str) -> None:
    service = RedisRegistry(url, lease=60).service("killed")
    process = await trio.lowlevel.open_process(
        [sys.executable, "-c", PROGRAM, url], cwd=ROOT
    )
    async with service.following() as follower:
        try:
            while not await follower.resolve():
                await follower.changed()
        finally:
            process.send_signal(signal.SIGKILL)
            await process.wait()
        began = trio.current_time()
        while await follower.resolve():
            await follower.changed()
        seconds = trio.current_time() - began
    print(f"gone {seconds:.2f} s after SIGKILL, with a lease of 2 s")
    # Far less than the client's own lease, after half of which it would ask anyway.
    assert seconds < 10


@pytest.mark.slow
async def test_clients_and_servers_outlive_a_restart_of_the_registry(
    caplog: pytest.LogCaptureFixture,
) -> None:
    handler = dispatcher(Bank, BankImpl("a"))
    async with AsyncExitStack() as stack:
        with valkey() as url:
            service = RedisRegistry(url, lease=1).service("bank")
            await stack.enter_async_context(
                serving(LOOPBACK, handler, announce=service)
            )
            client = await stack.enter_async_context(stay_connected(service, Bank))
            assert await client.pay(1) == "a1 None"
            caplog.clear()
        await trio.sleep(2)
        assert await client.pay(1) == "a1 None"
        assert [each.name for each in caplog.records] == ["roam_trio.registry"] * 2
        with valkey(int(url.rpartition(":")[2])):
            while not await service.resolve():
                await service.changed()
            assert await client.pay(1) == "a1 None"
            await stack.aclose()
            assert await service.resolve() == []
