"""The metadata entry by which two peers tell each other that they know columns.

Nobody else looks at it (`rpc.metadata.unknown`). It is for one hop only, since the
peer behind a proxy may be another one tomorrow: whoever forwards a request leaves the
entry out, and both ends speak postcard (`rpc.metadata.flags.no-propagate`).
"""

from __future__ import annotations

import enum

from .metadata import Metadata, MetadataEntry, MetadataFlags

__all__ = ["ColumnsSaid", "is_marked", "said_in", "with_entry", "without_entry"]

_KEY = "roam-trio-columns"


class ColumnsSaid(enum.IntFlag):
    """What the entry says."""

    NOTHING = 0
    """Of a request: tell me whether you know columns."""
    READS_RESULT = 1
    """Of a request: the result may come in columns."""
    MARKED = 2
    """Of a request: a byte in front of the arguments says what they are in."""
    READS_ARGUMENTS = 4
    """Of a response: the arguments of this method may come in columns."""


def with_entry(metadata: Metadata, says: ColumnsSaid) -> Metadata:
    """Metadata with the entry."""
    return Metadata((*metadata, _ENTRIES[says]))


_ENTRIES = {
    says: MetadataEntry(_KEY, int(says), int(MetadataFlags.NO_PROPAGATE))
    for says in map(ColumnsSaid, range(8))
}


def said_in(metadata: Metadata) -> ColumnsSaid | None:
    """What the entry in some metadata says; None if it is not there.

    What a later version may say beside is not looked at.
    """
    value = metadata.get(_KEY)
    return ColumnsSaid(value & 7) if isinstance(value, int) else None


def without_entry(metadata: Metadata) -> Metadata:
    """Metadata as its user has sent it."""
    return Metadata(entry for entry in metadata if entry.key != _KEY)


def is_marked(metadata: Metadata) -> bool:
    """Whether a request's arguments are not plain postcard."""
    said = said_in(metadata)
    return said is not None and ColumnsSaid.MARKED in said
