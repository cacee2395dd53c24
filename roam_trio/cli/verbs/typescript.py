"""`typescript`: services as a module of TypeScript."""

from __future__ import annotations

from typing import Annotated

import typer

from ..generate import GenerateError, deliver, typescript_of
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
    """Print services as one module of TypeScript, for pages and for node.

    It has types, clients and handlers, and everything that they need. Method ids and
    bytes on the wire are the same as in Python.
    """
    try:
        deliver(typescript_of(services), output)
    except GenerateError as error:
        typer.echo(f"roam_trio typescript: {error}", err=True)
        raise typer.Exit(1) from None
