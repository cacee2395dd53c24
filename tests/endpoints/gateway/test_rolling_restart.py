"""No call is lost or done twice while servers behind a gateway restart."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from tests.endpoints.lasting.fleet import ROOT, SIGNALS, fleet, restart_each

pytestmark = pytest.mark.slow


@asynccontextmanager
async def gateway_to(urls: Sequence[str]) -> AsyncIterator[str]:
    """Have a gateway in a process of its own, which ends on SIGTERM."""
    listen = ["--listen", "tcp://127.0.0.1:0", "--route", ",".join(urls)]
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "roam_trio", "gateway", *listen, "--log-level", "error"],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        yield json.loads(await process.stdout.receive_some())["url"]
    finally:
        with trio.CancelScope(shield=True), trio.move_on_after(30):
            process.terminate()
            assert await process.wait() == 0
            await process.stdout.aclose()


@pytest.mark.parametrize("how", SIGNALS)
async def test_servers_behind_a_gateway(how: signal.Signals, tmp_path: Path) -> None:
    async with (
        fleet(tmp_path) as servers,
        gateway_to([each.url for each in servers]) as url,
    ):
        await restart_each(servers, how, lambda: url)
