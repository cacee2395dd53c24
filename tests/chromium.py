"""Chromium without a window, driven over its own protocol."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio
from trio_websocket import WebSocketConnection, open_websocket_url

__all__ = ["CHROMIUM", "Page", "browsing"]

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

_PATIENCE = 60.0
"""Number of seconds the page may take for what takes it well under one."""

_OPTIONS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--remote-debugging-port=0",
]


class Page:
    """A page of the browser."""

    def __init__(self, socket: WebSocketConnection) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._session = ""

    async def open(self, url: str) -> None:
        """Make the page."""
        made = await self.ask("Target.createTarget", url=url)
        target = made["targetId"]
        attached = await self.ask(
            "Target.attachToTarget", targetId=target, flatten=True
        )
        self._session = attached["sessionId"]

    async def reload(self) -> None:
        """Load the page again."""
        await self.ask("Page.enable")
        await self.ask("Page.reload")

    async def evaluate(self, expression: str) -> Any:
        """Return what JavaScript makes of an expression, once promises have settled."""
        answer = await self.ask(
            "Runtime.evaluate",
            expression=expression,
            awaitPromise=True,
            returnByValue=True,
        )
        return answer["result"].get("value")

    async def text(self, id: str) -> str:
        """Return the text of an element; empty if there is none."""
        expression = f"document.getElementById({json.dumps(id)})?.textContent ?? ''"
        return str(await self.evaluate(expression) or "")

    async def until(self, id: str, *expected: str) -> str:
        """Wait until an element has one of these texts."""
        found = ""
        with trio.move_on_after(_PATIENCE):
            while True:
                found = await self.text(id)
                if found in expected:
                    return found
                await trio.sleep(0.02)
        raise AssertionError(f"expected {' or '.join(expected)}, got {found!r}")

    async def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command of the browser's protocol, and return the answer."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        await self._socket.send_message(json.dumps(message))
        while True:
            answer = json.loads(await self._socket.get_message())
            if answer.get("id") == number:
                # One that asks while the page is being loaded gets an error.
                return dict(answer.get("result") or {"result": {}})


@asynccontextmanager
async def browsing(folder: Path) -> AsyncGenerator[Page]:
    """Run the browser, with its profile in a folder."""
    assert CHROMIUM is not None
    process = await trio.lowlevel.open_process(
        [CHROMIUM, *_OPTIONS, f"--user-data-dir={folder}", "about:blank"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        async with open_websocket_url(await _address(folder)) as socket:
            yield Page(socket)
    finally:
        process.terminate()
        with trio.CancelScope(shield=True), trio.move_on_after(10):
            await process.wait()
        if process.returncode is None:
            process.kill()


async def _address(folder: Path) -> str:
    """Wait until the browser listens, which it tells in a file of its profile."""
    file = folder / "DevToolsActivePort"
    while True:
        lines = file.read_text().splitlines() if file.exists() else []
        if len(lines) == 2:
            return f"ws://127.0.0.1:{lines[0]}{lines[1]}"
        await trio.sleep(0.05)
