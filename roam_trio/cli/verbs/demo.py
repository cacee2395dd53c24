"""`demo`: the library at work."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from ...demo.display import Output, display_on, show
from ...demo.errors import DemoError, InputError
from ...demo.report import report
from ...demo.run import Plan, run_demo
from ...demo.texts import check_text, shipped_texts
from ..until_signal import run_until_signal

__all__ = ["SHIPPED_ROUNDS", "command"]

SHIPPED_ROUNDS = 200
"""Number of times to stream the shipped texts, which are short."""


def command(
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="FILE",
            help="Texts in UTF-8 to stream, of any size. By default, texts that "
            "come with the package.",
            show_default=False,
        ),
    ] = None,
    rounds: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="How many times to stream the texts. Default: 1, and "
            f"{SHIPPED_ROUNDS} for those that come with the package.",
            show_default=False,
        ),
    ] = None,
    calls: Annotated[
        int,
        typer.Option(
            min=1, help="Number of calls to make one at a time, and concurrently."
        ),
    ] = 6000,
) -> None:
    """Show the library at work between two processes, and measure it.

    Starts a server process, streams texts to it, and takes the count of words of
    each line that comes back; makes calls that succeed, fail and are cancelled;
    checks every answer.
    """
    try:
        texts = [check_text(path) for path in files or shipped_texts()]
    except InputError as error:
        raise typer.Exit(_fail(error)) from None
    if rounds is None:
        rounds = 1 if files else SHIPPED_ROUNDS
    plan = Plan(texts=texts, rounds=rounds, calls=calls)
    raise typer.Exit(run_until_signal(partial(_perform, plan)))


async def _perform(plan: Plan) -> int:
    """Run the demo, show it, and return the exit code."""
    output = Output()
    try:
        with display_on(output) as display:
            results = await run_demo(plan, display)
        show(output, report(results))
    except DemoError as error:
        return _fail(error)
    return 0


def _fail(error: DemoError) -> int:
    """Print an error in one line, and return its exit code."""
    typer.echo(f"roam_trio demo: {error}", err=True)
    return error.exit_code
