"""Warnings of what a program has not closed."""

from __future__ import annotations

import warnings

__all__ = ["warn_unclosed"]


def warn_unclosed(text: str, source: object) -> None:
    """Warn with a `ResourceWarning`, as asyncio does of its transports.

    Args:
        text: a text of this package; texts of peers go through `roam_trio.logs`.
        source: the object that was not closed.
    """
    warnings.warn(text, ResourceWarning, stacklevel=3, source=source)
