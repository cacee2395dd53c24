"""No call is lost or done twice while servers restart, wherever they are found."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.endpoints.lasting.fleet import SIGNALS, fleet, restart_each

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("how", SIGNALS)
async def test_servers_of_a_list(how: signal.Signals, tmp_path: Path) -> None:
    async with fleet(tmp_path) as servers:
        urls = [each.url for each in servers]
        await restart_each(servers, how, lambda: urls, balance="round robin")
