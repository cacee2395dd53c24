"""The context of a trace in the metadata of calls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from opentelemetry.context import Context
from opentelemetry.propagators.textmap import Getter, Setter, TextMapPropagator

from ...metadata import MetadataEntry
from ...service.middleware import CallMetadata

__all__ = ["Propagation"]

_KEYS: Final = {"traceparent": "trace-parent", "tracestate": "trace-state"}
"""Keys of metadata for the fields of propagators; other fields are keys themselves."""

_FIELDS: Final = {key: field for field, key in _KEYS.items()}

_MOST: Final = 8192
"""Length, in characters, of the longest value that is read: that of a baggage."""

_NONE: Final = Context()


class _Getter(Getter[Sequence[MetadataEntry]]):
    """Reads entries that a peer has sent."""

    def get(self, carrier: Sequence[MetadataEntry], key: str) -> list[str] | None:
        wanted = _KEYS.get(key, key)
        return [
            entry.value
            for entry in carrier
            if entry.key == wanted
            and isinstance(entry.value, str)
            and len(entry.value) <= _MOST
        ] or None

    def keys(self, carrier: Sequence[MetadataEntry]) -> list[str]:
        return [_FIELDS.get(entry.key, entry.key) for entry in carrier]


class _Setter(Setter[CallMetadata]):
    """Writes entries; an entry of the same key goes."""

    def set(self, carrier: CallMetadata, key: str, value: str) -> None:
        carrier[_KEYS.get(key, key)] = value


_GETTER: Final = _Getter()
_SETTER: Final = _Setter()


class Propagation:
    """Moves contexts between calls and their metadata.

    The calls of one unsampled trace carry equal entries, so the last are kept.

    Args:
        propagator: makes entries of contexts, and contexts of entries.
    """

    def __init__(self, propagator: TextMapPropagator) -> None:
        self._propagator = propagator
        self._keys = frozenset(_KEYS.get(field, field) for field in propagator.fields)
        self._extracted: tuple[list[MetadataEntry], Context] = [], _NONE
        self._injected: tuple[Context, CallMetadata] = _NONE, CallMetadata()

    def extract(self, metadata: Sequence[MetadataEntry]) -> Context:
        """Return the context of the caller; an empty one if it tells none.

        A span around the whole server is no parent of its calls.
        """
        found = [entry for entry in metadata if entry.key in self._keys]
        if not found:
            return _NONE
        entries, context = self._extracted
        if entries != found:
            context = self._propagator.extract(found, Context(), _GETTER)
            self._extracted = found, context
        return context

    def inject(self, metadata: CallMetadata, context: Context) -> None:
        """Put the context of a span into the metadata of its call."""
        self._propagator.inject(metadata, context, _SETTER)

    def inject_again(self, metadata: CallMetadata, context: Context) -> None:
        """As `inject`, for a context that other calls may have too."""
        last, entries = self._injected
        if last is not context:
            entries = CallMetadata()
            self.inject(entries, context)
            self._injected = context, entries
        if metadata:
            for entry in entries:
                metadata[entry.key] = entry.value
        else:
            metadata.extend(entries)
