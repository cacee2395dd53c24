"""Names of a peer, made fit for Python source.

The codecs compile source with the names of classes, fields and arguments in it.
"""

from __future__ import annotations

import keyword
import re
import unicodedata
from collections.abc import Iterable

__all__ = ["distinct_names", "safe_name"]


def safe_name(name: str) -> str:
    """Return a name that Python source can contain, similar to `name`."""
    if (
        name.isidentifier()
        and not keyword.iskeyword(name)
        and not name.startswith("_")
        # Python compares identifiers in this form.
        and unicodedata.normalize("NFKC", name) == name
    ):
        return name
    return "x_" + re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_")


def distinct_names(names: Iterable[str]) -> list[str]:
    """Return safe names for several, no two of which are equal."""
    found: dict[str, None] = {}
    for index, name in enumerate(names):
        safe = safe_name(name)
        while safe in found:
            safe = f"{safe}_{index}"
        found[safe] = None
    return [*found]
