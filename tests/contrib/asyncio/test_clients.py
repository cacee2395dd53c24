"""A client in asyncio does what one in trio does."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import math
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import pytest
import trio

import roam_trio
from roam_trio import (
    AnyCall,
    CallCancelled,
    ConnectionLost,
    Observer,
    Proceed,
    Refused,
    RxClosed,
    current_call,
    with_metadata,
)
from roam_trio.contrib.asyncio import (
    aclose,
    channel,
    client,
    connect,
    dispatcher,
    guest,
    in_asyncio,
    in_trio,
    jobs,
    serving,
    state,
    stay_connected,
    timeout,
)
from roam_trio.metadata import MetadataEntry

from .works import (
    AsyncioWorks,
    TooLarge,
    TrioWorks,
    Works,
    at_work,
    idle,
    nothing_is_left,
    until,
)

HANDLERS: list[Callable[[], Any]] = [
    lambda: dispatcher(Works, AsyncioWorks()),
    lambda: roam_trio.dispatcher(Works, TrioWorks()),
]
each_handler = pytest.mark.parametrize("handler", HANDLERS, ids=["asyncio", "trio"])


@each_handler
@pytest.mark.parametrize("url", ["memory://works", "tcp://127.0.0.1:0"])
def test_calls_return_what_the_handler_returns(
    url: str, handler: Callable[[], Any]
) -> None:
    async def main() -> None:
        async with (
            serving(url, handler()) as server,
            connect(server.url, Works) as works,
        ):
            assert await works.add(3, 5) == 8
            assert await works.add(left=3, right=5) == 8
            many = (works.add(n, n) for n in range(100))
            assert await asyncio.gather(*many) == [2 * n for n in range(100)]
            assert repr(works).startswith("<WorksAsyncioClient of <WorksClient")
        nothing_is_left()

    asyncio.run(main())


@each_handler
def test_errors_are_those_of_trio_and_come_alone(handler: Callable[[], Any]) -> None:
    async def main() -> None:
        async with (
            serving("memory://works", handler(), tell_failures="text") as server,
            connect(server.url, Works) as works,
        ):
            assert await works.half(8) == 4
            with pytest.raises(TooLarge) as declared:
                await works.half(101)
            assert declared.value.most == 100
            with pytest.raises(roam_trio.HandlerFailed, match="a bug"):
                await works.fail()
            with pytest.raises(TypeError, match=r"Works.add\(left"):
                await works.add(3)  # type: ignore[call-arg]
            with pytest.raises(roam_trio.EncodeError):
                await works.add("3", 5)  # type: ignore[arg-type]
        with pytest.raises(ConnectionLost) as lost:
            await works.add(3, 5)
        assert lost.value.was_begun is False

    asyncio.run(main())


def test_a_client_of_a_closed_session_says_so_while_others_are_in_use() -> None:
    async def main() -> None:
        async with at_work() as (_, server):
            async with connect(server.url, Works) as works:
                pass
            with pytest.raises(ConnectionLost):
                await works.add(3, 5)

    asyncio.run(main())


@each_handler
def test_metadata_goes_both_ways(handler: Callable[[], Any]) -> None:
    async def main() -> None:
        async with (
            serving("memory://works", handler()) as server,
            connect(server.url, Works, metadata_for_calls={"tenant": "blue"}) as works,
        ):
            assert await works.tenant() == "blue"
            parts = await with_metadata(works.tenant, {"tenant": "red"})()
            assert parts.value == "red"
            assert parts.metadata.get("served-by") == "works"
            entries = iter([MetadataEntry("tenant", "green")])
            async with connect(server.url, Works, metadata_for_calls=entries) as others:
                assert await others.tenant() == "green"

    asyncio.run(main())


variable: ContextVar[str] = ContextVar("variable", default="nothing")


def test_middleware_is_asyncio_code_with_the_context_of_the_caller() -> None:
    seen: list[tuple[str, str, float]] = []

    async def outer(call: AnyCall, proceed: Proceed) -> Any:
        await asyncio.sleep(0)
        seen.append((str(call.method), variable.get(), call.deadline))
        variable.set("outer")
        return await proceed() + 1

    async def inner(call: AnyCall, proceed: Proceed) -> Any:
        await asyncio.sleep(0)
        seen.append((str(call.method), variable.get(), call.deadline))
        call.metadata["tenant"] = variable.get()
        try:
            return await proceed()
        finally:
            seen.append((call.peer.transport, call.side, 0.0))

    async def main() -> None:
        async with (
            serving("memory://works", dispatcher(Works, AsyncioWorks())) as server,
            connect(server.url, Works, middleware=[outer, inner]) as works,
        ):
            variable.set("caller")
            assert await works.add(3, 5) == 9
            assert variable.get() == "caller"

    asyncio.run(main())
    assert seen == [
        ("Works.add", "caller", math.inf),
        ("Works.add", "outer", math.inf),
        ("memory", "client", 0.0),
    ]


def test_a_middleware_refuses_a_call_that_was_not_begun() -> None:
    async def refuse(call: AnyCall, proceed: Proceed) -> Any:
        raise Refused("denied", "not today")

    async def main() -> None:
        works = AsyncioWorks()
        handler = dispatcher(Works, works)
        async with (
            serving("memory://works", handler) as server,
            connect(server.url, Works, middleware=[refuse]) as client,
        ):
            with pytest.raises(Refused, match="not today") as refused:
                await client.wait()
            assert refused.value.was_begun is False
            assert not works.waiting

    asyncio.run(main())


def test_a_middleware_is_cancelled_with_its_call() -> None:
    ended: list[type[BaseException]] = []

    async def watch(call: AnyCall, proceed: Proceed) -> Any:
        try:
            return await proceed()
        except BaseException as error:
            ended.append(type(error))
            raise

    async def main() -> None:
        works = AsyncioWorks()
        handler = dispatcher(Works, works)
        async with (
            serving("memory://works", handler) as server,
            connect(server.url, Works, middleware=[watch]) as client,
        ):
            call = asyncio.create_task(client.wait())
            await until(lambda: works.waiting)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            assert works.cancelled == 1
            assert ended == [asyncio.CancelledError]

    asyncio.run(main())


# ------------------------------------------------------------------ cancelling


@pytest.mark.parametrize("how", ["cancel", "timeout", "wait_for", "our timeout"])
def test_the_remote_handler_has_stopped_when_a_call_is_cancelled(how: str) -> None:
    async def main() -> None:
        works = AsyncioWorks()
        async with at_work(works) as (client, server):
            expected: type[BaseException] = TimeoutError
            if how == "cancel":
                expected = asyncio.CancelledError
            with pytest.raises(expected):
                await cancelled(client, works)
            assert works.cancelled == 1
            assert idle(server)
            assert await client.add(3, 5) == 8
        nothing_is_left()

    async def cancelled(client: Works, works: AsyncioWorks) -> None:
        if how == "cancel":
            call = asyncio.create_task(client.wait())
            await until(lambda: works.waiting)
            call.cancel()
            await call
        elif how == "timeout":
            async with asyncio.timeout(0.05):
                await client.wait()
        elif how == "wait_for":
            await asyncio.wait_for(client.wait(), 0.05)
        else:
            async with timeout(0.05):
                await client.wait()

    asyncio.run(main())


def test_a_task_that_is_cancelled_again_waits_for_the_handler_all_the_same() -> None:
    class Slow(AsyncioWorks):
        async def wait(self) -> None:
            self.waiting += 1
            try:
                await asyncio.Event().wait()
            finally:
                await go_on.wait()
                self.cancelled += 1

    async def main() -> None:
        works = Slow()
        async with at_work(works) as (client, _):
            call = asyncio.create_task(client.wait())
            await until(lambda: works.waiting)
            for _ in range(3):
                call.cancel()
                await asyncio.sleep(0)
            assert not call.done()
            go_on.set()
            with pytest.raises(asyncio.CancelledError):
                await call
            assert works.cancelled == 1

    go_on = asyncio.Event()
    asyncio.run(main())


def test_a_call_that_is_cancelled_before_it_began_is_not_made() -> None:
    async def main() -> None:
        works = AsyncioWorks()
        async with at_work(works) as (client, _):
            call = asyncio.create_task(client.wait())
            await asyncio.sleep(0)  # it is with trio, which has not had its turn
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            assert not works.waiting

    asyncio.run(main())


@each_handler
def test_a_server_is_told_the_deadlines_of_our_timeout(
    handler: Callable[[], Any],
) -> None:
    async def main() -> None:
        async with (
            serving("memory://works", handler()) as server,
            connect(server.url, Works) as works,
        ):
            async with asyncio.timeout(60):  # which tells nobody
                assert await works.time_left() == math.inf
            async with timeout(None):
                assert await works.time_left() == math.inf
            async with timeout(60):
                async with timeout(None):
                    assert await works.time_left() <= 60
                assert 0 < await works.time_left() <= 60
                async with timeout(600):
                    assert await works.time_left() <= 60
            assert await works.time_left() == math.inf

    asyncio.run(main())


def test_a_call_past_the_deadline_raises_a_timeout() -> None:
    """Also where asyncio has not noticed yet, as in a task that a handler has made."""

    async def main() -> None:
        works = AsyncioWorks()
        async with at_work(works) as (client, _):
            async with timeout(0.05):
                call = asyncio.create_task(client.wait())  # the block does not end it
                await until(lambda: works.waiting)
            with pytest.raises(TimeoutError):
                await call
            assert works.cancelled == 1

    asyncio.run(main())


# ------------------------------------------------------------------ channels


@each_handler
def test_items_come_from_the_server(handler: Callable[[], Any]) -> None:
    async def main() -> None:
        async with (
            serving("memory://works", handler()) as server,
            connect(server.url, Works) as works,
        ):
            tx, rx = channel[int]()
            call = asyncio.create_task(works.count(0, 1000, tx))
            del tx
            assert [number async for number in rx] == list(range(1000))
            assert await call == 1000
            await until(lambda: idle(server))

    asyncio.run(main())


@each_handler
def test_items_go_to_the_server(handler: Callable[[], Any]) -> None:
    async def main() -> None:
        async with (
            serving("memory://works", handler()) as server,
            connect(server.url, Works) as works,
        ):
            tx, rx = channel(int)
            call = asyncio.create_task(works.total(numbers=rx))
            del rx
            async with tx:
                for number in range(100):
                    await tx.send(number)
                await tx.send_many(range(100))
            assert await call == 2 * sum(range(100))

    asyncio.run(main())


@each_handler
def test_items_go_both_ways_in_batches(handler: Callable[[], Any]) -> None:
    async def main() -> None:
        async with (
            serving("memory://works", handler()) as server,
            connect(server.url, Works) as works,
        ):
            (tx, inwards), (outwards, rx) = channel[int](), channel[int]()
            call = asyncio.create_task(works.echo(inwards, outwards))
            del inwards, outwards
            sending = asyncio.create_task(tx.send_many(range(200)))
            got: list[int] = []
            while len(got) < 200:
                got += await rx.recv_many()
            assert got == list(range(200))
            await sending
            await tx.aclose()
            await call
            with pytest.raises(trio.EndOfChannel):
                await rx.recv()

    asyncio.run(main())


def test_a_sender_waits_for_credit() -> None:
    async def main() -> None:
        works = AsyncioWorks()
        async with at_work(works) as (client, server):
            tx, rx = channel[int]()
            call = asyncio.create_task(client.count(0, 1000, tx))
            del tx
            assert await rx.recv() == 0
            for _ in range(200):
                await asyncio.sleep(0)
            assert works.counted < 40  # a window of 16, and not all
            await rx.aclose()
            with pytest.raises(CallCancelled):
                await call
            await until(lambda: idle(server))

    asyncio.run(main())


def test_the_end_of_a_channel_is_told_to_both() -> None:
    async def main() -> None:
        async with at_work() as (client, _):
            tx, rx = channel[int]()
            async with rx:
                call = asyncio.create_task(client.count(0, 3, tx))
                del tx
                assert await rx.receive() == 0
                borrowed = await rx.recv_borrowed()
                assert borrowed.value == 1
                assert await rx.receive_many() == [2]
                with pytest.raises(trio.EndOfChannel):
                    await rx.recv_many()
                with pytest.raises(ValueError, match="at least 1"):
                    await rx.recv_many(0)
                assert await call == 3
            tx, rx = channel[int]()
            call = asyncio.create_task(client.total(numbers=rx))
            await tx.send(1)
            assert not rx.can_be_given
            other = tx.clone()
            await tx.aclose()
            with pytest.raises(roam_trio.TxClosed):
                await tx.send(2)
            await other.send(3)
            await other.aclose()
            assert await call == 4
            await asyncio.wait_for(other.closed(), 5)

    asyncio.run(main())


def test_ends_can_be_closed_without_a_connection() -> None:
    async def main() -> None:
        tx, rx = channel[int]()
        await tx.aclose()
        await rx.aclose()
        with pytest.raises(roam_trio.TxClosed):
            await tx.send(1)
        nothing_is_left()

    asyncio.run(main())


def test_an_end_waits_until_a_call_binds_its_pair() -> None:
    async def main() -> None:
        async with at_work() as (client, _):
            tx, rx = channel[int]()
            sending = asyncio.create_task(tx.send(7))
            for _ in range(10):
                await asyncio.sleep(0)
            call = asyncio.create_task(client.total(numbers=rx))
            await sending
            tx.close()
            assert await call == 7

    asyncio.run(main())


def test_a_receiver_that_is_cancelled_has_taken_no_item() -> None:
    """At each step of the loop in turn, so also when the item has just come."""

    async def main() -> None:
        async with at_work() as (client, _):
            tx, rx = channel[int]()
            inwards, outwards = channel[int]()
            call = asyncio.create_task(client.echo(rx, inwards))
            del rx, inwards
            got: list[int] = []
            for step in range(80):
                receive = outwards.recv if step % 2 else outwards.recv_many
                receiving = asyncio.create_task(keep(receive, got))
                await asyncio.sleep(0)
                await tx.send(step)
                for _ in range(step // 4):
                    await asyncio.sleep(0)
                receiving.cancel()
                await asyncio.wait({receiving})
            tx.close()
            while True:
                try:
                    got.append(outwards.recv_nowait())
                except trio.WouldBlock:
                    await asyncio.sleep(0)
                except trio.EndOfChannel:
                    break
            await call
            assert got == list(range(80))

    async def keep(receive: Any, got: list[int]) -> None:
        items = await receive()
        got.extend(items if isinstance(items, list) else [items])

    asyncio.run(main())


@pytest.mark.parametrize("waits", [None, "recv", "recv_many", "__anext__"])
@pytest.mark.parametrize("method", ["recv", "recv_many", "__anext__"])
@pytest.mark.parametrize("is_first", [True, False])
def test_an_item_that_comes_as_its_receiver_is_cancelled_is_for_the_next(
    is_first: bool, method: str, waits: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if the next waits already."""

    async def main() -> None:
        handler = roam_trio.dispatcher(Works, TrioWorks())  # which makes no jobs
        async with (
            serving("memory://works", handler) as server,
            connect(server.url, Works) as client,
        ):
            tx, rx = channel[int]()
            inwards, outwards = channel[int]()
            call = asyncio.create_task(client.echo(rx, inwards))
            del rx, inwards
            receiving = asyncio.ensure_future(getattr(outwards, method)())
            await asyncio.sleep(0.001)
            other = outwards.recv if waits is None else getattr(outwards, waits)
            following = None if waits is None else asyncio.ensure_future(other())
            await asyncio.sleep(0.001)
            cancel_with_the_item(receiving)
            await tx.send(7)
            await asyncio.wait({receiving})
            assert receiving.cancelled()
            monkeypatch.undo()
            async with asyncio.timeout(60):
                assert await (following or other()) in (7, [7])
            tx.close()
            await call

    def cancel_with_the_item(receiving: asyncio.Future[Any]) -> None:
        succeed = jobs.Job._succeed

        def cancel_and_succeed(job: jobs.Job, value: Any) -> None:
            if is_first:
                receiving.cancel()
            succeed(job, value)
            receiving.cancel()

        monkeypatch.setattr(jobs.Job, "_succeed", cancel_and_succeed)

    asyncio.run(main())


