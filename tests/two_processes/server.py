"""A server in a process of its own; `processes` starts it.

    python -m tests.two_processes.server CLOSE_SECONDS URL [CERTIFICATE]

Prints its URL, and serves until its standard input ends or Control-C comes; at
``stdio:`` it prints nothing.
"""

from __future__ import annotations

import os
import ssl
import sys
from collections.abc import Awaitable, Callable
from functools import partial

import trio

from roam_trio import Limits, dispatcher, serve

from .processes import INTERRUPTED
from .workshop import Workshop, WorkshopHandler

Serve = Callable[..., Awaitable[None]]

WITH_TLS = ("tls:", "wss:")


async def serve_until_input_ends(run: Serve, url: str) -> None:
    async with trio.open_nursery() as nursery:
        server = await nursery.start(run, url)
        print(server.url, flush=True)
        async with trio.lowlevel.FdStream(os.dup(sys.stdin.fileno())) as stdin:
            async for _ in stdin:
                pass
        nursery.cancel_scope.cancel()


def main(close_seconds: str, url: str, certificate: str = "") -> int:
    """Returns the exit code."""
    run = partial(
        serve,
        handler=dispatcher(Workshop, WorkshopHandler()),
        limits=Limits(close_seconds=float(close_seconds)),
        ssl_context=context_of(certificate) if url.startswith(WITH_TLS) else None,
    )
    code = 0
    try:
        if url == "stdio:":
            trio.run(run, url)
        else:
            trio.run(serve_until_input_ends, run, url)
    except* KeyboardInterrupt:
        code = INTERRUPTED
    return code


def context_of(certificate: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    return context


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
