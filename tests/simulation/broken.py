"""The error of a world in which something does not hold."""

from __future__ import annotations

__all__ = ["Broken", "require"]


class Broken(Exception):
    """Something that has to hold does not.

    Args:
        kind: which of the things, the same for each time.
        detail: what happened.
    """

    def __init__(self, kind: str, detail: object = "") -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind = kind


def require(condition: object, kind: str, detail: object = "") -> None:
    """Raise `Broken` unless the condition holds."""
    if not condition:
        raise Broken(kind, detail)
