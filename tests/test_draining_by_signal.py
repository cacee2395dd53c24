"""`serving(drain_on=…)`: a server that shuts down when its process is told to end."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import pytest
import trio

from roam_trio import (
    Disconnected,
    Unavailable,
    connect,
    current_call,
    dispatcher,
    service,
    serving,
)


@service
class Sleeper(Protocol):
    async def sleep(self) -> str: ...
    async def sleep_on(self) -> str: ...
    async def add(self, left: int, right: int) -> int: ...


class SleeperImpl:
    def __init__(self) -> None:
        self.begun = trio.Event()
        self.told = trio.Event()

    async def sleep(self) -> str:
        self.begun.set()
        await current_call().draining.wait()
        self.told.set()
        return "done"

    async def sleep_on(self) -> str:
        await self.sleep()
        return await trio.sleep_forever()

    async def add(self, left: int, right: int) -> int:
        return left + right


HANDLER = dispatcher(Sleeper, SleeperImpl())


@pytest.fixture(autouse=True)
def handler_of_the_program() -> Iterator[list[int]]:
    told: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: told.append(number))
    yield told
    signal.signal(signal.SIGTERM, before)


async def test_calls_finish_and_then_the_block_is_cancelled(
    nursery: trio.Nursery,
) -> None:
    impl, results, is_over = SleeperImpl(), list[str](), trio.Event()
    own = signal.getsignal(signal.SIGTERM)

    async def client(url: str) -> None:
        async with connect(url, Sleeper) as sleeper:
            results.append(await sleeper.sleep())
        is_over.set()

    serve = partial(serving, "memory://drained", dispatcher(Sleeper, impl), grace=10)
    async with serve(drain_on=[signal.SIGTERM]) as server:
        nursery.start_soon(client, server.url)
        await impl.begun.wait()
        signal.raise_signal(signal.SIGTERM)
        try:
            await trio.sleep_forever()
        finally:
            results.append("cleaned up")
    await is_over.wait()
    assert results == ["done", "cleaned up"]
    assert signal.getsignal(signal.SIGTERM) is own


async def test_new_calls_are_refused_and_the_next_signal_ends_the_process(
    nursery: trio.Nursery,
) -> None:
    impl = SleeperImpl()

    async def sleep(sleeper: Sleeper) -> None:
        with pytest.raises(Disconnected):
            await sleeper.sleep_on()

    async with (
        serving(
            "memory://refusing",
            dispatcher(Sleeper, impl),
            grace=60,
            drain_on={signal.SIGTERM},
        ) as server,
        connect(server.url, Sleeper) as sleeper,
    ):
        nursery.start_soon(sleep, sleeper)
        await impl.begun.wait()
        signal.raise_signal(signal.SIGTERM)
        await impl.told.wait()
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        with pytest.raises(Unavailable) as refused:
            await sleeper.add(1, 2)
        assert not refused.value.was_begun


async def test_a_block_that_ends_by_itself_leaves_the_signals_alone(
    handler_of_the_program: list[int],
) -> None:
    async with serving("memory://quiet", HANDLER, drain_on=[signal.SIGTERM]):
        pass
    signal.raise_signal(signal.SIGTERM)
    with pytest.raises(OSError, match="Cannot assign"):
        async with serving("tcp://192.0.2.1:1", HANDLER, drain_on=[signal.SIGTERM]):
            raise AssertionError("it cannot listen there")
    assert handler_of_the_program == [signal.SIGTERM]


async def test_signals_stay_with_the_program_by_default(
    handler_of_the_program: list[int],
) -> None:
    async with serving("memory://unasked", HANDLER):
        signal.raise_signal(signal.SIGTERM)
    assert handler_of_the_program == [signal.SIGTERM]


@pytest.mark.parametrize("wrong", [signal.SIGTERM, "SIGTERM", [15], None])
def test_what_is_no_signals_is_refused(wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"drain_on: expected several signals, such as"):
        serving("memory://x", HANDLER, drain_on=wrong)


PROGRAM = """
import signal, sys, trio
from roam_trio import dispatcher, serving
from tests.test_draining_by_signal import Sleeper, SleeperImpl

async def main():
    handler, term = dispatcher(Sleeper, SleeperImpl()), signal.SIGTERM
    async with serving(sys.argv[1], handler, grace=10, drain_on=[term]) as server:
        print(server.url, flush=True)
        await trio.sleep_forever()
    print("after the block")

trio.run(main)
"""


@pytest.mark.slow
async def test_a_process_ends_orderly_on_sigterm(tmp_path: Path) -> None:
    args = [sys.executable, "-c", PROGRAM, f"unix://{tmp_path}/s"]
    process = await trio.lowlevel.open_process(args, stdout=subprocess.PIPE)
    assert process.stdout is not None
    said = b""
    while not said.endswith(b"\n"):  # a line may come in pieces
        said += await process.stdout.receive_some()
    async with connect(said.decode().strip(), Sleeper) as sleeper:

        async def end_it() -> None:
            await sleeper.add(1, 2)  # so the call before it has begun
            process.send_signal(signal.SIGTERM)

        async with trio.open_nursery() as calling:
            calling.start_soon(end_it)
            assert await sleeper.sleep() == "done"
    rest = b"".join([piece async for piece in process.stdout])
    assert rest == b"after the block\n"
    assert await process.wait() == 0
    await process.stdout.aclose()
