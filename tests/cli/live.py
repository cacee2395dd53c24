"""A live server in a thread, and verbs of the command line against it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any

import trio
from trio.testing import wait_all_tasks_blocked
from typer.testing import CliRunner, Result

from roam_trio import Handler, Server, serving
from roam_trio.cli.app import app

__all__ = ["SHOP", "invoke", "live", "living"]

SHOP = ("--service", "tests.cli.shop:Shop")


def invoke(*args: object, stdin: str | bytes | None = None, **env: str) -> Result:
    """Run a verb in this process, with standard input and output that are no files."""
    result = CliRunner().invoke(app, [str(arg) for arg in args], input=stdin, env=env)
    for token in _servers:
        # Until they have noticed that the client is gone, and let go of its sockets.
        trio.from_thread.run(wait_all_tasks_blocked, 0.001, trio_token=token)
    return result


_servers: list[trio.lowlevel.TrioToken] = []
"""The live servers."""


@contextmanager
def live(
    offered: Mapping[str, Handler] | Handler,
    url: str = "tcp://127.0.0.1:0",
    **options: Any,
) -> Iterator[str]:
    """Serve in a thread for the length of a block, which gets the URL."""
    with living(lambda: serving(url, offered, **options)) as at:
        yield at


@contextmanager
def living(make: Callable[[], AbstractAsyncContextManager[Server]]) -> Iterator[str]:
    """Have a server in a thread for the length of a block, which gets the URL."""
    told: list[Any] = []
    is_up, is_over = threading.Event(), trio.Event()

    async def serve() -> None:
        async with make() as server:
            told[:] = trio.lowlevel.current_trio_token(), server.url
            is_up.set()
            await is_over.wait()

    def run() -> None:
        try:
            trio.run(serve)
        finally:
            is_up.set()

    thread = threading.Thread(target=run)
    thread.start()
    is_up.wait(30)
    try:
        token, at = told
        _servers.append(token)
        yield at
        _servers.remove(token)
        token.run_sync_soon(is_over.set)
    finally:
        thread.join(30)
