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

    Python has None for it, and the next socket would get its number. As with the
    streams that Python opens, the end of the program closes it, without a warning.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            number = os.open(os.devnull, os.O_RDONLY if mode == "r" else os.O_WRONLY)
            stream = open(number, mode, closefd=False)  # noqa: SIM115, until the end
            setattr(sys, name, stream)


if __name__ == "__main__":
    main()
