"""Command line, ``python -m roam_trio``; needs an extra."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from typing import NoReturn

NEEDED = ("typer", "rich")


def main() -> NoReturn:
    """Run the command line, and end this process with its exit code."""
    if not all(map(find_spec, NEEDED)):
        from .extras import how_to_install

        sys.exit(f"the command line needs typer and rich; {how_to_install('cli')}")
    _replace_closed_streams()
    try:
        from .cli.app import app

        app()
    except KeyboardInterrupt:  # raised while importing; commands handle it themselves
        sys.exit(130)
    sys.exit()


def _replace_closed_streams() -> None:
    """Open the null device in place of each standard stream that is closed.

    Python has None for it, and the next socket would get its number.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115, until the end


if __name__ == "__main__":
    main()
