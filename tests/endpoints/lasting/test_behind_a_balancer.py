"""Sessions that resume behind a real HAProxy, which cuts their links."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from roam_trio import AnySession, Observer, stay_connected
from tests.endpoints.lasting.engines import PATIENCE, balancer
from tests.endpoints.lasting.fleet import CLIENTS, RETRY, Load, fleet
from tests.endpoints.lasting.fleet_server import Bank

pytestmark = pytest.mark.slow

CALLS = 20_000
CUTS = 5


class Counting(Observer):
    def __init__(self) -> None:
        self.opened = self.lost = self.resumed = 0
        self.next_resumed = trio.Event()

    def session_opened(self, session: AnySession) -> None:
        self.opened += 1

    def link_lost(self, session: AnySession, because: Exception) -> None:
        self.lost += 1

    def link_resumed(self, session: AnySession) -> None:
        self.resumed += 1
        self.next_resumed.set()
        self.next_resumed = trio.Event()


async def cut_links_under_load(
    directory: Path, *, is_sticky: bool
) -> tuple[Load, Counting]:
    """Let clients call while a balancer cuts their links, and check what is done."""
    load, count = Load(CALLS), Counting()
    async with (
        fleet(directory, {"resume": True}) as servers,
        balancer(
            directory, [each.port for each in servers], CLIENTS, is_sticky=is_sticky
        ) as between,
        trio.open_nursery() as nursery,
    ):

        async def client(address: str) -> None:
            staying = stay_connected(
                f"tcp://{address}", Bank, retry=RETRY, resume=True, observer=count
            )
            async with staying as bank:
                await load.run(bank)

        for each in between.addresses:
            nursery.start_soon(client, each)
        for number in range(1, CUTS + 1):
            await load.until(CALLS * number // (CUTS + 1))
            await between.cut_links()
        load.goes_on = False
    load.check(servers)
    print(f"{count.lost} links lost, {count.resumed} resumed; {load}")
    return load, count


async def test_sessions_survive_the_loss_of_their_links(tmp_path: Path) -> None:
    load, count = await cut_links_under_load(tmp_path, is_sticky=True)
    assert load.unsure == set()
    assert count.opened == CLIENTS
    assert count.resumed >= CLIENTS * (CUTS - 1)


async def test_clients_begin_anew_if_they_are_led_to_other_servers(
    tmp_path: Path,
) -> None:
    load, count = await cut_links_under_load(tmp_path, is_sticky=False)
    assert count.opened > CLIENTS
    # Each client has one call at a time, which ends with the session.
    assert len(load.unsure) <= count.opened - CLIENTS


async def test_idle_sessions_survive_the_loss_of_their_links(tmp_path: Path) -> None:
    count = Counting()
    async with (
        fleet(tmp_path, {"resume": True}) as servers,
        balancer(
            tmp_path, [each.port for each in servers], 1, idle_milliseconds=200
        ) as between,
        stay_connected(
            f"tcp://{between.addresses[0]}", Bank, resume=True, observer=count
        ) as bank,
    ):
        for number in range(1, 4):
            await bank.pay(number)
            with trio.fail_after(PATIENCE):
                await count.next_resumed.wait()
        await bank.pay(4)
        assert sorted(n for each in servers for n in each.paid) == [1, 2, 3, 4]
    assert count.opened == 1
