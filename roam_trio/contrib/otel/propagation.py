"""The context of a trace in the metadata of calls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from opentelemetry.context import Context
from opentelemetry.propagators.textmap import Getter, Setter, TextMapPropagator

from ...logs import Log
from ...metadata import NO_METADATA, Metadata, MetadataEntry
from ...service.middleware import CallMetadata
from .sampling import is_left_out
from .well_formed import well_formed

__all__ = ["Propagation"]

logger = Log("roam_trio.otel")

_KEYS: Final = {"traceparent": "trace-parent", "tracestate": "trace-state"}
"""Keys of metadata for the fields of propagators; other fields are keys themselves."""

_FIELDS: Final = {key: field for field, key in _KEYS.items()}

_NONE: Final = Context()


class _Getter(Getter[Sequence[MetadataEntry]]):
    """Reads entries that a peer has sent."""

    def get(self, carrier: Sequence[MetadataEntry], key: str) -> list[str] | None:
        wanted = _KEYS.get(key, key)
        return [
            text
            for entry in carrier
            if entry.key == wanted
            and isinstance(entry.value, str)
            and (text := well_formed(wanted, entry.value))
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

    The calls of a trace that is not sampled have equal entries, so the last ones are
    kept.

    Args:
        propagator: makes entries of contexts, and contexts of entries.
        follows_parents: see `follows_parents`.
    """

    __slots__ = ("_extracted", "_follows_parents", "_keys", "_propagator", "_unsampled")

    def __init__(self, propagator: TextMapPropagator, *, follows_parents: bool) -> None:
        self._propagator = propagator
        self._follows_parents = follows_parents
        self._keys = frozenset(_KEYS.get(field, field) for field in propagator.fields)
        self._extracted: tuple[Metadata, Context, bool] = NO_METADATA, _NONE, False
        self._unsampled: tuple[Context, Metadata | None] = _NONE, None

    def extract(self, metadata: Metadata) -> tuple[Context, bool]:
        """Return the context of the caller, and True if its trace is not sampled.

        The context is empty if the caller tells none: a span around the whole server is
        no parent of its calls.
        """
        entries, context, is_unsampled = self._extracted
        if metadata == entries:  # of many calls there is nothing else
            return context, is_unsampled
        found = Metadata(entry for entry in metadata if entry.key in self._keys)
        if not found:
            return _NONE, False
        if entries != found:
            context = self._context_in(found)
            is_unsampled = self._follows_parents and is_left_out(context)
            self._extracted = found, context, is_unsampled
        return context, is_unsampled

    def _context_in(self, metadata: Metadata) -> Context:
        try:
            return self._propagator.extract(metadata, Context(), _GETTER)
        except Exception as error:
            logger.failure(error, "the context of a call was not read")
            return _NONE

    def unsampled(self, context: Context) -> Metadata | None:
        """Return the entries of a context whose trace is not sampled; None if it is, or
        if its sampler may want the call all the same."""
        known, entries = self._unsampled
        if known is not context:
            entries = None
            if self._follows_parents and is_left_out(context):
                made = CallMetadata()
                self.inject(made, context)
                entries = Metadata.of(made)
            self._unsampled = context, entries
        return entries

    def inject(self, metadata: CallMetadata, context: Context) -> None:
        """Put the context of a span into the metadata of its call."""
        try:
            self._propagator.inject(metadata, context, _SETTER)
        except Exception as error:
            logger.failure(error, "the context of a call was not sent, or in part")
