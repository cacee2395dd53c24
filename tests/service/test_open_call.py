"""Calls with channels for the length of a block."""

from __future__ import annotations

import enum
from contextlib import suppress
from typing import Annotated, Any, Protocol

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from roam_trio import (
    AnyCall,
    CallCancelled,
    Credit,
    Fallible,
    Proceed,
    Rx,
    Tx,
    TxReset,
    UserError,
    channel,
    client,
    open_call,
    service,
    u8,
    u32,
    with_metadata,
)
from roam_trio.testing import connected_pair
from tests.session.test_garbage import left_behind


class Wrong(enum.Enum):
    WRONG = "Wrong"


@service
class Calc(Protocol):
    async def count(self, upto: u32, out: Tx[u32]) -> u32: ...
    async def total(self, items: Rx[u32]) -> Fallible[u32, Wrong]: ...
    async def double(self, items: Rx[u32], out: Tx[u32]) -> None: ...
    async def merge(
        self, left: Rx[u32], scale: u8, right: Annotated[Rx[u32], Credit(2)]
    ) -> u32: ...
    async def scaled(self, *, by: u8 = 2, items: Rx[u32]) -> u32: ...
    async def hang(self, items: Rx[u32]) -> u32: ...
    async def plain(self, value: u8) -> u8: ...


class Impl:
    def __init__(self) -> None:
        self.running = 0

    async def count(self, upto: u32, out: Tx[u32]) -> u32:
        async with out:
            for value in range(upto):
                await out.send(value)
        return upto

    async def total(self, items: Rx[u32]) -> Fallible[u32, Wrong]:
        total = 0
        async for item in items:
            if item == 1313:
                raise UserError(Wrong.WRONG)
            total += item
        return total

    async def double(self, items: Rx[u32], out: Tx[u32]) -> None:
        async with out:
            async for item in items:
                await out.send(2 * item)

    async def merge(self, left: Rx[u32], scale: u8, right: Rx[u32]) -> u32:
        total = 0
        async for item in left:
            total += scale * item
        async for item in right:
            total += item
        return total

    async def scaled(self, *, by: u8 = 2, items: Rx[u32]) -> u32:
        return by * sum([item async for item in items])

    async def hang(self, items: Rx[u32]) -> u32:
        self.running += 1
        try:
            await trio.sleep_forever()
        finally:
            self.running -= 1
        return 0

    async def plain(self, value: u8) -> u8:
        return value


def connected() -> Any:
    return connected_pair(Calc, Impl())


async def test_items_are_received_and_then_the_result() -> None:
    async with connected() as calc, open_call(calc.count, 100) as call:
        assert [n async for n in call.rx] == list(range(100))
        assert await call.result() == 100
        assert await call.result() == 100


async def test_items_are_sent_and_the_end_of_the_block_closes_the_channel() -> None:
    async with connected() as calc:
        async with open_call(calc.total) as call:
            for value in range(50):
                await call.tx.send(value)
        assert await call.result() == sum(range(50))


async def test_items_go_both_ways() -> None:
    async with connected() as calc, open_call(calc.double) as call:
        for value in range(40):
            await call.tx.send(value)
            assert await call.rx.recv() == 2 * value


async def test_several_channels_are_found_by_the_names_of_the_arguments() -> None:
    async with connected() as calc, open_call(calc.merge, 10) as call:
        left, right = call.channels["left"], call.channels["right"]
        await left.send(1)
        left.close()
        await right.send(2)
        right.close()
        assert await call.result() == 12
        with pytest.raises(LookupError, match=r"got 2: .*left, right"):
            _ = call.tx
        with pytest.raises(LookupError, match="got 0"):
            _ = call.rx


async def test_a_channel_that_is_given_is_not_made() -> None:
    async with connected() as calc:
        tx, items = channel[u32]()
        out, rx = channel[u32]()
        async with open_call(calc.double, items, out) as call:
            assert call.channels == {}
            await tx.send(1)
            assert await rx.recv() == 2
            tx.close()
        tx, items = channel[u32]()
        async with open_call(calc.merge, 3, right=items) as call:
            await call.tx.send(5)
            call.tx.close()
            tx.close()
            assert await call.result() == 15


