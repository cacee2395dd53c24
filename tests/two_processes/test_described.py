"""A client that has not the classes of a server in another process, over TCP."""

from __future__ import annotations

import sys

import pytest
import trio

from roam_trio import (
    Health,
    HealthState,
    Session,
    UserError,
    connect,
    describe_remote,
    dynamic,
    open_call,
)

from .processes import ListeningProcess, within

SERVER = "tests.two_processes.described"


@within(60)
async def test_a_client_without_the_classes_finds_and_calls_a_service() -> None:
    async with ListeningProcess(SERVER) as server, connect(server.url) as session:
        remote = await describe_remote(session)
        assert SERVER not in sys.modules
        assert list(remote) == ["shop"]
        schema = remote["shop"].schema
        assert schema.doc == "Sells items."
        assert schema.methods[0].doc == "Return the number of the order."

        async with dynamic(session, "shop", remote) as shop:
            item = {"name": "pen", "count": 5}
            assert await shop.call("order", {"item": item, "note": "soon"}) == 9
            with pytest.raises(UserError) as sold_out:
                await shop.call("order", [{"name": "desk", "size": "large"}])
            assert sold_out.value.error == {"name": "desk", "left": 3}
            with pytest.raises(UserError) as wrong:
                await shop.call("paint", ["desk"])
            assert wrong.value.error == "large"

            async with open_call(shop.method("sizes")) as call:
                for size in ("small", "large", "small"):
                    await call.tx.send({"name": "pen", "size": size})
                    assert await call.rx.recv() == size
                call.tx.close()
                assert await call.result() == 3


@within(60)
async def test_a_client_sees_a_server_in_another_process_drain() -> None:
    async def leave_when_it_drains(session: Session) -> None:
        async with (
            session.open(Health) as health,
            open_call(health.watch, "shop") as watch,
        ):
            assert await watch.rx.recv() is HealthState.SERVING
            await server.end()
            assert [state async for state in watch.rx] == [HealthState.DRAINING]

    async with ListeningProcess(SERVER) as server, connect(server.url) as session:
        await leave_when_it_drains(session)
        with trio.fail_after(30):  # the grace is not used up
            await session.closed()
