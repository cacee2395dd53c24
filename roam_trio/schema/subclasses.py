"""Instances of derived classes, which may have more fields than the declared class.

Only the declared fields are sent, so additional fields would be lost. An instance with
additional fields is refused. One without is sent as an instance of the declared class.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterator
from functools import lru_cache
from itertools import takewhile
from typing import Any, cast

import attrs
import msgspec

from .kinds import kind_of
from .records import is_class_variable

__all__ = ["check_subclass", "lost_fields", "lost_text"]


def check_subclass(value: object, cls: type[Any]) -> None:
    """Check that an instance of a class derived from `cls` has no additional fields.

    Raises:
        TypeError: it has additional fields, which would be lost.
    """
    lost = lost_fields(value, cls)
    if lost:
        raise TypeError(lost_text(value, cls, lost))


def lost_text(value: object, cls: type[Any], lost: list[str]) -> str:
    """Return the reason why a value is refused."""
    name = type(value).__qualname__
    fields = ", ".join(map(repr, lost))
    return (
        f"expected {cls.__qualname__}, got {name}, which has more fields ({fields}): "
        f"they would be lost; declare {name}, or a union with it, or send a "
        f"{cls.__qualname__}"
    )


def lost_fields(value: object, cls: type[Any]) -> list[str]:
    """Return the fields of an instance that `cls`, a base of its class, does not have.

    These are the fields that the classes in between declare: to attrs, dataclasses or
    msgspec, by annotations, or in ``__slots__``. If one of these classes defines a
    constructor, the public attributes of the instance count as well.
    """
    kind = type(value)
    if kind is cls or cls not in kind.__mro__:
        return []  # a proxy imitates an instance

    own, writes_attributes = _own_fields(cast("Any", kind), cast("Any", cls))
    if not writes_attributes:
        return list(own)
    known = {*_declared(cls), *own}
    attributes = [
        name
        for name in getattr(value, "__dict__", ())
        # An attribute with a name of the class is a cached property.
        if name not in known and name[:1] != "_" and not hasattr(kind, name)
    ]
    return [*own, *attributes]


@lru_cache(maxsize=1024)
def _own_fields(kind: type[Any], cls: type[Any]) -> tuple[tuple[str, ...], bool]:
    """Return the fields that a class declares beyond those of its base `cls`, and
    whether it may set undeclared attributes.
    """
    between = [
        each
        for each in takewhile(lambda each: each is not cls, kind.__mro__)
        if each not in cls.__mro__
    ]
    names = dict.fromkeys(_declared(kind))
    for each in reversed(between):
        names |= dict.fromkeys(_named(each))
    for name in _declared(cls):
        names.pop(name, None)
    return tuple(names), any(map(_has_own_constructor, between))


def _declared(cls: type[Any]) -> Iterator[str]:
    if issubclass(cls, msgspec.Struct):
        yield from cls.__struct_fields__
    elif attrs.has(cls):
        yield from (field.name for field in attrs.fields(cls))
    elif dataclasses.is_dataclass(cls):
        yield from (field.name for field in dataclasses.fields(cls))
    elif (kind := kind_of(cls)) is not None:
        yield from kind.declared(cls)


def _named(cls: type[Any]) -> Iterator[str]:
    """Yield the names that a class itself declares."""
    if _is_decorated(cls):
        return
    for name, annotation in inspect.get_annotations(cls).items():
        if not is_class_variable(annotation):
            yield name
    slots = cls.__dict__.get("__slots__", ())
    for name in (slots,) if isinstance(slots, str) else slots:
        if not name.startswith("_"):
            yield name


def _has_own_constructor(cls: type[Any]) -> bool:
    """Return True if a class has a hand-written ``__init__``."""
    return "__init__" in cls.__dict__ and not _is_decorated(cls)


def _is_decorated(cls: type[Any]) -> bool:
    """Return True if a library knows all fields of a class."""
    own = cls.__dict__
    return (
        "__attrs_attrs__" in own
        or "__dataclass_fields__" in own
        or issubclass(cls, msgspec.Struct)
        or kind_of(cls) is not None
    )