async def test_arguments_by_name_and_defaults_are_filled_in() -> None:
    async with connected() as calc:
        async with open_call(calc.scaled) as call:
            await call.tx.send(5)
            call.tx.close()
            assert await call.result() == 10
        async with open_call(calc.scaled, by=3) as call:
            await call.tx.send(5)
        assert await call.result() == 15
        async with open_call(calc.count, upto=2) as call:
            assert [n async for n in call.rx] == [0, 1]


async def test_metadata_goes_with_the_call() -> None:
    async with (
        connected() as calc,
        open_call(with_metadata(calc.count, {"a": 1}), 2) as call,
    ):
        assert [n async for n in call.rx] == [0, 1]
        assert (await call.result()).value == 2


async def test_a_call_without_channels_is_a_call() -> None:
    async with connected() as calc, open_call(calc.plain, 3) as call:
        assert call.channels == {}
        assert await call.result() == 3


# ---------------------------------------------------------------- errors


async def test_the_error_of_the_method_comes_plainly_from_the_result() -> None:
    async with connected() as calc, open_call(calc.total) as call:
        await call.tx.send(1313)
        with pytest.raises(UserError) as caught:
            await call.result()
    assert caught.value.error is Wrong.WRONG


async def test_the_error_of_the_method_comes_plainly_at_the_end_of_the_block() -> None:
    async with connected() as calc:
        with pytest.raises(UserError) as caught:
            async with open_call(calc.total) as call:
                await call.tx.send(1313)
    assert caught.value.error is Wrong.WRONG


async def test_the_error_of_the_method_takes_the_place_of_that_of_its_channel() -> None:
    async with connected() as calc:

        async def run() -> None:
            async with open_call(calc.total) as call:
                await call.tx.send(1313)
                await wait_all_tasks_blocked()
                await call.tx.send(1)

        with pytest.raises(UserError) as caught:
            await run()
    assert isinstance(caught.value.__cause__, TxReset)


async def test_an_exception_of_the_block_passes_and_cancels_the_call() -> None:
    handler = Impl()
    async with connected_pair(Calc, handler) as calc:
        call = open_call(calc.hang)

        async def run() -> None:
            async with call:
                await wait_all_tasks_blocked()
                assert handler.running == 1
                raise KeyError("mine")

        with pytest.raises(KeyError, match="mine"):
            await run()
        await wait_all_tasks_blocked()
        assert handler.running == 0
        with pytest.raises(RuntimeError, match="was cancelled, so it has no result"):
            await call.result()


async def test_call_that_its_block_cancels_ends_with_its_handler() -> None:
    handler = Impl()
    async with connected_pair(Calc, handler) as calc:
        async with open_call(calc.hang) as call:
            await wait_all_tasks_blocked()
            assert handler.running == 1
            call.cancel()
            with pytest.raises(RuntimeError, match="was cancelled"):
                await call.result()
        assert handler.running == 0


@pytest.mark.parametrize("where", ["result", "end", "channel", "channel by result"])
async def test_a_call_that_fails_leaves_nothing_to_the_garbage_collector(
    where: str,
) -> None:
    async def run() -> None:
        async with connected() as calc:
            with suppress(UserError):
                async with open_call(calc.total) as call:
                    await call.tx.send(1313)
                    await wait_all_tasks_blocked()
                    if where == "channel":
                        await call.tx.send(1)
                    if where == "result":
                        await call.result()
                    if where == "channel by result":
                        try:
                            await call.tx.send(1)
                        except TxReset:
                            await call.result()

    assert await left_behind(run) == {}


async def test_a_call_that_has_failed_has_no_result_after_its_block() -> None:
    async with connected() as calc:
        call = open_call(calc.total)
        with pytest.raises(UserError):
            async with call:
                await call.tx.send(1313)
        with pytest.raises(RuntimeError, match="has failed, and its block is over"):
            await call.result()


async def test_call_that_has_ended_is_not_cancelled() -> None:
    async with connected() as calc, open_call(calc.plain, 3) as call:
        await wait_all_tasks_blocked()
        call.cancel()
        assert await call.result() == 3


