"""Attributes of methods, which are the same for all of their calls."""

from __future__ import annotations

from typing import Final

from ...legible import legible
from ...rpc.method_names import is_method_here
from ...service.descriptor import MethodDescriptor
from .names import (
    METHOD,
    METHOD_ORIGINAL,
    OTHER,
    SYSTEM,
    SYSTEM_NAME,
)
from .outcomes import Outcome
from .places import Attributes, Place

__all__ = ["Method", "Methods"]

_MOST_NAME: Final = 200
"""Length, in characters, to which the name of an unknown method is cut."""

_MOST_METHODS: Final = 4096
"""Number of methods whose attributes are kept."""

_MOST_MEASURED: Final = 256
"""Number of sets of attributes that are kept for the measurements of a method."""


class Method:
    """The attributes of a method.

    Args:
        name: the service and the method, separated by a slash.
        is_known: see below.
        common: attributes of the server.

    Attributes:
        is_known: True if this program defines the method. The names of others come from
            a peer.
        span_name: the name of its spans.
        attributes: of its spans, from their start, so that samplers see them.
    """

    __slots__ = ("_base", "_measured", "attributes", "is_known", "span_name")

    def __init__(self, name: str, *, is_known: bool, common: Attributes) -> None:
        self.is_known = is_known
        self.span_name = name if is_known else SYSTEM
        known = name if is_known else OTHER
        self._base: Attributes = {SYSTEM_NAME: SYSTEM, METHOD: known, **common}
        self.attributes = dict(self._base)
        if not is_known:
            self.attributes[METHOD_ORIGINAL] = legible(name, _MOST_NAME)
        self._measured: dict[tuple[Outcome, Place | None], Attributes] = {}

    def measured(self, outcome: Outcome, server: Place | None) -> Attributes:
        """Return the attributes of a measurement of one of its calls.

        Args:
            outcome: the outcome of the call.
            server: the server, if the method has no attributes of it.
        """
        key = outcome, server
        found = self._measured.get(key)
        if found is None:
            if len(self._measured) >= _MOST_MEASURED:
                self._measured.clear()
            more = {} if server is None else server.as_measured
            found = {**self._base, **more, **outcome.attributes}
            self._measured[key] = found
        return found


class Methods:
    """The attributes of methods by their descriptors.

    Args:
        common: attributes of the server, for each of them.
    """

    def __init__(self, common: Attributes) -> None:
        self._common = common
        self._kept: dict[MethodDescriptor, Method] = {}

    def of(self, method: MethodDescriptor) -> Method:
        """Return the attributes of a method, which are kept."""
        found = self._kept.get(method)
        if found is None:
            if len(self._kept) >= _MOST_METHODS:
                self._kept.clear()
            found = self._kept[method] = self.named(
                f"{method.service}/{method.name}", is_known=is_method_here(method.id)
            )
        return found

    def named(self, name: str, *, is_known: bool) -> Method:
        """Return the attributes of a method by its name; they are not kept."""
        return Method(name, is_known=is_known, common=self._common)
