"""A server in a process of its own; `processes` starts it.

    python -m tests.two_processes.server CLOSE_SECONDS

Prints its URL, and serves until its standard input ends or Control-C comes.
"""

from __future__ import annotations

import os
import sys
from functools import partial

import trio

from roam_trio import Limits, dispatcher, serve

from .processes import INTERRUPTED
from .workshop import Workshop, WorkshopHandler


async def serve_until_input_ends(limits: Limits) -> None:
    handler = dispatcher(Workshop, WorkshopHandler())
    async with trio.open_nursery() as nursery:
        server = await nursery.start(
            partial(serve, limits=limits), "tcp://127.0.0.1:0", handler
        )
        print(server.url, flush=True)
        async with trio.lowlevel.FdStream(os.dup(sys.stdin.fileno())) as stdin:
            async for _ in stdin:
                pass
        nursery.cancel_scope.cancel()


def main(close_seconds: str) -> int:
    """Returns the exit code."""
    code = 0
    try:
        trio.run(serve_until_input_ends, Limits(close_seconds=float(close_seconds)))
    except* KeyboardInterrupt:
        code = INTERRUPTED
    return code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
