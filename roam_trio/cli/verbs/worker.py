"""`worker`: one of the processes of `serve --workers`."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from ..performing import perform
from ..workers.worker import run_worker

__all__ = ["command"]


def command(job: Annotated[str, typer.Argument(metavar="JOB")]) -> None:
    """Serve the connections that a parent passes."""
    perform("serve", partial(run_worker, job))