async def test_an_exception_of_the_block_is_not_masked_by_that_of_the_method() -> None:
    async with connected() as calc:

        async def run() -> None:
            async with open_call(calc.total) as call:
                await call.tx.send(1313)
                await wait_all_tasks_blocked()
                raise KeyError("mine")

        with pytest.raises(KeyError, match="mine"):
            await run()


async def test_what_ends_programs_is_not_hidden_by_what_the_block_raises() -> None:
    async def strike(call: AnyCall, proceed: Proceed) -> Any:
        try:
            return await proceed()
        finally:
            raise KeyboardInterrupt

    handler = Impl()
    pair = connected_pair(Calc, handler)

    async def run() -> None:
        calc = client(Calc, pair.client_session.caller, middleware=[strike])
        async with open_call(calc.hang):
            await wait_all_tasks_blocked()
            raise KeyError("mine")

    async with pair:
        with pytest.raises(BaseExceptionGroup) as caught:
            await run()
        assert list(map(type, caught.value.exceptions)) == [KeyError, KeyboardInterrupt]
        await wait_all_tasks_blocked()
        assert handler.running == 0


async def test_a_cancelled_block_cancels_the_call(
    autojump_clock: trio.testing.MockClock,
) -> None:
    handler = Impl()
    async with connected_pair(Calc, handler) as calc:
        with trio.move_on_after(1) as scope:
            async with open_call(calc.hang):
                await trio.sleep_forever()
        assert scope.cancelled_caught
        await wait_all_tasks_blocked()
        assert handler.running == 0


async def test_a_call_that_is_cancelled_at_the_end_of_its_block_ends(
    autojump_clock: trio.testing.MockClock,
) -> None:
    handler = Impl()
    async with connected_pair(Calc, handler) as calc:
        with trio.move_on_after(1) as scope:
            async with open_call(calc.hang):
                pass
        assert scope.cancelled_caught
        await wait_all_tasks_blocked()
        assert handler.running == 0


async def test_cancelling_the_wait_for_the_result_leaves_the_call(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with connected() as calc, open_call(calc.total) as call:
        with trio.move_on_after(1):
            await call.result()
        await call.tx.send(4)
        call.tx.close()
        assert await call.result() == 4


async def test_leaving_before_the_last_item_ends_the_call_without_an_error() -> None:
    async with connected() as calc:
        async with open_call(calc.count, 10_000) as call:
            assert await call.rx.recv() == 0
        assert call.channels["out"] is call.rx


async def test_a_failure_after_all_items_is_an_error() -> None:
    class Failing(Impl):
        async def count(self, upto: u32, out: Tx[u32]) -> u32:
            await super().count(upto, out)
            raise ValueError

    async with connected_pair(Calc, Failing()) as calc:
        with pytest.raises(CallCancelled):
            async with open_call(calc.count, 3) as call:
                assert [n async for n in call.rx] == [0, 1, 2]


async def test_a_call_that_cannot_be_made_fails_plainly() -> None:
    async with connected() as calc:
        with pytest.raises(Exception, match="expected") as caught:
            async with open_call(calc.count, "text") as call:
                await call.rx.recv()
        assert not isinstance(caught.value, BaseExceptionGroup)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda calc: open_call(calc.count),
        lambda calc: open_call(calc.count, 1, 2, 3),
        lambda calc: open_call(calc.plain),
        lambda calc: open_call(calc.count, 1, size=3),
        lambda calc: open_call(Impl().count, 1),
        lambda calc: open_call(print),
    ],
)
async def test_arguments_that_do_not_fit_are_refused_at_once(wrong: Any) -> None:
    async with connected() as calc:
        with pytest.raises(TypeError, match="open_call: "):
            wrong(calc)


async def test_a_call_is_opened_once() -> None:
    async with connected() as calc:
        async with open_call(calc.plain, 1) as call:
            assert "open" in repr(call)
        assert "ended" in repr(call)
        with pytest.raises(RuntimeError, match="open another"):
            async with call:
                pass
