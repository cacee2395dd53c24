"""`import`: the services of a Rust source, in Python."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..generate import GenerateError, deliver, python_of
from ..output_file import OutputFile

__all__ = ["command"]


def command(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE.rs",
            help="A Rust source with traits under #[roam::service]. It is only read.",
        ),
    ],
    output: OutputFile = None,
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
