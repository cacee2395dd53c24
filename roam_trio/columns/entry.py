"""The metadata entry by which two peers tell each other that they know columns.

Nobody else looks at it (`rpc.metadata.unknown`). It is for one hop only, since the
peer behind a proxy may be another one tomorrow: whoever forwards a request leaves the
entry out, and both ends speak postcard (`rpc.metadata.flags.no-propagate`).

What an entry says is a number, of which each bit says one thing.
"""

from __future__ import annotations

from typing import Final

from ..metadata import NO_METADATA, Metadata, MetadataEntry, MetadataFlags

__all__ = [
    "MARKED",
    "READS_ARGUMENTS",
    "READS_RESULT",
    "is_marked",
    "said_in",
    "with_entry",
    "without_entry",
]

READS_RESULT: Final = 1
"""Of a request: the result may come in columns."""
MARKED: Final = 2
"""Of a request: a byte in front of the arguments says what they are in."""
READS_ARGUMENTS: Final = 4
"""Of a response: the arguments of this method may come in columns."""

_KEY: Final = "roam-trio-columns"
_ENTRIES: Final = tuple(
    Metadata([MetadataEntry(_KEY, says, int(MetadataFlags.NO_PROPAGATE))])
    for says in range(8)
)


def with_entry(metadata: Metadata, says: int) -> Metadata:
    """Return metadata with the entry. One that says nothing asks what the peer
    knows."""
    entry = _ENTRIES[says]
    return Metadata((*metadata, *entry)) if metadata else entry


def said_in(metadata: Metadata) -> int | None:
    """Return the value of the entry in some metadata; None if it is not there.

    What a later version may say beside is not looked at.
    """
    for entry in metadata:
        if entry.key == _KEY:
            value = entry.value
            return value if isinstance(value, int) else None
    return None


def without_entry(metadata: Metadata) -> Metadata:
    """Return metadata as its user has sent it."""
    if len(metadata) == 1 and metadata[0].key == _KEY:
        return NO_METADATA
    return Metadata([entry for entry in metadata if entry.key != _KEY])


def is_marked(metadata: Metadata) -> bool:
    """Return True if a request's arguments are not plain postcard."""
    said = said_in(metadata)
    return said is not None and bool(said & MARKED)
