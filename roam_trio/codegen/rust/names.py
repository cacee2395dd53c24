"""Names of Rust and of Python, and the way from the one to the other.

Some names are on the wire and have to stay as they are: those of fields, of variants,
and, in kebab-case, of services and methods. The others may be changed at will.
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
    """Return the words of a text: a set of names that is easy to read."""
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
"""Names that stand in annotations and must not be hidden by a name of ours."""


def snake(name: str) -> str:
    """Return a name in snake_case: the words of its kebab-case."""
    return kebab(name).replace("-", "_")


def camel(name: str) -> str:
    """Return a name in CamelCase; capitals and digits within its words stay."""
    words = re.split(r"[\W_]+", name)
    return "".join(word[:1].upper() + word[1:] for word in words)


def is_rust_name(name: str) -> bool:
    """Return True if Rust takes a name as it is: an identifier that is no keyword."""
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
    """Return a name near to one of Rust's that Python takes, and that hides nothing.

    Args:
        name: an identifier of Rust, without ``r#``.
        avoid: names that it must not be.
    """
    found = unicodedata.normalize("NFKC", name)
    if found.startswith("__"):  # would be mangled in the body of a class
        found = found.strip("_") or "field"
        found = found if found.isidentifier() else f"n{found}"
    while keyword.iskeyword(found) or found in avoid:
        found += "_"
    return found


class Names:
    """Gives out names, each one once.

    Args:
        reserved: whether a name must not be given out.
    """

    def __init__(self, reserved: Callable[[str], bool]) -> None:
        self._reserved = reserved
        self._taken: set[str] = set()

    def give(self, *wishes: str) -> str:
        """Return the first free one of the wishes, or the last one with a number."""
        for wish in wishes:
            if self._is_free(wish):
                return self.take(wish)
        number = 2
        while not self._is_free(f"{wishes[-1]}{number}"):
            number += 1
        return self.take(f"{wishes[-1]}{number}")

    def take(self, name: str) -> str:
        """Take a name that cannot be another."""
        self._taken.add(name)
        return name

    def _is_free(self, name: str) -> bool:
        return name not in self._taken and not self._reserved(name)
