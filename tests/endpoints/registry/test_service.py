"""Servers announce themselves in a registry, and clients follow it."""

from __future__ import annotations

import logging
import math
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from roam_trio import (
    Address,
    Registry,
    connect,
    dispatcher,
    serve,
    serving,
    state,
    stay_connected,
)
from roam_trio.endpoints.registry.entries import addresses_of
from roam_trio.endpoints.registry.service import (
    SETTLING_SECONDS,
    SPREAD_SECONDS,
    WITHDRAWING_SECONDS,
    RegisteredService,
)
from roam_trio.lowlevel import RegistryEntries
from tests.endpoints.lasting.test_stay_connected import Bank, BankImpl
from tests.endpoints.registry.memory import MemoryEntries, MemoryRegistry


@pytest.fixture
def registry() -> MemoryRegistry:
    return MemoryRegistry()


def bank(name: str, registry: Registry, **options: Any) -> Any:
    """Return a server at ``memory://`` and its name, announced as ``bank``."""
    return serving(
        f"memory://{name}",
        dispatcher(Bank, BankImpl(name)),
        announce=registry.service("bank"),
        **options,
    )


def there(registry: MemoryRegistry, service: str = "bank") -> list[str]:
    """Return the URLs in a registry whose leases have not ended."""
    now = trio.current_time()
    leases = registry.leases[service].items()
    return [a.url for a in addresses_of(t for t, ends in leases if ends > now)[0]]


ENTRY = '{"url": "memory://killed"}'


def with_chance(registry: MemoryRegistry, chance: float) -> RegisteredService:
    """Return a service whose clients draw this number."""
    return RegisteredService(
        "bank",
        partial(registry.open, "bank"),
        registry.lease,
        advertise=(),
        priority=0,
        weight=1,
        chance=lambda: chance,
    )


def warnings(caplog: pytest.LogCaptureFixture, name: str = "roam_trio.registry") -> int:
    return sum(each.name == name for each in caplog.records)


# ---------------------------------------------------------------- servers


async def test_a_server_is_there_from_its_start_until_it_shuts_down(
    autojump_clock: MockClock,
    registry: MemoryRegistry,
) -> None:
    async with bank("a", registry):
        await wait_all_tasks_blocked()
        assert there(registry) == ["memory://a"]
        assert there(registry, "other") == []
        await trio.sleep(100)
        assert there(registry) == ["memory://a"]
        assert registry.connections == 1
    assert there(registry) == []
    assert registry.connections == 0


