"""Figures of a server as a screen for people."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from types import TracebackType
from typing import Literal, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from ..endpoints.statistics import ServerFigures, SessionFigures
from ..legible import legible
from .output import table_of

__all__ = ["Screen", "screen_of"]

_MOST_ROWS = 12
"""Number of rows of each table."""


class Screen:
    """A part of the terminal that each update replaces, for the length of a ``with``.

    On a terminal that cannot move its cursor, updates follow one another.

    Args:
        url: the server, for the title.
    """

    def __init__(self, url: str) -> None:
        colours: Literal["auto"] | None = "auto"
        if os.environ.get("NO_COLOR"):
            colours = None
        console = Console(file=sys.stdout, color_system=colours)
        self._url = url
        self._console = console
        # On a dumb terminal, Live would write nothing until the end.
        is_dumb = console.is_dumb_terminal
        self._live = None if is_dumb else Live(console=console, auto_refresh=False)

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.__enter__()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.__exit__(exc_type, exc, traceback)

    def show(self, figures: ServerFigures) -> None:
        """Show figures in place of those before."""
        screen = screen_of(self._url, figures)
        if self._live is None:
            self._console.print(screen)
        else:
            self._live.update(screen, refresh=True)


def screen_of(url: str, figures: ServerFigures) -> RenderableType:
    """Return the figures of a server as tables."""
    busiest = figures.busiest
    parts: list[RenderableType] = [
        Text(f"{legible(url)}: {figures.sessions} sessions"),
        table_of(_SESSION, map(_session, busiest[:_MOST_ROWS])),
    ]
    for heads, rows in ((_CALL, _calls(busiest)), (_CHANNEL, _channels(busiest))):
        if rows:
            parts += [Text(""), table_of(heads, rows[:_MOST_ROWS])]
    return Group(*parts)


_SESSION = ("peer", "calls", "channels", "connections", "sent", "unsent", "received")


def _session(session: SessionFigures) -> Sequence[str]:
    return (
        session.peer,
        str(session.calls),
        str(session.channels),
        str(session.connections),
        _bytes(session.sent_bytes),
        _bytes(session.unsent_bytes),
        _bytes(session.received_bytes),
    )


_CALL = ("call", "direction", "age", "peer")


def _calls(sessions: Sequence[SessionFigures]) -> list[Sequence[str]]:
    calls = [(call, each.peer) for each in sessions for call in each.oldest_calls]
    calls.sort(key=lambda found: -found[0].age)
    return [
        (call.method, call.direction, f"{call.age:.1f} s", peer) for call, peer in calls
    ]


_CHANNEL = ("channel", "credit", "queued", "peer")


def _channels(sessions: Sequence[SessionFigures]) -> list[Sequence[str]]:
    return [
        (
            channel.direction,
            "" if channel.credit is None else str(channel.credit),
            str(channel.queued),
            each.peer,
        )
        for each in sessions
        for channel in each.some_channels
    ]


def _bytes(number: int) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if number < 10_000:
            return f"{number} {unit}"
        number //= 1024
    return f"{number} TiB"
