"""`ping`: round trips to a server."""

from __future__ import annotations

from functools import partial
from statistics import fmean
from typing import Annotated

import trio
import typer

from ...session import Session
from ..connecting import session_with
from ..exits import Exit
from ..output import Output
from ..peer_options import AsJson, PeerOptions, Url, with_peer
from ..performing import perform

__all__ = ["command", "show_pings"]


@with_peer
def command(
    url: Url,
    peer: PeerOptions,
    count: Annotated[
        int, typer.Option("--count", "-n", min=1, help="Number of pings.")
    ] = 4,
    interval: Annotated[
        float, typer.Option(min=0.0, metavar="SECONDS", help="Time between two pings.")
    ] = 1.0,
    as_json: AsJson = False,
) -> None:
    """Ping a server, and print how long its answers take, in milliseconds.

    Any peer answers, whatever it serves. As JSON, a line for each ping is followed by
    one for all of them.
    """
    perform(
        "ping",
        partial(show_pings, url, peer, count=count, interval=interval, as_json=as_json),
    )


async def show_pings(
    url: str,
    peer: PeerOptions,
    *,
    count: int = 4,
    interval: float = 1.0,
    as_json: bool = False,
) -> Exit:
    """Print the round trip times of some pings, and of all of them."""
    output = Output(as_json=as_json)
    async with session_with(url, peer) as session:
        times = [await _ping(session, 1, output)]
        for number in range(2, count + 1):
            await trio.sleep(interval)
            times.append(await _ping(session, number, output))
    least, mean, most = min(times), round(fmean(times), 3), max(times)
    if output.is_pretty:
        await output.text(
            f"{count} pings: {least:.3f} ms at least, {mean:.3f} ms on average, "
            f"{most:.3f} ms at most"
        )
    else:
        await output.value({"pings": count, "least": least, "mean": mean, "most": most})
    return Exit.DONE


async def _ping(session: Session, number: int, output: Output) -> float:
    time = round(1000 * await session.ping(), 3)
    if output.is_pretty:
        await output.text(f"ping {number}: {time:.3f} ms")
    else:
        await output.value({"ping": number, "milliseconds": time})
    return time
