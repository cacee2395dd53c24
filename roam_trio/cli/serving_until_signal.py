"""The run of a server that a signal ends."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from typing import Any

import trio

from ..endpoints.server import Server
from .exits import Exit, UsageError
from .output import Output
from .performing import say
from .until_signal import STOP_SIGNALS, die_of_the_next_signal

__all__ = ["serve_until_signal", "show_urls", "started"]


async def serve_until_signal(
    serve: Any,
    grace: float,
    output: Output,
    begun: Callable[[Server], object] | None = None,
) -> Exit:
    """Serve until a signal comes, and shut down within the grace.

    Args:
        serve: a function for ``nursery.start``, which reports a `Server`.
        grace: number of seconds for which calls may go on in the end.
        output: gets the URLs at which the server listens.
        begun: called with the server before these are printed.

    Raises:
        UsageError: a URL or an option is wrong.
    """
    async with trio.open_nursery() as nursery:
        server = await started(nursery, serve)
        if begun is not None:
            begun(server)
        with trio.open_signal_receiver(*STOP_SIGNALS) as signals:
            await show_urls(server.urls, output)
            name = signal.Signals(await anext(signals)).name
            say(f"{name}: shutting down within {grace:g} s")
            die_of_the_next_signal()
            await server.shutdown(grace)
    return Exit.DONE


async def started(nursery: trio.Nursery, serve: Any) -> Server:
    """Start a server.

    Raises:
        UsageError: a URL or an option is wrong.
    """
    try:
        server: Server = await nursery.start(serve)
    except (ValueError, ImportError) as error:  # a package that a URL needs
        raise UsageError(str(error)) from error
    return server


async def show_urls(urls: Sequence[str], output: Output) -> None:
    """Print the URLs at which a server listens."""
    for url in urls:
        if output.is_pretty:
            await output.text(f"listening at {url}")
        else:
            await output.value({"url": url})