def test_an_item_that_was_returned_is_dropped_by_a_reset() -> None:
    _, there = channel[int]()
    there._take_back(7)
    there.reset()
    with pytest.raises(RxClosed):
        there.recv_nowait()


# ------------------------------------------------------------------ sessions


def test_services_have_connections_of_their_own() -> None:
    async def main() -> None:
        handlers = {"one": dispatcher(Works, AsyncioWorks())}
        async with (
            serving("memory://works", handlers) as server,
            connect(server.url) as session,
        ):
            assert session.peer.transport == "memory"
            assert await session.ping() >= 0
            async with session.open(Works, "one") as works:
                assert await works.add(3, 5) == 8
                assert len(session.statistics().connections) == 2
            server.offer("two", dispatcher(Works, AsyncioWorks()))
            works = await session.open(Works, "two")
            assert await works.add(3, 5) == 8
            await aclose(works)
            server.withdraw("two")
            with pytest.raises(roam_trio.SessionRejected):
                await session.open(Works, "two")
            assert repr(session).startswith("<Session open")
            other = await connect(server.url)
            await other.aclose()
            await session.shutdown(1)
            await session.closed()
            with pytest.raises(ConnectionLost):
                await session.ping()
        nothing_is_left()

    asyncio.run(main())


def test_a_handler_calls_its_caller_back() -> None:
    class Calling(AsyncioWorks):
        async def add(self, left: int, right: int) -> int:
            back = client(Works, current_call().connection.caller)
            return await back.half(left + right)

    async def main() -> None:
        async with serving("memory://works", dispatcher(Works, Calling())) as server:
            mine = dispatcher(Works, AsyncioWorks())
            async with connect(server.url, Works, handler=mine) as works:
                assert await works.add(3, 5) == 4
                with pytest.raises(TypeError, match="aclose: expected a client"):
                    await aclose(client(Works, server.sessions[0].caller))
        with pytest.raises(RuntimeError, match=r"connect\(\) makes one"):
            client(Works, server)  # type: ignore[arg-type]

    asyncio.run(main())


