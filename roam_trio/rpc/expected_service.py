"""Entries of metadata for peers with different versions of a service.

The side that opens a connection sends the fingerprint of the service that it is going
to call. The side that accepts sends the fingerprint of the service that it offers and,
if the two differ, its schema. The caller decides what follows (`Expected`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias

import attrs

from ..metadata import NO_METADATA, Metadata, MetadataEntry, MetadataFlags
from ..wire.entries import encode_metadata

__all__ = [
    "MOST_METADATA",
    "DescribedHandler",
    "Expected",
    "FetchSchema",
    "OfferedSchema",
    "expected_in",
    "offering",
    "with_expected",
    "without_schemas",
]

_EXPECTED: Final = "schema-expected"
_DIGEST: Final = "schema-digest"
_SCHEMA: Final = "schema"
_KEYS: Final = frozenset((_EXPECTED, _DIGEST, _SCHEMA))

_FLAGS: Final = MetadataFlags.NO_PROPAGATE.value
_LENGTH: Final = 16

MOST_METADATA: Final = 64 * 1024
"""Encoded size, in bytes, of the metadata of one message up to which a schema is in it:
what a peer accepts by default (`Limits.metadata_bytes`).
"""


class DescribedHandler(ABC):
    """A handler that can tell which service it answers for.

    The `Dispatcher` of a service is one. Other handlers tell nothing, and a caller
    finds out by its calls.
    """

    @property
    @abstractmethod
    def fingerprint(self) -> bytes:
        """The fingerprint of the service, of 16 bytes."""

    @property
    @abstractmethod
    def deflated_schema(self) -> bytes | None:
        """The schema as it stands in metadata; None if it is too long for that."""


@attrs.frozen
class OfferedSchema:
    """The answer of a peer that tells which service it offers.

    Attributes:
        fingerprint: the fingerprint of the service, unchecked.
        deflated: its schema, unchecked, if the peer has sent one.
        fetched: its schema, if the peer was asked for one that is too long to be sent.
        missing: the reason why there is no schema, if the peer was asked for it.
    """

    fingerprint: bytes
    deflated: bytes | None = attrs.field(default=None, repr=False)
    fetched: object = attrs.field(default=None, repr=False)
    missing: str = ""


FetchSchema: TypeAlias = Callable[[Any, str, OfferedSchema], Awaitable[OfferedSchema]]
"""Asks for the schema of the service with a name on a session, and returns it with what
the peer has told."""


class Expected:
    """The service that a connection is opened for, and the answer of the peer.

    Args:
        fingerprint: the fingerprint of the service, as this side knows it.

    Attributes:
        fingerprint: the argument.
        offered: what the peer has told; None if it has told nothing.
    """

    __slots__ = ("fingerprint", "offered")

    def __init__(self, fingerprint: bytes) -> None:
        self.fingerprint = fingerprint
        self.offered: OfferedSchema | None = None

    async def answer(
        self, fetch: FetchSchema | None, session: Any, name: str
    ) -> OfferedSchema | None:
        """Return the answer of a peer with another version; None if it has none.

        Ask for its schema if it has not sent that, which is a checkpoint. Forget the
        answer, because it can be long.

        Args:
            fetch: asks for a schema that the peer has not sent, if it is given.
            session: the session with the peer.
            name: the name under which the peer offers the service; empty for the root
                connection.
        """
        told, self.offered = self.offered, None
        if told is None or told.fingerprint == self.fingerprint:
            return None
        if told.deflated is None and fetch is not None:
            return await fetch(session, name, told)
        return told

    def note_answer(self, metadata: Metadata) -> None:
        """Take what the metadata of the answer tells."""
        found = _found_in(metadata)
        digest = found.get(_DIGEST)
        if digest is not None and len(digest) == _LENGTH:
            self.offered = OfferedSchema(digest, found.get(_SCHEMA))


def with_expected(metadata: Metadata, expected: Expected) -> Metadata:
    """Return the metadata of an open that says which service is expected."""
    return Metadata((*metadata, _entry(_EXPECTED, expected.fingerprint)))


def expected_in(metadata: Metadata) -> bytes | None:
    """Return the fingerprint in the metadata of an open, if there is one."""
    found = _found_in(metadata).get(_EXPECTED)
    return found if found is not None and len(found) == _LENGTH else None


def without_schemas(metadata: Metadata) -> Metadata:
    """Return metadata without the entries of this module, which programs do not see."""
    rest = [each for each in metadata if not _is_of_these(each)]
    if len(rest) == len(metadata):
        return metadata
    return Metadata(rest) if rest else NO_METADATA


def offering(
    metadata: Metadata, expected: bytes | None, handler: object, *, schemas: bool
) -> Metadata:
    """Return the metadata of an answer, which also tells what is offered.

    Args:
        metadata: the metadata of the answer without that.
        expected: the fingerprint that the peer has sent; None if it has sent none.
        handler: what is offered.
        schemas: whether the schema is sent, if the peer expects another.
    """
    if expected is None or not isinstance(handler, DescribedHandler):
        return metadata
    told = Metadata((*metadata, _entry(_DIGEST, handler.fingerprint)))
    if not schemas or handler.fingerprint == expected:
        return told
    deflated = handler.deflated_schema
    if deflated is None:
        return told
    with_schema = Metadata((*told, _entry(_SCHEMA, deflated)))
    # A peer ends a session in which it gets more.
    fits = len(encode_metadata(with_schema)) <= MOST_METADATA
    return with_schema if fits else told


def _found_in(metadata: Metadata) -> dict[str, bytes]:
    # The last of each: those of a program stand before them.
    found: dict[str, bytes] = {}
    for entry in metadata:
        if entry.key in _KEYS and entry.flags & _FLAGS:
            value = entry.value
            if isinstance(value, bytes):
                found[entry.key] = value
    return found


def _is_of_these(entry: MetadataEntry) -> bool:
    """Return False for entries of a program that happen to have the same key."""
    if entry.key not in _KEYS or not entry.flags & _FLAGS:
        return False
    return isinstance(entry.value, bytes)


def _entry(key: str, value: bytes) -> MetadataEntry:
    return MetadataEntry(key, value, _FLAGS)
