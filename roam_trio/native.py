"""The extension in Rust, which does the same as parts of this package in less time.

It is built with the package if cargo is there, and nothing depends on it: every part
has its code in Python as well. With ``ROAM_TRIO_PURE=1`` in the environment it is not
used.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any, Final

__all__ = ["NATIVE", "WHY_PURE", "load"]

_INTERFACE: Final = 8
"""The number that the extension must have, so that one that was built before the
package changed is not used."""


def load(name: str = f"{__package__}._native") -> tuple[Any, str]:
    """Return the extension, or None and the reason."""
    if os.environ.get("ROAM_TRIO_PURE", "0") not in ("", "0"):
        return None, "ROAM_TRIO_PURE is set"
    try:
        found = import_module(name)
    except ImportError:
        return None, "the extension was not built"
    if found.INTERFACE != _INTERFACE:
        return None, "the extension was built for another version of the package"
    return found, ""


_loaded: Final = load()

NATIVE: Final[Any] = _loaded[0]
"""The extension; None if it is not used."""

WHY_PURE: Final[str] = _loaded[1]
"""Why the extension is not used; empty if it is."""