def test_a_lasting_client_outlives_its_server() -> None:
    async def main() -> None:
        url = "memory://lasting"
        async with stay_connected(url, Works) as works:
            for _ in range(2):
                async with serving(url, dispatcher(Works, AsyncioWorks())):
                    assert await works.add(3, 5) == 8
                    parts = await with_metadata(works.tenant, {"tenant": "red"})()
                    assert parts.value == "red"
                    assert state(works).phase == "ready"
            assert state(works).phase != "ready"
            with pytest.raises(TimeoutError):
                async with timeout(0.02):
                    await works.add(3, 5)
            with pytest.raises(TypeError, match="stay_connected"):
                state(url)
        nothing_is_left()

    asyncio.run(main())


def test_an_observer_sees_the_sessions() -> None:
    seen: list[str] = []

    class Notes(Observer):
        def session_opened(self, session: object) -> None:
            seen.append("opened")

        def session_closed(self, session: object, because: object) -> None:
            seen.append("closed")

    async def main() -> None:
        async with (
            serving("memory://works", dispatcher(Works, AsyncioWorks())) as server,
            connect(server.url, Works, observer=Notes()) as works,
        ):
            assert await works.add(3, 5) == 8

    asyncio.run(main())
    assert seen == ["opened", "closed"]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("no-url", Works), ValueError),
        (("memory://works", TooLarge), TypeError),
    ],
)
def test_wrong_arguments_are_told_at_once(arguments: Any, error: Any) -> None:
    with pytest.raises(error):
        connect(*arguments)
    with pytest.raises(error):
        stay_connected(*arguments)


