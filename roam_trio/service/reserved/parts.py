"""Descriptions in parts, so that large ones do not delay other tasks.

A description is made, encoded, decoded and checked in steps of one method or type. A
step is short, whatever the number of methods is, and other tasks run after each.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from itertools import chain
from typing import Final
from weakref import WeakKeyDictionary

import trio

from ..description.json_text import json_text
from ..description.model import ServiceSchema
from ..descriptor import ServiceDescriptor
from ..steps import in_turns

__all__ = ["PART_LENGTH", "parts_of"]

PART_LENGTH: Final = 16 * 1024
"""Length, in characters, from which a part is full."""

_making: Final = trio.lowlevel.RunVar[dict[ServiceDescriptor, trio.Event]](
    "roam_trio_descriptions"
)

_told: Final = WeakKeyDictionary[ServiceDescriptor, tuple[bytes, ...]]()


async def parts_of(descriptor: ServiceDescriptor) -> tuple[bytes, ...]:
    """Return the description of a service in parts, as `Reflection` sends it.

    They are made when they are first asked for, and kept as long as the service. Calls
    that come meanwhile wait: a crowd would otherwise make the same parts over and over.
    """
    while (found := _told.get(descriptor)) is None:
        making = _making_here()
        if descriptor in making:
            await making[descriptor].wait()
        else:
            await _make(descriptor, making)
    return found


def _making_here() -> dict[ServiceDescriptor, trio.Event]:
    """Return the descriptions that are being made in this run of trio."""
    try:
        return _making.get()
    except LookupError:
        _making.set({})
        return _making.get()


async def _make(
    descriptor: ServiceDescriptor, making: dict[ServiceDescriptor, trio.Event]
) -> None:
    done = making[descriptor] = trio.Event()
    try:
        _told[descriptor] = await in_turns(_encoded(descriptor))
    finally:
        # If it was cancelled, one of those that wait goes on.
        del making[descriptor]
        done.set()


def _encoded(
    descriptor: ServiceDescriptor,
) -> Generator[None, None, tuple[bytes, ...]]:
    schema = yield from descriptor.schema_in_steps()
    made: list[bytes] = []
    lists: dict[str, list[str]] = {}
    size = len(schema.doc)
    for kind, each in chain(
        (("types", each) for each in schema.types),
        (("methods", each) for each in schema.methods),
    ):
        if size >= PART_LENGTH:
            made.append(_part(schema, "" if made else schema.doc, lists))
            lists, size = {}, 0
        text = json_text(each)
        lists.setdefault(kind, []).append(text)
        size += len(text)
        yield
    made.append(_part(schema, "" if made else schema.doc, lists))
    return tuple(made)


def _part(schema: ServiceSchema, doc: str, lists: Mapping[str, list[str]]) -> bytes:
    """Return a part with methods and types that are in JSON already."""
    head = json_text(ServiceSchema(schema.name, doc=doc))
    texts = (f',"{kind}":[{",".join(each)}]' for kind, each in lists.items())
    return f"{head[:-1]}{''.join(texts)}}}".encode()
