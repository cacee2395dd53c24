"""`demo-server`: the second process of `demo`."""

from __future__ import annotations

import typer

from ...demo.server import serve_until_stdin_ends
from ..until_signal import run_until_signal

__all__ = ["command"]


def command() -> None:
    """Serve the demo until standard input ends."""
    raise typer.Exit(run_until_signal(serve_until_stdin_ends))
