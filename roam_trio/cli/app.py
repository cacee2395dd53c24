"""The commands, for typer."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from ..demo.display import Output, display_on, show
from ..demo.errors import DemoError, InputError
from ..demo.process import SERVE_COMMAND
from ..demo.report import report
from ..demo.run import Plan, run_demo
from ..demo.server import serve_until_stdin_ends
from ..demo.texts import check_text, shipped_texts
from .generate import GenerateError, deliver, python_of, rust_of
from .until_signal import run_until_signal

__all__ = ["app"]

SHIPPED_ROUNDS = 200
"""Number of times to stream the shipped texts, which are short."""

app = typer.Typer(
    name="python -m roam_trio",
    help="RPC with typed calls and channels for trio.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # it would remove text in brackets, as in #[roam::service]
    pretty_exceptions_enable=False,
)


@app.command()
def demo(
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


@app.command(SERVE_COMMAND, hidden=True)
def demo_server() -> None:
    """Serve the demo until standard input ends."""
    raise typer.Exit(run_until_signal(serve_until_stdin_ends))


def _fail(error: DemoError) -> int:
    """Print an error in one line, and return its exit code."""
    typer.echo(f"roam_trio demo: {error}", err=True)
    return error.exit_code


_OutputFile = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help="File to write to. Default: standard output.",
        show_default=False,
    ),
]


@app.command()
def rust(
    services: Annotated[
        list[str],
        typer.Argument(
            metavar="MODULE:SERVICE",
            help="A class decorated with @service, such as examples.adder:Adder. Its "
            "module is imported.",
        ),
    ],
    output: _OutputFile = None,
) -> None:
    """Print services as traits and types of Rust, for the crate roam.

    Peers that are built from them have the same method ids, and the same bytes on the
    wire.
    """
    try:
        deliver(rust_of(services), output)
    except GenerateError as error:
        typer.echo(f"roam_trio rust: {error}", err=True)
        raise typer.Exit(1) from None


@app.command("import")
def import_(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE.rs",
            help="A Rust source with traits under #[roam::service]. It is only read.",
        ),
    ],
    output: _OutputFile = None,
) -> None:
    """Print the services of a Rust source as classes of Python.

    Clients and handlers of these classes have the same method ids as the Rust program,
    and the same bytes on the wire.
    """
    try:
        text, left_out, notes = python_of(file)
        deliver(text, output)
    except GenerateError as error:
        for line in str(error).splitlines():
            typer.echo(f"roam_trio import: {line}", err=True)
        raise typer.Exit(1) from None
    for line in left_out:
        typer.echo(f"roam_trio import: left out: {line}", err=True)
    for line in notes:
        typer.echo(f"roam_trio import: note: {line}", err=True)
