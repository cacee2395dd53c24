"""Checks of the texts of a peer that are passed to propagators.

The propagators of the API log each text that they refuse as it is, and for a baggage
once for each member. They look for its commas in a time that grows with the square of
the number of blanks. Therefore they get well-formed texts alone, without blanks.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import Final

__all__ = ["well_formed"]

_MOST: Final = 8192
"""Length, in characters, of the longest value that is read: that of a baggage."""

_MOST_PARENT: Final = 256
"""Length, in characters, of the longest ``trace-parent`` that is read; today's have
55."""

_MOST_STATES: Final = 32
"""Number of members that W3C Trace Context allows."""

_MOST_PAIRS: Final = 180
_MOST_PAIR: Final = 4096
"""Number and length of members of a baggage that are read: those of W3C Baggage."""

_BLANKS: Final = " \t"
_WITHOUT_BLANKS: Final = str.maketrans("", "", _BLANKS)

_STATE: Final = re.compile(
    r"([a-z][a-z0-9_*/-]{0,255}|[a-z0-9][a-z0-9_*/-]{0,240}@[a-z][a-z0-9_*/-]{0,13})"
    r"=[ -+\--<>-~]{0,255}[!-+\--<>-~]"
)

_NAME: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_VALUE: Final = r"[!#-+\--:<-\[\]-~]*"
_IS: Final = r"[ \t]*=[ \t]*"
_PAIR: Final = re.compile(
    f"{_NAME}{_IS}{_VALUE}(?:[ \\t]*;[ \\t]*{_NAME}(?:{_IS}{_VALUE})?)*"
)


def well_formed(key: str, text: str) -> str:
    """Return what a propagator is given of a text; empty for nothing.

    Args:
        key: the key of metadata.
        text: its value.
    """
    if len(text) > _MOST:
        return ""
    if key == "baggage":
        return _baggage(text)
    if key == "trace-state":
        return _trace_state(text)
    if key == "trace-parent" and len(text) > _MOST_PARENT:
        return ""
    return text if text.isascii() and text.isprintable() else ""


def _baggage(text: str) -> str:
    """Return the members that are well-formed, up to the number that is allowed."""
    members = (member.strip(_BLANKS) for member in text.split(","))
    good = (
        member.translate(_WITHOUT_BLANKS)
        for member in members
        if len(member) <= _MOST_PAIR and _PAIR.fullmatch(member)
    )
    return ",".join(islice(good, _MOST_PAIRS))


def _trace_state(text: str) -> str:
    """Return all of the members, or none, as W3C Trace Context wants it."""
    stripped = (member.strip(_BLANKS) for member in text.split(","))
    members = [member for member in stripped if member]
    found = [_STATE.fullmatch(member) for member in members[: _MOST_STATES + 1]]
    keys = {match[1] for match in found if match is not None}
    if len(members) > _MOST_STATES or len(keys) < len(members):
        return ""
    return ",".join(members)
