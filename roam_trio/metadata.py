"""Metadata of requests, responses and connections.

Metadata is a list of entries, each with a key, a value and flags. Order and duplicates
are kept (`rpc.metadata.duplicates`), and unknown keys are ignored
(`rpc.metadata.unknown`).
"""

from __future__ import annotations

import enum
import operator
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, SupportsIndex, TypeAlias, cast, overload

import msgspec

from .legible import MOST_SHOWN, legible

__all__ = [
    "NO_METADATA",
    "Metadata",
    "MetadataEntry",
    "MetadataFlags",
    "MetadataLike",
    "MetadataValue",
    "plain_value",
    "shown",
]

MetadataValue: TypeAlias = str | bytes | int
"""A text, opaque bytes, or an unsigned 64-bit number (`rpc.metadata.value`)."""


class MetadataFlags(enum.IntFlag):
    """Flags of an entry: restrictions on its use (`rpc.metadata.flags`)."""

    NONE = 0
    SENSITIVE = 1
    """The value never appears in a repr, a log, or the text of an error."""
    NO_PROPAGATE = 2
    """The entry is for this hop only: forwarding removes it."""


_SENSITIVE = 1
_NO_PROPAGATE = 2
_KNOWN_FLAGS = 3
_U64_MAX = (1 << 64) - 1