async def test_a_server_still_takes_clients_while_it_is_withdrawn(
    autojump_clock: MockClock, registry: MemoryRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    paid: list[str] = []
    remove = MemoryEntries.remove

    async def remove_slowly(self: MemoryEntries, texts: Sequence[str]) -> None:
        with trio.CancelScope(shield=True):
            async with connect("memory://a", Bank) as client:
                paid.append(await client.pay(1))
        await remove(self, texts)

    monkeypatch.setattr(MemoryEntries, "remove", remove_slowly)
    async with bank("a", registry):
        await wait_all_tasks_blocked()
    assert paid == ["a1 None"]
    assert there(registry) == []


async def test_a_server_that_is_cancelled_is_withdrawn(
    autojump_clock: MockClock,
    registry: MemoryRegistry,
) -> None:
    async with trio.open_nursery() as nursery:
        handler = dispatcher(Bank, BankImpl())
        service = registry.service("bank")
        await nursery.start(
            lambda **o: serve("memory://a", handler, announce=service, **o)
        )
        await wait_all_tasks_blocked()
        assert there(registry) == ["memory://a"]
        nursery.cancel_scope.cancel()
    assert there(registry) == []


@pytest.mark.parametrize("trouble", ["down", "hangs", "bug"])
async def test_a_server_serves_while_its_registry_is_in_trouble(
    autojump_clock: MockClock,
    registry: MemoryRegistry,
    caplog: pytest.LogCaptureFixture,
    trouble: Any,
) -> None:
    registry.trouble = trouble
    async with bank("a", registry):
        for count in (1, 2):
            await trio.sleep(100)
            assert there(registry) == []
            async with connect("memory://a", Bank) as client:
                assert await client.pay(1) == "a1 None"
            assert warnings(caplog) == count
            registry.trouble = ""
            await trio.sleep(2 * registry.lease)
            assert there(registry) == ["memory://a"]
            registry.trouble = trouble
    assert "a server of bank in <MemoryRegistry> is not announced" in caplog.text
    assert "\x1b" not in caplog.text
    assert ("it is \\x1b[31mdown" in caplog.text) is (trouble == "down")
    assert ("does not answer in time" in caplog.text) is (trouble == "hangs")
    assert ("ZeroDivisionError" in caplog.text) is (trouble == "bug")


async def test_a_registry_that_hangs_holds_up_the_end_of_a_server_for_a_bounded_time(
    autojump_clock: MockClock,
    registry: MemoryRegistry,
) -> None:
    async with bank("a", registry):
        await wait_all_tasks_blocked()
        registry.trouble = "hangs"
        began = trio.current_time()
    assert trio.current_time() - began == pytest.approx(WITHDRAWING_SECONDS)


@pytest.mark.parametrize("trouble", ["down", "bug"])
async def test_a_server_ends_as_cancelled_where_its_registry_fails_to_withdraw_it(
    autojump_clock: MockClock,
    registry: MemoryRegistry,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    trouble: Any,
) -> None:
    caplog.set_level(logging.WARNING, "roam_trio.registry")
    left: list[BaseException | None] = []
    open_ = registry.open

    @asynccontextmanager
    async def noting(service: str) -> AsyncIterator[RegistryEntries]:
        async with open_(service) as entries:
            try:
                yield entries
            except BaseException as error:
                left.append(error)
                raise

    monkeypatch.setattr(registry, "open", noting)
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            service = registry.service("bank")
            nursery.start_soon(service.hold, ["memory://a"])
            await wait_all_tasks_blocked()
            registry.trouble = trouble
            scope.cancel()
    assert scope.cancelled_caught
    assert list(map(type, left)) == [trio.Cancelled]
    [record] = [each for each in caplog.records if each.name == "roam_trio.registry"]
    assert "a server of bank in <MemoryRegistry> could not be withdrawn" in (
        record.getMessage()
    )
    assert record.levelno == logging.WARNING


async def test_a_server_is_withdrawn_where_it_is_cancelled_within_a_group(
    autojump_clock: MockClock, registry: MemoryRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = MemoryEntries.put

    async def put_in_tasks(
        self: MemoryEntries, texts: Sequence[str], seconds: float
    ) -> None:
        await put(self, texts, seconds)
        try:
            await trio.sleep_forever()
        except trio.Cancelled as cancelled:
            raise BaseExceptionGroup("two tasks", [cancelled]) from None

    monkeypatch.setattr(MemoryEntries, "put", put_in_tasks)
    with trio.move_on_after(1) as scope:
        await registry.service("bank").hold(["memory://a"])
    assert scope.cancelled_caught
    assert there(registry) == []


async def test_a_shutdown_that_is_cancelled_has_stopped_listening(
    autojump_clock: MockClock,
    registry: MemoryRegistry,
) -> None:
    async with bank("a", registry) as server:
        await wait_all_tasks_blocked()
        registry.trouble = "hangs"
        with trio.move_on_after(1):
            await server.shutdown()
        with pytest.raises(ConnectionRefusedError):
            async with connect("memory://a", Bank):
                pass


async def test_a_server_is_announced_with_all_of_its_urls_in_several_services(
    autojump_clock: MockClock,
    registry: MemoryRegistry,
) -> None:
    other = registry.service("other", advertise="memory://else", priority=1, weight=2)
    async with serving(
        ["memory://a", "memory://b"],
        dispatcher(Bank, BankImpl()),
        announce=[registry.service("bank"), other],
    ):
        await wait_all_tasks_blocked()
        assert there(registry) == ["memory://a", "memory://b"]
        assert await other.resolve() == [Address("memory://else", 1, 2)]
    assert there(registry) + there(registry, "other") == []


async def test_a_server_withdraws_only_itself(
    autojump_clock: MockClock, registry: MemoryRegistry
) -> None:
    service = registry.service("bank", advertise="tcp://shared:7000")
    handler = dispatcher(Bank, BankImpl())
    async with serving("memory://new", handler, announce=service):
        async with serving("memory://old", handler, announce=service):
            await wait_all_tasks_blocked()
            assert len(registry.leases["bank"]) == 2
            assert there(registry) == ["tcp://shared:7000"]
        assert there(registry) == ["tcp://shared:7000"]
    assert there(registry) == []


async def test_what_cannot_be_announced_is_refused(
    autojump_clock: MockClock, registry: MemoryRegistry
) -> None:
    handler = dispatcher(Bank, BankImpl())
    with pytest.raises(ValueError, match="every address of the machine"):
        await serve("tcp://:0", handler, announce=registry.service("bank"))
    with pytest.raises(TypeError, match=r"registry.service\(name\) returns, got <Mem"):
        await serve("memory://a", handler, announce=registry)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="name: expected the name of a service"):
        registry.service("")
    with pytest.raises(ValueError, match="priority: expected 0 to 65535, got -1"):
        registry.service("bank", priority=-1)
    with pytest.raises(ValueError, match="weight: expected 1 to 65535, got 0"):
        registry.service("bank", weight=0)
    for lease in (0, math.inf, 3601):
        with pytest.raises(ValueError, match="lease: expected"):
            MemoryRegistry(lease=lease)


# ---------------------------------------------------------------- clients


async def test_a_client_follows_servers_that_come_and_go(
    autojump_clock: MockClock,
    registry: MemoryRegistry,
) -> None:
    async with stay_connected(registry.service("bank"), Bank) as client:
        for name in ("a", "b"):
            async with bank(name, registry, reflection=True, grace=5):
                assert await client.pay(1) == f"{name}1 None"


async def test_a_client_hears_of_a_server_soon_if_the_registry_tells(
    autojump_clock: MockClock,
    registry: MemoryRegistry,
) -> None:
    registry.tells = True
    service = registry.service("bank")
    async with bank("a", registry), service.following() as follower:
        await trio.sleep(1)
        assert await follower.resolve() == [Address("memory://a")]
        async with bank("b", registry):
            began = trio.current_time()
            await follower.changed()
            most = SETTLING_SECONDS + SPREAD_SECONDS
            assert trio.current_time() - began <= most + 0.01
            assert len(await follower.resolve()) == 2


async def test_a_client_asks_from_time_to_time_if_the_registry_tells_nothing(
    autojump_clock: MockClock,
    registry: MemoryRegistry,
) -> None:
    registry.tells = False
    service = registry.service("bank")
    async with service.following() as follower:
        assert await follower.resolve() == []
        async with bank("a", registry):
            began = trio.current_time()
            await follower.changed()
            assert trio.current_time() - began <= registry.lease / 2 + SETTLING_SECONDS
            assert await follower.resolve() == [Address("memory://a")]
            registry.asked.clear()
            await trio.sleep(10 * registry.lease)
            assert 18 <= registry.asked.count("read") <= 20


async def test_a_client_asks_in_peace_while_the_registry_tells_of_changes_all_the_time(
    autojump_clock: MockClock, registry: MemoryRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def changed(self: MemoryEntries) -> None:
        await trio.lowlevel.checkpoint()

    monkeypatch.setattr(MemoryEntries, "changed", changed)
    async with with_chance(registry, 0.0).following() as follower:
        await follower.resolve()
        await trio.sleep(10)
    assert registry.asked.count("read") == pytest.approx(10 / SETTLING_SECONDS, rel=0.1)


async def test_clients_do_not_all_read_together_after_a_change(
    autojump_clock: MockClock, registry: MemoryRegistry
) -> None:
    chances = [0.0, 0.25, 0.5, 1.0]
    heard: dict[float, float] = {}

    async def follow(chance: float) -> None:
        async with with_chance(registry, chance).following() as follower:
            await follower.resolve()
            await follower.changed()  # the server has come
            await follower.resolve()
            await follower.changed()  # it has gone, or its lease has ended
            heard[chance] = trio.current_time() - gone_at

    for is_killed in (False, True):
        heard.clear()
        registry.trouble = ""
        async with trio.open_nursery() as nursery:
            for chance in chances:
                nursery.start_soon(follow, chance)
            await wait_all_tasks_blocked()
            if is_killed:
                # Just beyond the lease, but before they would ask anyway.
                gone_at = trio.current_time() + 2.0
                registry.leases["bank"][ENTRY] = gone_at
                registry.changes += 1
                registry.listeners.unpark_all()
            else:
                async with bank("a", registry):
                    await trio.sleep(1)
                gone_at = trio.current_time()
        assert heard == {
            chance: pytest.approx(SETTLING_SECONDS + SPREAD_SECONDS * chance)
            for chance in chances
        }


async def test_clients_hear_of_a_server_within_a_short_lease(
    autojump_clock: MockClock,
) -> None:
    registry = MemoryRegistry(lease=0.3)
    async with with_chance(registry, 1.0).following() as follower:
        assert await follower.resolve() == []
        async with registry.open("bank") as entries:
            await entries.put([ENTRY], registry.lease)
        with trio.fail_after(registry.lease):
            await follower.changed()
        assert await follower.resolve() == [Address("memory://killed")]


async def test_clients_that_ask_from_time_to_time_have_no_reason_to_wait(
    autojump_clock: MockClock, registry: MemoryRegistry
) -> None:
    async with with_chance(registry, 1.0).following() as follower:
        await follower.resolve()
        registry.asked.clear()
        await trio.sleep(10.5 * (registry.lease / 2 + SETTLING_SECONDS))
        assert registry.asked.count("read") == 10


async def test_a_server_that_is_killed_is_gone_when_its_lease_ends(
    autojump_clock: MockClock,
    registry: MemoryRegistry,
) -> None:
    service = registry.service("bank")
    async with service.following() as follower:
        async with bank("a", registry):
            await wait_all_tasks_blocked()
            await trio.sleep(10)
            assert await follower.resolve() == [Address("memory://a")]
            registry.trouble = "down"  # so that nothing is withdrawn
        registry.trouble = ""
        began = trio.current_time()
        while await follower.resolve():
            await follower.changed()
        gone_after = trio.current_time() - began
        assert gone_after <= registry.lease + 2 * SETTLING_SECONDS + SPREAD_SECONDS


@pytest.mark.parametrize("trouble", ["down", "hangs", "bug"])
async def test_a_client_goes_on_while_the_registry_is_in_trouble(
    autojump_clock: MockClock,
    registry: MemoryRegistry,
    caplog: pytest.LogCaptureFixture,
    trouble: Any,
) -> None:
    async with (
        bank("a", registry),
        stay_connected(registry.service("bank"), Bank) as client,
    ):
        assert await client.pay(1) == "a1 None"
        caplog.clear()
        registry.trouble = trouble
        for _ in range(20):
            await trio.sleep(10)
            assert await client.pay(1) == "a1 None"
        told = [each.message for each in caplog.records]
        assert sorted(each[:34] for each in told) == [
            "a server of bank in <MemoryRegistr",
            "the servers of bank in <MemoryRegi",
        ]
        registry.trouble = ""
        async with bank("b", registry):
            await trio.sleep(2 * registry.lease)
            assert there(registry) == ["memory://a", "memory://b"]


async def test_a_client_waits_for_a_registry_and_goes_on_as_soon_as_it_works(
    autojump_clock: MockClock,
    registry: MemoryRegistry,
    caplog: pytest.LogCaptureFixture,
) -> None:
    registry.trouble = "down"
    async with stay_connected(registry.service("bank"), Bank) as client:
        with pytest.raises(trio.TooSlowError), trio.fail_after(100):
            await client.pay(1)
        assert [each.name for each in caplog.records] == ["roam_trio.lasting"]
        assert "the servers of bank in <MemoryRegistry> are unknown" in caplog.text
        registry.trouble = ""
        async with bank("a", registry):
            began = trio.current_time()
            assert await client.pay(1) == "a1 None"
            assert trio.current_time() - began <= 2 * registry.lease


async def test_bad_entries_are_left_out_with_one_warning(
    autojump_clock: MockClock,
    registry: MemoryRegistry,
    caplog: pytest.LogCaptureFixture,
) -> None:
    service = registry.service("bank")
    async with bank("a", registry), stay_connected(service, Bank) as client:
        leases = registry.leases["bank"]
        leases |= {"\x1b[31mbad": math.inf, "worse": math.inf}
        for _ in range(3):
            assert await client.pay(1) == "a1 None"
            await trio.sleep(registry.lease)
        assert warnings(caplog) == 1
        assert "2 entries are left out" in caplog.text
        assert "bad" not in caplog.text
        del leases["\x1b[31mbad"], leases["worse"]
        await trio.sleep(registry.lease)
        leases["again"] = math.inf
        await trio.sleep(registry.lease)
        assert warnings(caplog) == 2


async def test_a_url_that_a_client_cannot_use_is_a_server_that_cannot_be_reached(
    autojump_clock: MockClock,
    registry: MemoryRegistry,
    caplog: pytest.LogCaptureFixture,
) -> None:
    service = registry.service("bank")
    registry.leases["bank"]['{"url": "tcp://no-port"}'] = math.inf
    async with stay_connected(service, Bank) as client, bank("a", registry):
        await trio.sleep(1)
        assert await client.pay(1) == "a1 None"
    assert caplog.text.count("no session with tcp://no-port") == 1


async def test_a_registry_cannot_make_a_client_do_without_tls(
    autojump_clock: MockClock, registry: MemoryRegistry
) -> None:
    service = registry.service("bank")
    context = ssl.create_default_context()
    async with (
        bank("a", registry),
        stay_connected(service, Bank, ssl_context=context) as client,
    ):
        with trio.move_on_after(60) as scope:
            await client.pay(1)
        assert scope.cancelled_caught
        (endpoint,) = state(client).endpoints
        assert "ssl_context was given, but no TLS is spoken" in str(endpoint.error)


async def test_one_question_has_an_answer_or_fails(
    autojump_clock: MockClock, registry: MemoryRegistry
) -> None:
    service = registry.service("bank")
    assert repr(service) == "<RegisteredService bank in <MemoryRegistry>>"
    async with bank("a", registry):
        await service.changed()
        assert trio.current_time() == registry.lease / 2
        assert await service.resolve() == [Address("memory://a")]
        registry.trouble = "bug"
        with pytest.raises(OSError, match="are unknown: a bug"):
            await service.resolve()
        registry.trouble = "hangs"
        with pytest.raises(OSError, match="are unknown: it does not answer in time"):
            await service.resolve()


async def test_a_registry_need_not_tell_of_changes(autojump_clock: MockClock) -> None:
    with pytest.raises(trio.TooSlowError), trio.fail_after(10):
        await RegistryEntries.changed(MemoryEntries(MemoryRegistry(), {}))
