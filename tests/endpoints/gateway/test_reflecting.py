"""The services behind a gateway, as it tells of them."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest
import trio
from trio.testing import MockClock

from roam_trio import (
    Health,
    HealthState,
    NoReflection,
    Refused,
    Server,
    Tx,
    Unavailable,
    connect,
    describe_remote,
    dispatcher,
    serving,
)
from roam_trio.endpoints.gateway.figures import (
    ROUTES,
    Routes,
    ServerOfRoute,
    offer_figures,
)
from roam_trio.endpoints.gateway.routes import Route
from roam_trio.endpoints.statistics import Statistics
from roam_trio.service.reserved.asking import describe_one
from roam_trio.service.reserved.classes import Reflection
from tests.versions import NewShop, NewUser, OldShop, OldUser, new_shop

from .behind import HERE, Bank, BankImpl, banks, passing_on, shop, to_banks
from .test_serving_clients import identify

TELLING = {"reflection": True}


async def test_services_are_described_by_their_servers() -> None:
    async with (
        banks("a"),
        shop(),
        passing_on(to_banks("a"), Route("shop", "memory://shop"), server=TELLING),
        connect(HERE) as session,
    ):
        remote = await describe_remote(session)
        assert sorted(remote) == ["bank"]
        assert [method.name for method in remote["bank"].schema.methods] == [
            *("where", "wait", "left", "told", "tail", "total", "hold")
        ]
        assert [*remote.undescribed] == ["shop"]  # its server describes nothing
        async with session.open(Health) as health:
            assert await health.state("shop") is HealthState.SERVING


async def test_service_of_the_root_connection_is_described_too() -> None:
    root = dispatcher(Bank, BankImpl("root"))
    async with (
        serving("memory://root", root, reflection=True),
        passing_on(Route("", "memory://root", ["ada"]), server=TELLING),
    ):
        async with connect(HERE) as session:
            with pytest.raises(Refused, match="may not use"):
                await describe_remote(session)
        told = TELLING | {"on_session": identify}
    async with (
        serving("memory://root", root, reflection=True),
        passing_on(Route("", "memory://root", ["ada"]), server=told),
        connect(HERE, metadata={"user": "ada"}) as session,
    ):
        remote = await describe_remote(session)
        assert remote.root is not None
        assert remote.root.schema.name == "Bank"


async def test_services_that_a_client_may_not_use_are_not_told_to_it() -> None:
    told = TELLING | {"on_session": identify}
    async with (
        banks("a"),
        passing_on(to_banks("a", allow=["ada"]), server=told),
        connect(HERE, metadata={"user": "eve"}) as session,
    ):
        assert [*await describe_remote(session)] == []
        with pytest.raises(NoReflection):
            await describe_one(session, "bank")


async def test_service_without_a_server_cannot_be_described_now(
    autojump_clock: MockClock,
) -> None:
    async with (
        passing_on(to_banks("a"), server=TELLING),
        connect(HERE) as session,
    ):
        await trio.sleep(1)
        with pytest.raises(Unavailable) as caught:
            await describe_one(session, "bank")
        assert caught.value.was_begun is False


@pytest.mark.parametrize("schemas", [True, False])
async def test_clients_of_another_version_translate_through_a_gateway(
    schemas: bool,
) -> None:
    behind = serving(
        "memory://versions", {"shop": new_shop()[0]}, schemas=schemas, reflection=True
    )
    async with (
        behind,
        passing_on(Route("shop", "memory://versions"), server=TELLING),
        connect(HERE) as session,
        session.open(NewShop, "shop") as same,
        session.open(OldShop, "shop") as other,
    ):
        assert await same.put("", NewUser(name="ada")) == NewUser("there", "ADA")
        assert await other.put(OldUser("ada"), "") == OldUser("ADA", 3)


# ------------------------------------------------------------ servers


async def test_servers_are_told_by_a_service_of_their_own(
    autojump_clock: MockClock,
) -> None:
    async with (
        banks("a"),
        passing_on(to_banks("a", "b")) as (gate, here),
        connect(HERE) as session,
        session.open(Bank) as teller,
    ):
        assert await teller.where() == "a"
        offer_figures(here, gate)
        async with session.open(Routes, ROUTES) as routes:
            (route,) = await routes.snapshot()
        async with session.open(Statistics) as statistics:
            figures = await statistics.snapshot()
        assert (figures.sessions, figures.busiest[0].connections) == (1, 3)
    assert (route.name, route.phase) == ("bank", "ready")
    up, down = route.servers
    assert up == ServerOfRoute("memory://a", "ready", 1, "")
    assert (down.url, down.connections) == ("memory://b", 0)
    assert "no server listens" in down.error


async def test_figures_are_for_clients_that_may_see_them() -> None:
    async with (
        passing_on(to_banks("a"), server={"on_session": identify}) as (gate, here),
        connect(HERE, metadata={"user": "ops"}) as ops,
        connect(HERE, metadata={"user": "eve"}) as eve,
    ):
        offer_figures(here, gate, ["ops"])
        async with ops.open(Routes, ROUTES) as routes:
            assert len(await routes.snapshot()) == 1
        async with eve.open(Routes, ROUTES) as routes, eve.open(Statistics) as told:
            for snapshot in (routes.snapshot, told.snapshot):
                with pytest.raises(Refused, match="may not see the figures"):
                    await snapshot()


class Leaving:
    """A description during which its server leaves."""

    def __init__(self, parts: int, *, says_so: bool) -> None:
        self.parts = parts
        self.says_so = says_so
        self.server: Server | None = None

    async def services(self) -> list[str]:
        return ["bank"]

    async def describe(self, name: str, parts: Tx[bytes]) -> int:
        for _ in range(self.parts):
            await parts.send(b'{"name": "Bank", "methods": []}')
        if self.says_so:
            raise Unavailable(was_begun=True)
        assert self.server is not None
        for session in self.server.sessions:
            session.root.start_soon(session.shutdown)
        await trio.sleep_forever()
        raise AssertionError(name)


@pytest.fixture
def _no_garbage_is_collected() -> Iterator[None]:
    """A channel that only the collector could free would keep its client waiting."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("_no_garbage_is_collected")
@pytest.mark.parametrize("says_so", [True, False])
@pytest.mark.parametrize("parts", [0, 1])
async def test_description_goes_on_at_no_other_server_once_a_part_is_there(
    parts: int, *, says_so: bool
) -> None:
    leaving = Leaving(parts, says_so=says_so)
    served = {
        "bank": dispatcher(Bank, BankImpl("a")),
        "reflection": dispatcher(Reflection, leaving),
    }
    async with (
        serving("memory://a", served) as leaving.server,
        banks("b", reflection=True),
        passing_on(to_banks("a", "b"), balance="first", server=TELLING),
        connect(HERE) as session,
    ):
        if parts:
            with pytest.raises(Unavailable) as raised:
                await describe_remote(session)
            assert raised.value.was_begun
        else:
            assert sorted(await describe_remote(session)) == ["bank"]
