"""The metadata entry with which two peers agree on columns.

Other peers ignore it (`rpc.metadata.unknown`). It is for one hop only, because the peer
behind a proxy can change: a proxy removes the entry, and both ends use postcard
(`rpc.metadata.flags.no-propagate`). The value of the entry is a number whose bits are
flags.
"""

from __future__ import annotations

from typing import Final

from ..metadata import NO_METADATA, Metadata, MetadataEntry, MetadataFlags

__all__ = [
    "PREFIXED",
    "READS_ARGUMENTS",
    "READS_RESULT",
    "flags_in",
    "is_prefixed",
    "with_entry",
    "without_entry",
]

READS_RESULT: Final = 1
"""In a request: the result may be in columns."""
PREFIXED: Final = 2
"""In a request: a byte in front of the arguments names their encoding."""
READS_ARGUMENTS: Final = 4
"""In a response: the arguments of this method may be in columns."""

_KEY: Final = "roam-trio-columns"
_ENTRIES: Final = tuple(
    Metadata([MetadataEntry(_KEY, flags, int(MetadataFlags.NO_PROPAGATE))])
    for flags in range(8)
)


def with_entry(metadata: Metadata, flags: int) -> Metadata:
    """Return metadata with the entry. Without flags, the entry only asks the peer."""
    entry = _ENTRIES[flags]
    return Metadata((*metadata, *entry)) if metadata else entry


def flags_in(metadata: Metadata) -> int | None:
    """Return the value of the entry; None if it is missing. Unknown bits, of later
    versions, are ignored.
    """
    for entry in metadata:
        if entry.key == _KEY:
            value = entry.value
            return value if isinstance(value, int) else None
    return None


def without_entry(metadata: Metadata) -> Metadata:
    """Return metadata without the entry, as the user has sent it."""
    if len(metadata) == 1 and metadata[0].key == _KEY:
        return NO_METADATA
    return Metadata([entry for entry in metadata if entry.key != _KEY])


def is_prefixed(metadata: Metadata) -> bool:
    """Return True if a request's arguments are not plain postcard."""
    flags = flags_in(metadata)
    return flags is not None and bool(flags & PREFIXED)