def test_a_server_that_is_not_there_is_told_to_the_block() -> None:
    async def main() -> None:
        with pytest.raises(OSError, match="nowhere"):
            async with connect("memory://nowhere", Works):
                pass  # pragma: no cover
        with pytest.raises(OSError, match="nowhere"):
            await connect("memory://nowhere", Works)
        nothing_is_left()

    asyncio.run(main())


# ------------------------------------------------------------------ across


def test_functions_go_from_one_to_the_other_and_back() -> None:
    async def there(number: int) -> int:
        await trio.lowlevel.checkpoint()
        variable.set("there")
        return await in_asyncio(here, number=number)

    async def here(*, number: int) -> int:
        await asyncio.sleep(0)
        assert variable.get() == "there"
        return number

    async def main() -> None:
        assert await in_trio(there, 7) == 7
        assert variable.get() == "nothing"
        nothing_is_left()

    asyncio.run(main())


def test_a_result_that_comes_in_spite_of_a_cancellation_can_be_kept() -> None:
    """It is lost otherwise, as is an error."""

    async def main() -> None:
        run = await guest.acquire()
        kept: list[str] = []
        for function in (finish, fail):
            task = asyncio.create_task(run.run(function, keep=kept.append))
            await asyncio.sleep(0.001)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert kept == ["finished"]
        await run.release()

    async def finish() -> str:
        with trio.CancelScope(shield=True):
            await trio.sleep(0.01)
        return "finished"

    async def fail() -> str:
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError

    asyncio.run(main())


