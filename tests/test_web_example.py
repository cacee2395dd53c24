"""The web applications of the examples while the backend restarts: real processes."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import trio

ROOT = Path(__file__).parent.parent

pytestmark = pytest.mark.slow


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


@asynccontextmanager
async def running(*arguments: str, **environment: str) -> AsyncGenerator[trio.Process]:
    """Run a module of Python, and kill it and its children in the end."""
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        with trio.CancelScope(shield=True), trio.move_on_after(30):
            await process.wait()


async def ask(port: int, method: str, path: str) -> tuple[int, bytes]:
    """Make an HTTP request; return the status and the body."""
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
        await stream.send_all(head.encode())
        answer = b""
        while True:
            head_, _, body = answer.partition(b"\r\n\r\n")
            size = re.search(rb"content-length: (\d+)", head_)
            if size is not None and len(body) >= int(size[1]):
                return int(head_.split()[1]), body
            part = await stream.receive_some()
            if not part:
                raise OSError("the server has closed the connection")
            answer += part


async def wait_for(port: int) -> None:
    """Wait until the web server answers."""
    with trio.fail_after(60):
        while True:
            try:
                await ask(port, "GET", "/")
            except OSError:
                await trio.sleep(0.05)
            else:
                return


@pytest.mark.parametrize(
    ("example", "worker", "how"),
    [
        ("web", "trio", signal.SIGTERM),
        ("web", "trio", signal.SIGKILL),
        ("starlette_on_trio", "trio", signal.SIGTERM),
        ("starlette_on_asyncio", "asyncio", signal.SIGTERM),
    ],
)
async def test_its_pages_are_answered_while_the_backend_restarts(
    example: str, worker: str, how: signal.Signals
) -> None:
    url, port = f"tcp://127.0.0.1:{free_port()}", free_port()
    serve = ("roam_trio", "serve", "examples.web:backend", "--listen", url)
    web = ("hypercorn", "--worker-class", worker, "--bind", f"127.0.0.1:{port}")
    tx, rx = trio.open_memory_channel[str](math.inf)
    answers: Counter[str] = Counter()

    async def browse(number: int) -> None:
        while True:
            for method, path in (
                ("GET", f"/balance/{number}"),
                ("POST", f"/deposit/{number}/1"),
            ):
                status, _ = await ask(port, method, path)
                tx.send_nowait(f"{method} {status}")

    async def count(number: int) -> None:
        with trio.fail_after(60):
            answers.update([await rx.receive() for _ in range(number)])

    async with running(*web, f"examples.{example}:app", BANK=url):
        await wait_for(port)  # the backend is not there yet
        async with trio.open_nursery() as nursery:
            for number in range(4):
                nursery.start_soon(browse, number)
            for _ in range(3):
                async with running(*serve, "--reflection") as process:
                    await count(100)
                    process.send_signal(how)
                    await process.wait()
            async with running(*serve):
                await count(100)
                status, body = await ask(port, "POST", "/deposit/99/5")
                assert (status, json.loads(body)) == (200, {"balance": 5})
                nursery.cancel_scope.cancel()
    print(f"{example}, {how.name}: {dict(answers)}")
    # A deposit that a killed backend had begun must not be made again.
    most_begun = 0 if how is signal.SIGTERM else 4 * 3
    assert answers["POST 500"] <= most_begun
    assert set(answers) - {"POST 500"} == {"GET 200", "POST 200"}
