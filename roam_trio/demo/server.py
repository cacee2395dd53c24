"""The server process of the demo."""

from __future__ import annotations

import os

import trio

from ..endpoints.serve import serve
from ..endpoints.server import Server
from ..service import dispatcher
from .handler import Counter
from .service import WordCounter

__all__ = ["serve_until_stdin_ends"]

URL = "tcp://127.0.0.1:0"


async def serve_until_stdin_ends() -> int:
    """Print the URL, and serve until standard input ends.

    The parent process holds the other end of standard input, so this process does not
    outlive its parent, however the parent ends.

    Returns:
        The exit code of the process, 0.
    """
    async with trio.open_nursery() as nursery:
        handler = dispatcher(WordCounter, Counter())
        server: Server = await nursery.start(serve, URL, handler)
        if _print(server.url):
            await _stdin_ends()
        nursery.cancel_scope.cancel()
    return 0


def _print(line: str) -> bool:
    """Print a line. Return True if the output is still open."""
    try:
        os.write(1, line.encode() + b"\n")
    except BrokenPipeError:
        return False
    return True


async def _stdin_ends() -> None:
    # A blocked read cannot be interrupted, so the thread is abandoned when cancelled,
    # and ends with the process. Use `os.read`, because `sys.stdin` would hold a lock.
    def read_to_the_end() -> None:
        while os.read(0, 4096):
            pass

    await trio.to_thread.run_sync(read_to_the_end, abandon_on_cancel=True)
