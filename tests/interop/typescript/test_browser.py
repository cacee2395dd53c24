"""The page of `examples/browser` in Chromium, with its server."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from benchmarks.cargo import CannotBuild
from roam_trio import Health, describe
from roam_trio.codegen.typescript import write_typescript

from ...chromium import CHROMIUM, Page, browsing
from ...two_processes.processes import within
from .build import compile_in, installed

ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / "examples" / "browser"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium was not found"),
]


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the compiled scripts of the page."""
    from examples.browser.server import Board

    names = ("page.ts", "tsconfig.json")
    sources = {Path(name): (EXAMPLE / name).read_text("utf-8") for name in names}
    sources[Path("board.ts")] = write_typescript([describe(Board), describe(Health)])
    folder = tmp_path_factory.mktemp("page")
    try:
        compile_in(folder, sources, installed())
    except CannotBuild as error:
        if shutil.which("node") and shutil.which("npm"):
            raise
        pytest.skip(str(error))
    return folder / "out"


def two_free_ports() -> int:
    """Return a port that is free, as the next one is."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as first:
            port: int = first.getsockname()[1]
            try:
                socket.create_server(("127.0.0.1", port + 1)).close()
            except OSError:
                continue
            return port


@asynccontextmanager
async def serving(scripts: Path, port: int) -> AsyncGenerator[trio.Process]:
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "examples.browser.server", str(scripts), str(port)],
        cwd=ROOT,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for each in (port, port + 1):
            await until_open(each)
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        with trio.CancelScope(shield=True), trio.move_on_after(30):
            await process.wait()


async def until_open(port: int) -> None:
    while True:
        try:
            async with await trio.open_tcp_stream("127.0.0.1", port):
                return
        except OSError:
            await trio.sleep(0.05)


ITEMS = 10_000
THERE_AND_BACK = f"{ITEMS} sent, the sum of what came back is {ITEMS * (ITEMS - 1)}"


async def has_used_the_server(page: Page) -> None:
    await page.until("sum", "42")
    await page.until("error", "900 are missing")
    await page.until("items", THERE_AND_BACK)
    await page.until("state", "Serving")


@within(180)
async def test_a_page_calls_streams_and_outlives_its_server(
    scripts: Path, tmp_path: Path
) -> None:
    port = two_free_ports()
    async with browsing(tmp_path) as page:
        async with serving(scripts, port) as server:
            await page.open(f"http://127.0.0.1:{port}/")
            await page.until("session", "connected, number 1")
            await has_used_the_server(page)

            await page.reload()
            await page.until("session", "…", "connected, number 1")
            await has_used_the_server(page)

            server.terminate()
            await page.until("state", "Draining")
            # The page has left, so the server needs not wait for it.
            await server.wait()
        async with serving(scripts, port):
            await page.until("state", "Serving")
            found = await page.text("session")
            assert found.startswith("connected, number ")
            assert found != "connected, number 1"
            await has_used_the_server(page)
