"""What the command lines have in common."""

from __future__ import annotations

import argparse
from collections.abc import Callable

__all__ = ["at_least"]


def at_least(fewest: int) -> Callable[[str], int]:
    """What turns the text of an option into a number, and refuses a smaller one."""

    def parse(text: str) -> int:
        number = int(text)
        if number < fewest:
            raise argparse.ArgumentTypeError(f"expected {fewest} or more")
        return number

    return parse
