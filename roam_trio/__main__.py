"""Command line, ``python -m roam_trio``; needs an extra."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import NoReturn

NEEDED = ("typer", "rich")


def main() -> NoReturn:
    """Run the command line, and end this process with its exit code."""
    if not all(map(find_spec, NEEDED)):
        sys.exit(
            "python -m roam_trio needs what the extra 'cli' brings: "
            "python -m pip install 'roam-trio[cli]'"
        )
    try:
        from .cli.app import app

        app()
    except KeyboardInterrupt:  # raised while importing; commands handle it themselves
        sys.exit(130)
    sys.exit()


if __name__ == "__main__":
    main()
