"""There is one run of trio for each loop, and it ends with its last user."""

from __future__ import annotations

import asyncio
import gc
import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import trio

from roam_trio import ConnectionLost, Observer
from roam_trio.contrib.asyncio import (
    aclose,
    channel,
    connect,
    dispatcher,
    guest,
    in_trio,
    serving,
    turns,
)

from .works import AsyncioWorks, Works, at_work, nothing_is_left, until

URL = "memory://works"


def handler() -> Any:
    return dispatcher(Works, AsyncioWorks())


def check_trio_can_run() -> None:
    trio.run(trio.lowlevel.checkpoint)


def test_clients_and_servers_of_a_loop_share_one_run() -> None:
    async def main() -> None:
        tokens = set()
        async with at_work():
            for _ in range(2):
                tokens.add(await in_trio(token))
            async with at_work(url="memory://others"):
                tokens.add(await in_trio(token))
            assert guest.guest_of_loop() is not None
        nothing_is_left()
        assert len(tokens) == 1
        tokens.add(await in_trio(token))
        assert len(tokens) == 2
        nothing_is_left()

    async def token() -> object:
        return trio.lowlevel.current_trio_token()

    asyncio.run(main())
    check_trio_can_run()


def test_a_run_that_is_ending_is_not_used_again() -> None:
    async def main() -> None:
        async def once() -> None:
            for _ in range(5):
                async with at_work(url=f"memory://{id(asyncio.current_task())}") as all:
                    assert await all[0].add(3, 5) == 8

        await asyncio.gather(*(once() for _ in range(5)))
        nothing_is_left()

    asyncio.run(main())


def test_a_user_that_comes_while_a_run_ends_begins_another() -> None:
    async def main() -> None:
        run = await guest.acquire()
        ending = asyncio.create_task(run.release())
        await asyncio.sleep(0)
        other = await guest.acquire()
        assert other is not run
        assert ending.done()
        await other.release()
        nothing_is_left()

    asyncio.run(main())


def test_what_still_runs_when_the_last_user_leaves_is_lost() -> None:
    """It is cancelled in trio, but its task in asyncio is not."""

    async def main() -> None:
        run = await guest.acquire()
        running = asyncio.create_task(run.run(trio.sleep_forever))
        await asyncio.sleep(0.001)
        await run.release()
        with pytest.raises(ConnectionLost, match="with its run of trio"):
            await running
        nothing_is_left()

    asyncio.run(main())


def test_a_user_that_is_cancelled_while_a_run_begins_ends_it() -> None:
    async def main() -> None:
        beginning = asyncio.create_task(guest.acquire())
        await asyncio.sleep(0)
        beginning.cancel()
        with pytest.raises(asyncio.CancelledError):
            await beginning
        nothing_is_left()

    asyncio.run(main())


