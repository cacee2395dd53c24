"""No call is lost or done twice while servers restart, wherever they are found."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from roam_trio.endpoints.lasting.dns import DnsResolver
from tests.endpoints.lasting.engines import SERVICE, balancer, name_server
from tests.endpoints.lasting.fleet import CLIENTS, SIGNALS, fleet, restart_each
from tests.endpoints.lasting.fleet_server import registered
from tests.endpoints.registry.valkey import valkey

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("how", SIGNALS)
async def test_servers_of_a_list(how: signal.Signals, tmp_path: Path) -> None:
    async with fleet(tmp_path) as servers:
        urls = [each.url for each in servers]
        await restart_each(servers, how, lambda: urls, balance="round robin")


@pytest.mark.parametrize("how", SIGNALS)
async def test_servers_of_srv_records(how: signal.Signals, tmp_path: Path) -> None:
    async with (
        fleet(tmp_path) as servers,
        name_server(tmp_path, [each.port for each in servers]) as names,
    ):

        def target() -> DnsResolver:
            return DnsResolver(f"srv+tcp://{SERVICE}", names.resolver())

        async def publish() -> None:
            await names.publish([each.port for each in servers])

        await restart_each(
            servers,
            how,
            target,
            has_new_ports=True,
            moved=publish,
            balance="round robin",
        )


@pytest.mark.parametrize("has_new_ports", [True, False])
@pytest.mark.parametrize("how", SIGNALS)
async def test_servers_of_a_registry(
    how: signal.Signals, has_new_ports: bool, tmp_path: Path
) -> None:
    with valkey() as url:
        async with fleet(tmp_path, {"announce": url}) as servers:
            await restart_each(
                servers,
                how,
                lambda: registered(url),
                has_new_ports=has_new_ports,
                balance="round robin",
            )


@pytest.mark.parametrize("how", SIGNALS)
async def test_servers_behind_a_balancer(how: signal.Signals, tmp_path: Path) -> None:
    async with (
        fleet(tmp_path, {"resume": True}) as servers,
        balancer(tmp_path, [each.port for each in servers], CLIENTS) as between,
    ):
        urls = iter([f"tcp://{each}" for each in between.addresses])
        await restart_each(servers, how, lambda: next(urls), resume=True)