class MetadataEntry(msgspec.Struct, frozen=True, gc=False):
    """One entry; its repr hides the value if it is SENSITIVE.

    `flags` is a plain number, because unknown bits are kept when an entry is forwarded.
    """

    key: str
    value: MetadataValue
    flags: int = 0

    def __repr__(self) -> str:
        value = "<sensitive>" if self.flags & _SENSITIVE else _repr(self.value)
        return f"MetadataEntry({_repr(self.key)}, {value}, flags={self.flags})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """Return the fields for rich, which shows local variables in tracebacks."""
        value = _HIDDEN if self.flags & _SENSITIVE else self.value
        return [("key", self.key), ("value", value), ("flags", self.flags)]


class _Hidden:
    """Placeholder for a SENSITIVE value that is not shown."""

    def __repr__(self) -> str:
        return "<sensitive>"


_HIDDEN = _Hidden()


class Metadata(tuple[MetadataEntry, ...]):
    """An immutable sequence of entries.

    ``Metadata(entries)`` accepts the entries of a peer unchecked; `Metadata.of` makes
    and checks new ones.
    """

    __slots__ = ()

    @classmethod
    def of(cls, source: MetadataLike) -> Metadata:
        """Return checked metadata of this program.

        Args:
            source: a mapping of keys to values, or entries, which allow duplicate keys
                and flags. A `Metadata` is returned unchanged. Values of derived
                classes, and whole numbers of other classes, such as those of numpy,
                become a `str`, `bytes` or `int`.

        Raises:
            ValueError: a number is outside 64 bits, a text has no encoding in UTF-8, or
                a reserved flag bit is set.
            TypeError: a key is not a text, a value is of none of the three kinds, or an
                item is not an entry.
        """
        if isinstance(source, Metadata):
            return source
        if isinstance(source, Mapping):
            entries = [MetadataEntry(key, value) for key, value in source.items()]
        else:
            entries = list(source)
        return cls(map(_checked, entries))

    @overload
    def get(self, key: str) -> MetadataValue | None: ...
    @overload
    def get(self, key: str, default: MetadataValue) -> MetadataValue: ...
    def get(
        self, key: str, default: MetadataValue | None = None
    ) -> MetadataValue | None:
        """Return the first value of `key`; keys are compared exactly
        (`rpc.metadata.keys`)."""
        for entry in self:
            if entry.key == key:
                return entry.value
        return default

    def get_all(self, key: str) -> list[MetadataValue]:
        """Return every value of `key`, in order."""
        return [entry.value for entry in self if entry.key == key]

    def propagated(self) -> Metadata:
        """Return the entries to forward: all without NO_PROPAGATE, flags unchanged."""
        if any(entry.flags & _NO_PROPAGATE for entry in self):
            return Metadata(e for e in self if not e.flags & _NO_PROPAGATE)
        return self

    def __repr__(self) -> str:
        entries = [*map(repr, self[:_MOST_ENTRIES])]
        if len(self) > _MOST_ENTRIES:
            entries.append(f"... ({len(self)} entries)")
        return f"Metadata([{', '.join(entries)}])"


MetadataLike: TypeAlias = (
    Mapping[str, MetadataValue] | Sequence[MetadataEntry] | Iterator[MetadataEntry]
)
"""The argument of `Metadata.of`: a mapping, or entries."""

NO_METADATA = Metadata()

REQUEST_DEADLINE = "request-deadline"
"""Key of the time that is left for a call; the most frequent of all."""


def shown(metadata: Metadata) -> str:
    """Return metadata as readable text for an error, without SENSITIVE values."""
    said = [entry for entry in metadata[:_MOST_ENTRIES] if not entry.flags & _SENSITIVE]
    texts = [f"{_shown_key(entry.key)}={_repr(entry.value)}" for entry in said]
    if len(metadata) > _MOST_ENTRIES:
        texts.append(f"... ({len(metadata)} entries)")
    return ", ".join(texts)


def _shown_key(key: str) -> str:
    return legible(key if key.isprintable() else _repr(key), 100)


_MOST_ENTRIES = 20
"""Number of entries that the text of an error or a repr shows."""


def _repr(value: MetadataValue) -> str:
    """Return a cut `repr`, because a peer can send as much as fits into a payload."""
    if isinstance(value, int) or len(value) <= MOST_SHOWN:
        return legible(repr(value), 2 * MOST_SHOWN)
    return f"{legible(repr(value[:MOST_SHOWN]), MOST_SHOWN)}... ({len(value)} long)"


def plain_value(value: object) -> MetadataValue:
    """Return a value as the plain `str`, `bytes` or `int` that goes on the wire.

    Numbers of other classes wrap at their width when they are shifted, and a derived
    class may override methods so that they do not match its contents.

    Raises:
        TypeError: the value is of none of the three kinds.
    """
    if type(value) is str or type(value) is int or type(value) is bytes:
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, bytes):
        return memoryview(value).tobytes()
    try:
        return operator.index(cast("SupportsIndex", value))
    except TypeError:
        name = type(value).__qualname__
        raise TypeError(f"expected str, bytes or int, got {name}") from None


def _checked(entry: MetadataEntry) -> MetadataEntry:
    given: Any = entry
    if not isinstance(given, MetadataEntry):
        raise TypeError(
            f"metadata: expected MetadataEntry, got {type(given).__name__}; "
            "keys and values alone go into a mapping"
        )
    key: Any = entry.key
    if not isinstance(key, str):
        raise TypeError(f"metadata: expected a str as key, got {key!r}")
    key = str.__str__(key)
    _check_text(key, key, "key")
    flags = operator.index(entry.flags)
    if flags & ~_KNOWN_FLAGS:
        raise ValueError(
            f"metadata {key!r}: flags {flags:#x} have reserved bits set; "
            "only SENSITIVE and NO_PROPAGATE exist"
        )
    try:
        value = plain_value(entry.value)
    except TypeError as error:
        raise TypeError(f"metadata {key!r}: {error}") from None
    _check_value(key, value, is_secret=bool(flags & _SENSITIVE))
    if value is entry.value and key is entry.key and flags is entry.flags:
        return entry
    return MetadataEntry(key, value, flags)


def _check_value(key: str, value: MetadataValue, *, is_secret: bool) -> None:
    if isinstance(value, int):
        if not 0 <= value <= _U64_MAX:
            got = "a number outside" if is_secret else str(value)
            raise ValueError(f"metadata {key!r}: expected 0 to 2**64 - 1, got {got}")
    elif isinstance(value, str):
        _check_text(key, value, "value")


def _check_text(key: str, text: str, part: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        # The text of the original error would show the value, or a part of it.
        raise ValueError(
            f"metadata {key!r}: the {part} has no bytes in UTF-8: {error.reason}"
        ) from None
