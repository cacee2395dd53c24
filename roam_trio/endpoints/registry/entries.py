"""The entries of a service in a registry, as texts: without I/O.

A registry may contain anything. Therefore entries are checked and bounded, as messages
of a peer are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Annotated, Final

import msgspec

from ..lasting.balancing import Address

__all__ = ["MOST_ENTRIES", "addresses_of", "is_of_one_process", "text_of"]

MOST_ENTRIES: Final = 4096
"""Number of entries of a service that are read."""

MOST_OF_TEXT: Final = 4096
"""Length, in characters, of an entry that is read."""

_OF_ONE_PROCESS: Final = ("fd:", "fd+", "stdio:")
"""Schemes of what a process inherits, so that no other process can use it."""

_Number = Annotated[int, msgspec.Meta(ge=0, le=65_535)]
_Weight = Annotated[int, msgspec.Meta(ge=1, le=65_535)]
_Url = Annotated[str, msgspec.Meta(max_length=2048, pattern=r"^[!-~]+\Z")]


class _Entry(msgspec.Struct, omit_defaults=True):
    """An entry, which is written as a JSON object.

    Attributes:
        url: the URL of a server.
        id: tells entries of servers apart that have the same URL, one after the other
            or at the same time: each withdraws its own.
        priority: see `Address`.
        weight: see `Address`.
    """

    url: _Url
    id: str = ""
    priority: _Number = 0
    weight: _Weight = 1


def text_of(address: Address, owner: str) -> str:
    """Return the entry of a server.

    Args:
        address: the address of the server.
        owner: a text that no other server has.
    """
    entry = _Entry(address.url, owner, address.priority, address.weight)
    return msgspec.json.encode(entry).decode()


def addresses_of(texts: Iterable[str]) -> tuple[Sequence[Address], int]:
    """Return the addresses in entries, each URL once, and the number of bad entries.

    The order does not depend on that of the entries, so that all clients have the same.

    Args:
        texts: the entries; those beyond `MOST_ENTRIES` are left out.
    """
    found: set[Address] = set()
    bad = 0
    for text in islice(texts, MOST_ENTRIES):
        address = _address_of(text)
        if address is None:
            bad += 1
        else:
            found.add(address)
    by_url = {each.url: each for each in sorted(found, reverse=True)}
    return sorted(by_url.values(), key=lambda each: (each.priority, each.url)), bad


def is_of_one_process(url: str) -> bool:
    """Return whether a URL means something that only its process has."""
    return url.lower().startswith(_OF_ONE_PROCESS)


def _address_of(text: str) -> Address | None:
    """Return the address in an entry; None if it is no entry."""
    if len(text) > MOST_OF_TEXT:
        return None
    try:
        entry = msgspec.json.decode(text, type=_Entry)
    except (msgspec.DecodeError, UnicodeEncodeError):
        return None
    if is_of_one_process(entry.url):
        return None
    return Address(entry.url, entry.priority, entry.weight)
