"""`rust`: services as Rust source."""

from __future__ import annotations

from typing import Annotated

import typer

from ..generate import GenerateError, deliver, rust_of
from ..output_file import OutputFile

__all__ = ["command"]


def command(
    services: Annotated[
        list[str],
        typer.Argument(
            metavar="MODULE:SERVICE",
            help="A class decorated with @service, such as examples.adder:Adder. Its "
            "module is imported.",
        ),
    ],
    output: OutputFile = None,
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
