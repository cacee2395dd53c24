"""The option for the file that a verb writes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["OutputFile"]

OutputFile = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help="File to write to. Default: standard output.",
        show_default=False,
    ),
]
