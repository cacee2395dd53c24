"""Names in Rust and Python, and their conversion.

Names on the wire must not change: those of fields, of variants, and, in kebab-case, of
services and methods. All other names may be changed.
"""

from __future__ import annotations

import keyword
import re
import unicodedata
from collections.abc import Callable, Container

from ...schema import kebab

__all__ = [
    "PYTHON_BUILTINS",
    "Names",
    "camel",
    "is_rust_name",
    "python_name",
    "rust_identifier",
    "snake",
    "words",
]


def words(text: str) -> frozenset[str]:
    """Return the words of a text, to write a set of names readably."""
    return frozenset(text.split())


_RUST_KEYWORDS = words(
    "abstract as async await become box break const continue crate do dyn else enum "
    "extern false final fn for gen if impl in let loop macro match mod move mut "
    "override priv pub ref return self Self static struct super trait true try type "
    "typeof unsafe unsized use virtual where while yield"
)
_NEVER_RAW = frozenset({"crate", "self", "super", "Self", "_"})

PYTHON_BUILTINS = words(
    "bool bytes dict float frozenset int list memoryview object set str tuple type "
    "property staticmethod classmethod Exception"
)
"""Names in annotations, which a generated name must not hide."""


def snake(name: str) -> str:
    """Return a name in snake_case: the words of its kebab-case."""
    return kebab(name).replace("-", "_")


def camel(name: str) -> str:
    """Return a name in CamelCase; capitals and digits within its words are kept."""
    words = re.split(r"[\W_]+", name)
    return "".join(word[:1].upper() + word[1:] for word in words)


def is_rust_name(name: str) -> bool:
    """Return True if a name is valid in Rust: an identifier that is not a keyword."""
    return (
        name.isidentifier()
        and unicodedata.is_normalized("NFC", name)
        and name not in _RUST_KEYWORDS
        and name != "_"
    )


def rust_identifier(name: str) -> str | None:
    """Return a name on the wire as an identifier of Rust, ``r#type``, if possible."""
    if is_rust_name(name):
        return name
    if name in _RUST_KEYWORDS and name not in _NEVER_RAW:
        return f"r#{name}"
    return None


def python_name(name: str, avoid: Container[str] = ()) -> str:
    """Return a valid Python name similar to one in Rust, which hides no other name.

    Args:
        name: an identifier of Rust, without ``r#``.
        avoid: forbidden names.
    """
    found = unicodedata.normalize("NFKC", name)
    if found.startswith("__"):  # would be mangled in the body of a class
        found = found.strip("_") or "field"
        found = found if found.isidentifier() else f"n{found}"
    while keyword.iskeyword(found) or found in avoid:
        found += "_"
    return found


class Names:
    """Assigns names, each only once.

    Args:
        reserved: returns whether a name is forbidden.
    """

    def __init__(self, reserved: Callable[[str], bool]) -> None:
        self._reserved = reserved
        self._taken: set[str] = set()

    def give(self, *wishes: str) -> str:
        """Return the first free candidate, or the last one with a number."""
        for wish in wishes:
            if self._is_free(wish):
                return self.take(wish)
        number = 2
        while not self._is_free(f"{wishes[-1]}{number}"):
            number += 1
        return self.take(f"{wishes[-1]}{number}")

    def take(self, name: str) -> str:
        """Reserve a name that cannot be changed."""
        self._taken.add(name)
        return name

    def _is_free(self, name: str) -> bool:
        return name not in self._taken and not self._reserved(name)
