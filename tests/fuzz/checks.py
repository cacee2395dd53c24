"""Checks that many targets share."""

from __future__ import annotations

from roam_trio import RoamTrioError

__all__ = ["check_error", "require"]

_LONGEST_TEXT = 20_000


def require(condition: object, what: str, *about: object) -> None:
    """Raise an AssertionError unless the condition holds."""
    if not condition:
        raise AssertionError(f"{what}: {about}")


def check_error(error: RoamTrioError) -> None:
    """Check the text of a declared error: one short line."""
    text = str(error)
    require(len(text) <= _LONGEST_TEXT, "the text of an error is long", len(text))
    require(len(text.splitlines()) <= 1, "the text of an error has lines", text)
