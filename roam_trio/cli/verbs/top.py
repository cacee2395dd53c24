"""`top`: the sessions of a server, its calls and channels, again and again."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from typing import Annotated

import attrs
import trio
import typer

from ...endpoints.statistics import STATISTICS, ServerFigures, Statistics
from ...errors import IncompatibleService, SessionRejected, UnknownMethod
from ..connecting import session_with
from ..exits import Exit, Failure
from ..figures import Screen
from ..output import Output
from ..peer_options import AsJson, PeerOptions, Url, with_peer
from ..performing import perform

__all__ = ["command", "show_top"]


@with_peer
def command(
    url: Url,
    peer: PeerOptions,
    interval: Annotated[
        float,
        typer.Option(min=0.05, metavar="SECONDS", help="Time between two updates."),
    ] = 1.0,
    count: Annotated[
        int | None,
        typer.Option(
            "--count",
            "-n",
            min=1,
            help="Number of updates. Default: until Control-C.",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Watch the sessions of a server, with its calls and channels.

    The busiest sessions come first, and the oldest calls. The server must offer its
    statistics: serve --statistics. Piped, each update is a line of JSON.
    """
    perform(
        "top",
        partial(show_top, url, peer, interval=interval, count=count, as_json=as_json),
    )


async def show_top(
    url: str,
    peer: PeerOptions,
    *,
    interval: float = 1.0,
    count: int | None = None,
    as_json: bool = False,
) -> Exit:
    """Show the figures of a server at each interval."""
    output = Output(as_json=as_json)
    try:
        async with (
            session_with(url, peer) as session,
            session.open(Statistics, STATISTICS) as statistics,
        ):
            with ExitStack() as leaving:
                screen = (
                    leaving.enter_context(Screen(url)) if output.is_pretty else None
                )
                for number in _numbers(count):
                    if number:
                        await trio.sleep(interval)
                    figures = await statistics.snapshot()
                    await _show(figures, screen, output)
    except (IncompatibleService, SessionRejected, UnknownMethod) as error:
        raise Failure(
            Exit.UNREACHED,
            "the server does not offer its statistics; start it with --statistics, or "
            "with serve(..., statistics=True)",
        ) from error
    return Exit.DONE


def _numbers(count: int | None) -> Iterator[int]:
    return iter(itertools.count() if count is None else range(count))


async def _show(figures: ServerFigures, screen: Screen | None, output: Output) -> None:
    if screen is None:
        await output.value(attrs.asdict(figures))
    else:
        screen.show(figures)
