"""Names in TypeScript."""

from __future__ import annotations

import json
import re
from collections.abc import Container
from typing import Final

from ...errors import SchemaError
from ...schema import kebab
from ..rust.names import words

__all__ = ["Names", "lower_camel", "property_name", "upper_camel"]

_RESERVED: Final = words(
    "any arguments as async await bigint boolean break case catch class const "
    "constructor continue debugger declare default delete do else enum eval "
    "export extends false finally for from function get if implements import in "
    "instanceof interface keyof let module namespace never new null number object "
    "of package private protected public readonly require return set static "
    "string super switch symbol this throw true try type typeof undefined unknown "
    "var void while with yield AbortController AbortSignal Array ArrayBuffer "
    "BigInt Boolean DataView Date Error Extract Infinity Iterable IteratorResult "
    "JSON Map Math NaN Number Object Promise Readonly ReadonlyMap Record "
    "ReturnType Set String Symbol TextDecoder TextEncoder Uint8Array WebSocket "
    "console performance "
)
"""Keywords, and names that generated code or the runtime uses."""


def upper_camel(name: str) -> str:
    """Return a name in CamelCase. Capitals and digits within its words are kept."""
    found = "".join(word[:1].upper() + word[1:] for word in re.split(r"[\W_]+", name))
    return found if found[:1].isalpha() else f"T{found}"


def lower_camel(name: str) -> str:
    """Return a name in camelCase, by the words that it has on the wire."""
    first, *others = [word for word in kebab(name).split("-") if word] or ["m"]
    found = first + "".join(word[:1].upper() + word[1:] for word in others)
    return found if found[:1].isalpha() else f"m{found}"


def property_name(name: str, path: str) -> str:
    """Return the name of a field or variant as a property of an object.

    Raises:
        SchemaError: an object in TypeScript does not keep such a property in its place.
    """
    if name.isdecimal() or name == "__proto__":
        raise SchemaError(
            f"the name {name!r} has no counterpart in TypeScript; rename it", path
        )
    if re.fullmatch(r"[A-Za-z_$][\w$]*", name, re.ASCII):
        return name
    return json.dumps(name)


class Names:
    """Assigns names, each only once.

    Args:
        taken: names that are forbidden, beside those that the language reserves.
    """

    def __init__(self, taken: Container[str] = ()) -> None:
        self._reserved = taken
        self._given: set[str] = set()

    def give(self, wish: str) -> str:
        """Return a name, with a number after it if it is not free."""
        found, number = wish, 2
        while found in self._given or found in _RESERVED or found in self._reserved:
            found, number = f"{wish}{number}", number + 1
        self._given.add(found)
        return found
