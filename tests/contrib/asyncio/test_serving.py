"""A server in asyncio does what one in trio does."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from typing import Any

import pytest
import trio

import roam_trio
from roam_trio import (
    AnyCall,
    ConduitAcceptor,
    Message,
    Peer,
    Proceed,
    Refused,
    SchemaError,
    current_call,
    service,
)
from roam_trio.contrib.asyncio import (
    Rx,
    Tx,
    aclose,
    channel,
    connect,
    dispatcher,
    in_asyncio,
    in_trio,
    serving,
)

from .works import AsyncioWorks, Works, idle, nothing_is_left, until


@service
class Other:
    async def name(self) -> str: ...


def test_a_client_in_trio_calls_a_handler_in_asyncio() -> None:
    async def main() -> None:
        works = AsyncioWorks()
        async with serving("memory://works", dispatcher(Works, works)) as server:
            await in_trio(use, server.url)
            assert works.cancelled == 1
            assert idle(server)
        nothing_is_left()

    async def use(url: str) -> None:
        async with roam_trio.connect(url, Works) as works:
            assert await works.add(3, 5) == 8
            async with roam_trio.open_call(works.count, 0, 50) as call:
                assert [number async for number in call.rx] == list(range(50))
            with trio.move_on_after(0.05) as scope:
                await works.wait()
            assert scope.cancelled_caught
            with trio.fail_after(60):
                assert 0 < await works.time_left() <= 60

    asyncio.run(main())


def test_a_call_runs_in_a_task_of_its_own_with_its_call_and_channels() -> None:
    tasks: list[object] = []

    class Looking(AsyncioWorks):
        async def pause(self) -> None:
            await asyncio.sleep(0)
            tasks.append(asyncio.current_task())
            assert current_call().method.name == "tenant"

        async def echo(self, inwards: Any, outwards: Any) -> None:
            assert type(inwards) is Rx
            assert type(outwards) is Tx

    async def main() -> None:
        async with (
            serving("memory://works", dispatcher(Works, Looking())) as server,
            connect(server.url, Works) as works,
        ):
            await asyncio.gather(works.tenant(), works.tenant())
            async with asyncio.TaskGroup() as group:
                (_, inwards), (outwards, _) = channel[int](), channel[int]()
                group.create_task(works.echo(inwards, outwards))

    asyncio.run(main())
    assert len(set(tasks)) == 2


def test_calls_of_a_handler_have_its_deadline() -> None:
    class Front(AsyncioWorks):
        async def time_left(self) -> float:
            return await back.time_left()

    async def main() -> None:
        nonlocal back
        async with (
            serving("memory://back", dispatcher(Works, AsyncioWorks())),
            connect("memory://back", Works) as back,
            serving("memory://front", dispatcher(Works, Front())) as server,
        ):
            await in_trio(use, server.url)

    async def use(url: str) -> None:
        async with roam_trio.connect(url, Works) as works:
            with trio.fail_after(60):
                assert 0 < await works.time_left() <= 60

    back: Works = AsyncioWorks()  # type: ignore[assignment]
    asyncio.run(main())


def test_middleware_of_a_server_is_asyncio_code() -> None:
    async def twice(call: AnyCall, proceed: Proceed) -> Any:
        await asyncio.sleep(0)
        assert call.side == "server"
        return 2 * await proceed()

    async def outermost(call: AnyCall, proceed: Proceed) -> Any:
        await asyncio.sleep(0)
        if call.args[0] == 0:
            raise Refused("zero", "not with zero")
        return 1 + await proceed()

    async def main() -> None:
        handler = dispatcher(Works, AsyncioWorks(), middleware=[twice])
        async with (
            serving("memory://works", handler, middleware=[outermost]) as server,
            connect(server.url, Works) as works,
        ):
            assert await works.add(3, 5) == 17
            with pytest.raises(Refused) as refused:
                await works.add(0, 5)
            assert refused.value.code == "zero"

    asyncio.run(main())


def test_who_may_call_is_decided_in_asyncio() -> None:
    async def welcome(peer: Peer) -> Any:
        await asyncio.sleep(0)
        user = peer.metadata.get("user")
        if user is None:
            raise Refused("denied", "who are you?")
        return dispatcher(Works, AsyncioWorks())

    async def main() -> None:
        async with serving("memory://works", {}, on_session=welcome) as server:
            with pytest.raises(Refused, match="who are you"):
                await connect(server.url, Works)
            async with connect(server.url, Works, metadata={"user": "Ada"}) as works:
                assert await works.add(3, 5) == 8
            assert server.urls == (server.url,)
            assert repr(server).startswith("<Server memory://works")

    asyncio.run(main())


def test_a_task_that_its_own_program_cancels_refuses_the_call() -> None:
    class Cancelling(AsyncioWorks):
        async def wait(self) -> None:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await asyncio.sleep(0)

    async def main() -> None:
        async with (
            serving("memory://works", dispatcher(Works, Cancelling())) as server,
            connect(server.url, Works) as works,
        ):
            with pytest.raises(Refused, match="task of asyncio was can") as refused:
                await works.wait()
            assert refused.value.was_begun is True

    asyncio.run(main())


def test_a_handler_that_finishes_although_it_is_cancelled_has_its_own_way() -> None:
    class Stubborn(AsyncioWorks):
        async def wait(self) -> None:
            with contextlib.suppress(asyncio.CancelledError):
                await super().wait()

    async def main() -> None:
        stubborn = Stubborn()
        async with serving("memory://works", dispatcher(Works, stubborn)) as server:
            await in_trio(use, server.url)
            assert stubborn.cancelled == 1

    async def use(url: str) -> None:
        async with roam_trio.connect(url, Works) as works:
            with trio.move_on_after(0.05) as scope:
                await works.wait()  # it can no longer be undone, so it returns
            assert not scope.cancelled_caught

    asyncio.run(main())


def test_calls_in_flight_finish_within_the_grace() -> None:
    class Slow(AsyncioWorks):
        async def add(self, left: int, right: int) -> int:
            self.waiting += 1
            await go_on.wait()
            return left + right

    async def main() -> None:
        slow = Slow()
        server = await serving("memory://works", dispatcher(Works, slow), grace=60)
        async with connect(server.url, Works) as works:
            call = asyncio.create_task(works.add(3, 5))
            await until(lambda: slow.waiting)
            closing = asyncio.create_task(server.aclose())
            with pytest.raises(roam_trio.RoamError) as refused:
                await call_until_it_fails(works)
            assert vars(refused.value)["was_begun"] is False
            assert not closing.done()
            go_on.set()
            assert await call == 8
            await closing
        nothing_is_left()

    async def call_until_it_fails(works: Works) -> None:
        while True:
            await works.half(8)

    go_on = asyncio.Event()
    asyncio.run(main())


def test_handlers_are_cancelled_at_the_end_of_a_server() -> None:
    async def main() -> None:
        works = AsyncioWorks()
        async with serving("memory://works", dispatcher(Works, works)) as server:
            client = await connect(server.url, Works)
            call = asyncio.create_task(client.wait())
            await until(lambda: works.waiting)
            await server.shutdown()
            with pytest.raises(roam_trio.RoamError):
                await call
            assert works.cancelled == 1
            await aclose(client)
            await aclose(client)
        nothing_is_left()

    asyncio.run(main())


def test_a_wrong_handler_is_named_as_it_is_in_the_program() -> None:
    with pytest.raises(SchemaError, match=r"AsyncioWorks\.name: expected async def na"):
        dispatcher(Other, AsyncioWorks())
    with pytest.raises(TypeError, match="a list of middleware"):
        dispatcher(Works, AsyncioWorks(), middleware=print)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="grace"):
        serving("memory://works", dispatcher(Works, AsyncioWorks()), grace=-1)


class Broken(Exception):
    pass


def failing_server() -> tuple[Any, asyncio.Event]:
    """A server that fails when the event is set, as one without file descriptors."""
    breaking = asyncio.Event()

    class Acceptor(ConduitAcceptor[Message]):
        async def accept(self) -> Any:
            await in_asyncio(breaking.wait)
            raise Broken

    handler = dispatcher(Works, AsyncioWorks())
    return lambda: serving(Acceptor(), handler), breaking


def test_a_server_that_fails_cancels_the_block_and_raises_its_error() -> None:
    async def main() -> None:
        make, breaking = failing_server()

        async def serve() -> None:
            async with make():
                breaking.set()
                await asyncio.Event().wait()

        with pytest.raises(Broken):
            await serve()
        task = asyncio.current_task()
        assert task is not None
        assert not task.cancelling()
        nothing_is_left()

    asyncio.run(main())


def test_an_error_of_the_block_comes_before_that_of_the_server(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        make, breaking = failing_server()

        async def serve() -> None:
            async with make():
                breaking.set()
                try:
                    await asyncio.Event().wait()
                finally:
                    raise KeyError

        with pytest.raises(KeyError):
            await serve()
        nothing_is_left()

    asyncio.run(main())
    (record,) = caplog.records
    assert record.getMessage().startswith("a server has failed, and its block too")


def test_a_block_that_is_cancelled_from_outside_too_stays_cancelled() -> None:
    async def main() -> None:
        make, breaking = failing_server()

        async def serve() -> None:
            async with make():
                breaking.set()
                try:
                    await asyncio.Event().wait()
                finally:
                    task.cancel()

        task = asyncio.create_task(serve())
        with pytest.raises((asyncio.CancelledError, Broken)) as ended:
            await task
        assert ended.type is asyncio.CancelledError
        nothing_is_left()

    asyncio.run(main())


def test_a_server_that_was_awaited_logs_its_failure_and_tells_it_when_closed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        make, breaking = failing_server()
        server = await make()
        breaking.set()
        await until(lambda: caplog.records)
        with pytest.raises(Broken):
            await server.aclose()
        nothing_is_left()

    asyncio.run(main())
    (record,) = caplog.records
    assert record.getMessage().startswith("a server has failed")


def test_a_signal_drains_a_server_and_ends_its_block() -> None:
    async def main() -> None:
        handler = dispatcher(Works, AsyncioWorks())
        async with serving("memory://works", handler, drain_on=[signal.SIGUSR1]):
            signal.raise_signal(signal.SIGUSR1)
            await asyncio.Event().wait()
        nothing_is_left()

    before = signal.getsignal(signal.SIGUSR1)
    asyncio.run(main())
    assert signal.getsignal(signal.SIGUSR1) == before
