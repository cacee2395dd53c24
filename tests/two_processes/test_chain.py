"""A client here, a proxy in one process and a server in another, over TCP.

Whatever a client and a server say to each other passes unchanged: neither can tell that
there is a proxy between them, which does not know their services.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from types import TracebackType

import pytest
import trio

from roam_trio import (
    CallCancelled,
    IncompatibleService,
    Metadata,
    MetadataEntry,
    MetadataFlags,
    Session,
    SessionRejected,
    Tx,
    TxReset,
    UnknownMethod,
    channel,
    client,
    connect,
    describe,
    with_metadata,
)
from roam_trio.codec import INVALID_PAYLOAD
from roam_trio.wire.messages import joined

from .chain import Judge, Refusal
from .processes import ListeningProcess, within
from .volumes import calls, echoes, items
from .workshop import Workshop

CHAIN = "tests.two_processes.chain"


class Chain:
    """``async with Chain() as session:`` a session with the proxy."""

    async def __aenter__(self) -> Session:
        async with AsyncExitStack() as stack:
            server = await stack.enter_async_context(ListeningProcess(CHAIN))
            proxy = await stack.enter_async_context(ListeningProcess(CHAIN, server.url))
            session = await stack.enter_async_context(connect(proxy.url))
            self._ends = stack.pop_all()
        return session

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._ends.__aexit__(exc_type, exc, traceback)


@within(60)
@pytest.mark.rule("rpc.error.scope", "rpc.unknown-method")
async def test_answers_of_every_kind_pass_a_proxy() -> None:
    async with Chain() as session, session.open(Judge) as judge:
        assert await judge.judge(84) == 42
        with pytest.raises(Refusal) as refused:
            await judge.judge(7)
        assert (refused.value.number, refused.value.why) == (7, "7 is odd")
        judge_id = describe(Judge).methods[0].id
        with pytest.raises(IncompatibleService, match="does not have the method"):
            async with session.open(Workshop, "judge"):
                pass
        connection = await session.open_connection(metadata={"service": "judge"})
        async with connection:
            with pytest.raises(UnknownMethod):
                await client(Workshop, connection.caller).add(1, 2)
            response = await connection.caller.call(judge_id, b"\xff" * 6)
            assert bytes(joined(response.ret)) == INVALID_PAYLOAD
        async with session.open(Workshop, "silent") as silent:
            with pytest.raises(CallCancelled):
                await silent.add(1, 2)
        assert await judge.judge(6) == 3
        with pytest.raises(SessionRejected, match="'other' is not one of the services"):
            async with session.open(Workshop, "other"):
                pass


@pytest.mark.slow
@within(60)
@pytest.mark.rule("rpc.metadata.flags", "rpc.metadata.duplicates")
async def test_metadata_passes_a_proxy_but_for_what_is_not_to_propagate() -> None:
    unknown = MetadataFlags(1 << 40)
    sent = Metadata(
        (
            MetadataEntry("tag", "one"),
            MetadataEntry("tag", "two"),
            MetadataEntry("token", b"secret", MetadataFlags.SENSITIVE),
            MetadataEntry("hop", 1, MetadataFlags.NO_PROPAGATE),
            MetadataEntry("new", 7, unknown),
        )
    )
    passed = Metadata(entry for entry in sent if entry.key != "hop")
    async with Chain() as session, session.open(Judge) as judge:
        parts = await with_metadata(judge.greet, sent)()
    # Each hop writes the time that is left to the call, here that of the test.
    *others, deadline = parts.value
    assert others == [f"{e.key}={e.value!r} flags {e.flags}" for e in passed]
    assert deadline.startswith("request-deadline=")
    assert parts.metadata == passed


async def send_for_ever(tx: Tx[int]) -> None:
    while True:
        await tx.send(1)


@within(60)
@pytest.mark.rule("rpc.cancel", "rpc.channel.reset", "rpc.flow-control.credit.grant")
async def test_cancellation_credit_and_resets_pass_a_proxy() -> None:
    async with Chain() as session, session.open(Workshop) as workshop:
        begun, has_begun = channel[bool]()
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:

                async def cancel() -> None:
                    assert await has_begun.recv()
                    scope.cancel()

                nursery.start_soon(cancel)
                await workshop.wait_visibly(begun)
        assert scope.cancelled_caught
        await workshop.until_waiting(0)  # the handler there was cancelled
        async with session.open(Judge) as judge:
            upward, taken = channel[int]()
            given, downward = channel[int]()
            counts: list[int] = []

            async def mirror() -> None:
                counts.append(await judge.mirror(taken, given))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(mirror)
                for number in (1, 2, 3):
                    await upward.send(number)
                    assert await downward.recv() == number
                await upward.send(0)
                with pytest.raises(trio.EndOfChannel):
                    await downward.recv()
                with pytest.raises(TxReset):  # within its credit, if not at once
                    await send_for_ever(upward)
            assert counts == [3]


@pytest.mark.slow
@within(60)
async def test_calls_items_and_blocks_pass_a_proxy_beside_each_other() -> None:
    async with (
        Chain() as session,
        session.open(Workshop) as workshop,
        session.open(Workshop) as another,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(calls, workshop, 100)
        nursery.start_soon(items, workshop, 1000)
        nursery.start_soon(echoes, another, 4)
        nursery.start_soon(items, another, 1000)


@pytest.mark.slow
@within(600)
async def test_100_000_items_each_way_pass_a_proxy_in_order() -> None:
    async with Chain() as session, session.open(Workshop) as workshop:
        await items(workshop, 100_000)


@pytest.mark.slow
@within(600)
async def test_10_000_calls_pass_a_proxy() -> None:
    async with Chain() as session, session.open(Workshop) as workshop:
        await calls(workshop, 10_000)