def test_a_function_that_is_cancelled_in_asyncio_by_others_raises_for_trio() -> None:
    async def main() -> None:
        with pytest.raises(CallCancelled, match="the task of asyncio was cancelled"):
            await in_trio(in_asyncio, cancel_itself)

    async def cancel_itself() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)

    asyncio.run(main())


def test_trio_without_asyncio_says_what_is_missing() -> None:
    async def main() -> None:
        with pytest.raises(RuntimeError, match="a server or a client of"):
            await in_asyncio(asyncio.sleep, 0)

    trio.run(main)


@pytest.mark.parametrize("direction", [in_trio, in_asyncio])
def test_an_error_that_comes_across_is_in_no_cycle_of_references(
    direction: Any,
) -> None:
    class Wrong(Exception):
        pass

    async def fail() -> None:
        raise Wrong

    async def main() -> None:
        async with at_work():
            gc.collect()
            gc.disable()
            try:
                for _ in range(3):
                    with contextlib.suppress(Wrong):
                        await (in_trio(in_asyncio, fail) if across else in_trio(fail))
                await asyncio.sleep(0)
                assert not [e for e in gc.get_objects() if isinstance(e, Wrong)]
            finally:
                gc.enable()

    across = direction is in_asyncio
    asyncio.run(main())