def test_loops_in_threads_have_runs_of_their_own() -> None:
    async def main(number: int) -> None:
        async with at_work(url=f"memory://{number}") as (works, _):
            both.wait(timeout=60)  # and the other loop runs too
            assert await works.add(number, 5) == number + 5
            both.wait(timeout=60)
        nothing_is_left()
        done.append(number)

    both = threading.Barrier(2)
    done: list[int] = []
    threads = [
        threading.Thread(target=lambda n=n: asyncio.run(main(n))) for n in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(done) == [0, 1]


def test_a_client_in_another_loop_says_so() -> None:
    async def main() -> None:
        async with at_work() as (works, _):
            with pytest.raises(RuntimeError, match="one of another loop"):
                await asyncio.to_thread(lambda: asyncio.run(works.add(3, 5)))  # type: ignore[arg-type]

    asyncio.run(main())


def test_trio_that_runs_in_the_thread_already_says_so() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        ended = loop.create_future()
        trio.lowlevel.start_guest_run(
            stay,
            run_sync_soon_threadsafe=loop.call_soon_threadsafe,
            done_callback=ended.set_result,
            host_uses_signal_set_wakeup_fd=True,
        )
        with pytest.raises(RuntimeError, match="trio runs in this thread already"):
            await connect(URL, Works)
        scope.cancel()
        await ended

    async def stay() -> None:
        with scope:
            await trio.sleep_forever()

    scope = trio.CancelScope()
    asyncio.run(main())


# ------------------------------------------------------------------ notebooks


def test_the_cells_of_a_notebook_are_tasks_of_their_own() -> None:
    """As IPython has it at a terminal: a loop that only runs while a cell does."""
    loop = asyncio.new_event_loop()
    names: dict[str, Any] = {}

    async def serve() -> None:
        names["server"] = await serving("tcp://127.0.0.1:0", handler())

    async def open_client() -> None:
        names["works"] = await connect(names["server"].url, Works)

    async def call() -> None:
        assert await names["works"].add(3, 5) == 8

    async def close() -> None:
        await aclose(names["works"])
        await aclose(names["works"])
        await names["server"].aclose()
        nothing_is_left()

    try:
        for cell in (serve, open_client, call, call, close, serve, open_client, call):
            loop.run_until_complete(cell())
        loop.run_until_complete(close())
    finally:
        loop.close()
    check_trio_can_run()


def test_a_block_is_entered_once_at_a_time() -> None:
    async def main() -> None:
        async with at_work() as (_, server):
            opening = connect(server.url, Works)
            async with opening as works:
                assert await works.add(3, 5) == 8
                with pytest.raises(RuntimeError, match="a client is in use already"):
                    await opening.__aenter__()
            async with opening as works:
                assert await works.add(3, 5) == 8

    asyncio.run(main())


def test_a_block_that_others_are_entering_is_in_use() -> None:
    async def main() -> None:
        async with at_work() as (_, server):
            opening = connect(server.url, Works)
            entering = asyncio.create_task(opening.__aenter__())
            await asyncio.sleep(0)
            with pytest.raises(RuntimeError, match="a client is in use already"):
                await opening.__aenter__()
            entering.cancel()
            with pytest.raises(asyncio.CancelledError):
                await entering
            async with opening as works:  # it was not entered
                assert await works.add(3, 5) == 8

    asyncio.run(main())


# ------------------------------------------------------------------ ends


def with_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let trio wait in a thread, as if its epoll were not to be found."""
    monkeypatch.setattr(turns, "_EPOLL", "not_there")


@contextmanager
def warned(count: int = 1) -> Iterator[None]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ResourceWarning)
        yield
        gc.collect()
    texts = [str(each.message) for each in caught]
    assert len([text for text in texts if "closed" in text]) == count, texts


def test_a_client_that_is_dropped_is_closed_with_a_warning() -> None:
    closed: list[object] = []

    class Notes(Observer):
        def session_closed(self, session: object, because: object) -> None:
            closed.append(because)

    async def main() -> None:
        async with serving(URL, handler()):
            works = await connect(URL, Works, observer=Notes())
            assert await works.add(3, 5) == 8
            with warned():
                del works
            await until(lambda: closed)
        nothing_is_left()

    asyncio.run(main())


def test_a_program_that_ends_closes_what_it_has_left_with_a_warning() -> None:
    async def main() -> None:
        kept.append(await serving(URL, handler()))
        kept.append(await connect(URL, Works))
        assert await kept[1].add(3, 5) == 8

    kept: list[Any] = []
    with warned(2):
        asyncio.run(main())
    check_trio_can_run()


def test_a_task_that_ends_with_the_program_leaves_its_block() -> None:
    async def main() -> None:
        tasks.append(asyncio.create_task(use()))
        await in_use.wait()

    async def use() -> None:
        async with at_work() as (works, _):
            in_use.set()
            await works.wait()

    tasks: list[object] = []
    in_use = asyncio.Event()
    asyncio.run(main())
    check_trio_can_run()


@pytest.mark.parametrize("with_handler", [False, True])
@pytest.mark.parametrize("in_thread", [False, True])
def test_a_loop_that_is_closed_ends_its_run_with_a_warning(
    with_handler: bool, in_thread: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if in_thread:
        with_thread(monkeypatch)
    monkeypatch.setattr(guest, "_A_DAY", 0.001)

    async def begin() -> None:
        kept.append(await serving("tcp://127.0.0.1:0", dispatcher(Works, works)))
        kept.append(await connect(kept[0].url, Works))
        assert await kept[1].add(3, 5) == 8
        if with_handler:
            kept.append(asyncio.ensure_future(kept[1].wait()))
            await until(lambda: works.waiting)
        await asyncio.sleep(0.01)  # some of those days

    works = AsyncioWorks()
    kept: list[Any] = []
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda *_: None)  # of tasks that are destroyed
    loop.run_until_complete(begin())
    with warned():
        loop.close()
        check_trio_can_run()
        for task in kept[2:]:
            task._log_destroy_pending = False
        kept.clear()


def test_control_c_closes_blocks_before_it_goes_on() -> None:
    async def main() -> None:
        async with at_work() as (works, _):
            asyncio.get_running_loop().call_soon(signal.raise_signal, signal.SIGINT)
            try:
                await works.wait()
            finally:
                assert await works.add(3, 5) == 8
        ended.append(1)  # pragma: no cover

    ended: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        asyncio.run(main())
    assert not ended
    check_trio_can_run()


def test_an_exception_that_ends_programs_comes_through() -> None:
    async def main() -> None:
        await in_trio(stop)

    async def stop() -> None:
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        asyncio.run(main())
    check_trio_can_run()


def test_opening_that_is_cancelled_leaves_nothing() -> None:
    async def main() -> None:
        async with serving(URL, handler()):
            for steps in range(12):
                opening = asyncio.create_task(open_and_close())
                for _ in range(steps):
                    await asyncio.sleep(0)
                opening.cancel()
                await asyncio.wait({opening})
        nothing_is_left()

    async def open_and_close() -> None:
        async with connect(URL, Works):
            pass

    asyncio.run(main())


def test_work_is_cancelled_at_every_step_and_leaves_nothing() -> None:
    """The work uses all of it: a server, a client, calls, channels and both ends."""

    async def main() -> None:
        finished = steps = 0
        while finished < 3:
            task = asyncio.create_task(work())
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait({task})
            if not task.cancelled():
                assert task.result() == 8
                finished += 1
            nothing_is_left()
            steps += 1
        assert steps > 25

    async def work() -> int:
        async with at_work() as (works, _):
            tx, rx = channel[int]()
            async with asyncio.TaskGroup() as tasks:
                total = tasks.create_task(works.total(numbers=rx))
                async with tx:
                    await tx.send(3)
                    await tx.send_many([5])
            del rx
            return total.result()

    asyncio.run(main())


# ------------------------------------------------------------------ turns


def test_where_trio_waits_otherwise_it_waits_in_a_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def main() -> None:
        async with at_work(url="tcp://127.0.0.1:0") as (works, _):
            run = guest.guest_of_loop()
            assert run is not None
            assert run.turns.waits_in_thread
            assert await works.add(3, 5) == 8
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await works.wait()
            assert await works.add(3, 5) == 8
        nothing_is_left()

    with_thread(monkeypatch)
    asyncio.run(main())
    monkeypatch.undo()
    monkeypatch.setattr("trio.__version__", "0.99.0+dev")  # what it does is not known
    asyncio.run(main())


def test_a_loop_that_cannot_wait_for_descriptors_has_a_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class NoReaders(asyncio.SelectorEventLoop):
        def add_reader(self, fd: Any, callback: Any, *args: Any) -> Any:
            raise NotImplementedError

    async def main() -> None:
        async with at_work() as (works, _):
            run = guest.guest_of_loop()
            assert run is not None
            assert run.turns.waits_in_thread
            assert await works.add(3, 5) == 8

    with asyncio.Runner(loop_factory=NoReaders) as runner:
        runner.run(main())


def test_no_thread_is_started_where_trio_waits_by_epoll() -> None:
    async def main() -> None:
        async with at_work(url="tcp://127.0.0.1:0") as (works, _):
            run = guest.guest_of_loop()
            assert run is not None
            assert not run.turns.waits_in_thread
            assert await works.add(3, 5) == 8
            assert threading.active_count() == before

    before = threading.active_count()
    asyncio.run(main())


def test_what_tells_trio_by_itself_is_not_missed() -> None:
    """Such as an event that is set in asyncio, and a timer of trio alone."""

    async def main() -> None:
        event = trio.Event()
        waiting = asyncio.create_task(in_trio(event.wait))
        for _ in range(10):
            await asyncio.sleep(0)
        event.set()
        await waiting
        await in_trio(trio.sleep, 0.01)
        assert await in_trio(trio.to_thread.run_sync, threading.get_ident)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(in_trio(trio.sleep_forever), 0.01)

    asyncio.run(main())


def test_a_timer_is_put_off_and_brought_forward() -> None:
    async def main() -> None:
        sleeping = [
            asyncio.create_task(in_trio(trio.sleep, seconds))
            for seconds in (3600.0, 0.02, 0.01, 0.03)
        ]
        done, _ = await asyncio.wait(sleeping[1:])
        assert len(done) == 3
        sleeping[0].cancel()
        await asyncio.wait(sleeping)

    asyncio.run(main())


def test_busy_trio_leaves_time_to_asyncio() -> None:
    async def main() -> None:
        spinning = asyncio.create_task(in_trio(spin))
        for _ in range(10):
            await asyncio.sleep(0)
        assert 10 <= len(turns_of_trio) <= 10 * 20
        spinning.cancel()
        await asyncio.wait({spinning})

    async def spin() -> None:
        while True:
            turns_of_trio.append(1)
            await trio.lowlevel.checkpoint()

    turns_of_trio: list[int] = []
    asyncio.run(main())


@pytest.mark.parametrize(("at_once", "most_turns"), [(1, 4.0), (64, 0.25)])
def test_calls_take_few_turns_of_trio(
    at_once: int, most_turns: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Calls in flight share their turns."""
    from_here = turns.Turns.from_here
    counted: list[None] = []

    def count(self: turns.Turns, turn: Any) -> None:
        counted.append(None)
        from_here(self, turn)

    async def main() -> None:
        async with at_work() as (works, _):

            async def call() -> None:
                for number in range(calls // at_once):
                    assert await works.add(number, 5) == number + 5

            await call()
            counted.clear()
            async with asyncio.TaskGroup() as tasks:
                for _ in range(at_once):
                    tasks.create_task(call())
        assert len(counted) <= most_turns * calls + 20  # for the end

    calls = 640
    monkeypatch.setattr(turns.Turns, "from_here", count)
    asyncio.run(main())
