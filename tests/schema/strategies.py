"""Random types, classes included, each with the values it has."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import ipaddress
import itertools
import string
import uuid
from collections.abc import Callable
from decimal import Decimal
from functools import reduce
from operator import or_
from typing import Annotated, Any, Literal, NamedTuple

import attrs
import msgspec
from hypothesis import strategies as st

from roam_trio import SchemaError
from roam_trio.schema import (
    Array,
    Length,
    char,
    f32,
    i8,
    i16,
    i32,
    i64,
    i128,
    shape_of,
    transparent,
    u8,
    u16,
    u32,
    u64,
    u128,
)

from .examples import Add, AttrsPage, DataPage, Expr, MsgspecPage, Neg, Num, Tree

MANY_DAYS = datetime.timedelta(10**5)
TEXT = st.text(st.characters(codec="utf-8"), max_size=6)


class Spec(NamedTuple):
    """A type with a strategy for its values."""

    annotation: Any
    values: st.SearchStrategy[Any]
    hashable: bool = True
    takes_none: bool = False


def _integers(annotation: Any, bits: int, *, signed: bool) -> Spec:
    low = -(1 << bits - 1) if signed else 0
    # Small numbers take one byte, and have a path of their own.
    values = st.integers(0, 100) | st.integers(low, low + (1 << bits) - 1)
    return Spec(annotation, values)


LEAVES = [
    Spec(bool, st.booleans()),
    _integers(u8, 8, signed=False),
    _integers(u16, 16, signed=False),
    _integers(u32, 32, signed=False),
    _integers(u64, 64, signed=False),
    _integers(u128, 128, signed=False),
    _integers(i8, 8, signed=True),
    _integers(i16, 16, signed=True),
    _integers(i32, 32, signed=True),
    _integers(i64, 64, signed=True),
    _integers(i128, 128, signed=True),
    _integers(int, 64, signed=True),
    Spec(f32, st.floats(width=32, allow_nan=False)),
    Spec(float, st.floats(allow_nan=False)),
    Spec(char, st.characters(codec="utf-8")),
    Spec(str, TEXT),
    Spec(bytes, st.binary(max_size=6) | st.just(b"x" * 130)),
    Spec(memoryview, st.binary(max_size=6).map(memoryview), hashable=False),
    Spec(type(None), st.none(), takes_none=True),
    Spec(Annotated[bytes, Length(3)], st.binary(min_size=3, max_size=3)),
    Spec(uuid.UUID, st.uuids()),
    Spec(Decimal, st.decimals(allow_nan=False)),
    Spec(datetime.timedelta, st.timedeltas(-MANY_DAYS, MANY_DAYS)),
    Spec(ipaddress.IPv4Address, st.ip_addresses(v=4)),
]


def _trees() -> st.SearchStrategy[Tree]:
    numbers = st.integers(0, 2**32 - 1)
    return st.recursive(
        st.builds(Tree, numbers),
        lambda trees: st.builds(Tree, numbers, st.lists(trees, max_size=3)),
        max_leaves=4,
    )


def _expressions() -> st.SearchStrategy[Any]:
    return st.recursive(
        st.builds(Num, st.integers(-(2**31), 2**31 - 1)),
        lambda inner: st.builds(Add, inner, inner) | st.builds(Neg, inner),
        max_leaves=4,
    )


RECURSIVE = [Spec(Tree, _trees(), hashable=False), Spec(Expr, _expressions())]


# ---------------------------------------------------------------- containers


def list_of(item: Spec) -> Spec:
    return Spec(list[item.annotation], st.lists(item.values, max_size=4), False)


def many_of(item: Spec) -> Spec:
    values = st.lists(item.values, max_size=4).map(tuple)
    return Spec(tuple[item.annotation, ...], values, item.hashable)


def option_of(inner: Spec) -> Spec:
    if inner.takes_none:
        return inner
    values = st.none() | inner.values
    return Spec(inner.annotation | None, values, inner.hashable, takes_none=True)


def _set(item: Spec) -> Spec:
    if not item.hashable:
        return list_of(item)
    return Spec(set[item.annotation], st.sets(item.values, max_size=4), False)


def _frozenset(item: Spec) -> Spec:
    if not item.hashable:
        return many_of(item)
    return Spec(frozenset[item.annotation], st.frozensets(item.values, max_size=4))


def _array(item: Spec) -> Spec:
    values = st.lists(item.values, min_size=3, max_size=3)
    return Spec(Array[item.annotation, Literal[3]], values, False)


def _page(cls: Any) -> Callable[[Spec], Spec]:
    def page(item: Spec) -> Spec:
        last = st.builds(cls, st.lists(item.values, max_size=3))
        values = last | st.builds(cls, st.lists(item.values, max_size=3), last)
        return Spec(cls[item.annotation], values, False)

    return page


ONE = [
    list_of,
    many_of,
    option_of,
    _set,
    _frozenset,
    _array,
    _page(MsgspecPage),
    _page(AttrsPage),
    _page(DataPage),
]


def _tuple(items: list[Spec]) -> Spec:
    annotation = tuple[tuple(item.annotation for item in items)]
    values = st.tuples(*(item.values for item in items))
    return Spec(annotation, values, all(item.hashable for item in items))


def _dict(items: list[Spec]) -> Spec:
    key, value = items[0], items[-1]
    if not key.hashable:
        return _tuple(items)
    values = st.dictionaries(key.values, value.values, max_size=4)
    return Spec(dict[key.annotation, value.annotation], values, False)


# ---------------------------------------------------------------- classes

_numbers = itertools.count()


def restart_numbers() -> None:
    """Name classes from 0 again, so that the same examples have the same names."""
    global _numbers
    _numbers = itertools.count()


def _fields(items: list[Spec]) -> list[tuple[str, Any]]:
    # Names that the generated source must not trip over are among them.
    names = ["value", "buf", "pos", "append", "size", "id", "list", "n", "end", "tag"]
    return [(names[index], item.annotation) for index, item in enumerate(items)]


def _attrs(name: str, items: list[Spec], kw_only: bool) -> Any:
    fields = {
        name: attrs.field(type=annotation, kw_only=kw_only and index % 2 == 0)
        for index, (name, annotation) in enumerate(_fields(items))
    }
    return attrs.make_class(name, fields, frozen=True)


def _dataclass(name: str, items: list[Spec], kw_only: bool) -> Any:
    fields = _fields(items)
    return dataclasses.make_dataclass(name, fields, frozen=True, kw_only=kw_only)


def _msgspec(name: str, items: list[Spec], kw_only: bool) -> Any:
    return msgspec.defstruct(name, _fields(items), frozen=True, kw_only=kw_only)


def _array_like(name: str, items: list[Spec], kw_only: bool) -> Any:
    return msgspec.defstruct(name, _fields(items), frozen=True, array_like=True)


def _transparent(name: str, items: list[Spec], kw_only: bool) -> Any:
    return transparent(_attrs(name, items[:1], kw_only))


MAKERS = [_attrs, _dataclass, _msgspec, _array_like]


def _class(maker: Any, items: list[Spec], kw_only: bool) -> Spec:
    cls = maker(f"Class{next(_numbers)}", items, kw_only)
    names = [name for name, _ in _fields(items)]
    if maker is _transparent:
        names, items = names[:1], items[:1]
    strategies = {name: item.values for name, item in zip(names, items, strict=True)}
    values = st.fixed_dictionaries(strategies).map(lambda fields: cls(**fields))
    return Spec(cls, values, all(item.hashable for item in items))


def _union(variants: list[Spec]) -> Spec:
    annotation = reduce(or_, (variant.annotation for variant in variants))
    values = st.one_of(*(variant.values for variant in variants))
    return Spec(annotation, values, all(variant.hashable for variant in variants))


def _enum(names: list[str]) -> Spec:
    members = [
        (name, f"Wire{name}" if index % 2 else index)
        for index, name in enumerate(names)
    ]
    cls: Any = enum.Enum(f"Enum{next(_numbers)}", members)
    return Spec(cls, st.sampled_from(list(cls)))


def _several(specs: st.SearchStrategy[Spec]) -> st.SearchStrategy[list[Spec]]:
    return st.lists(specs, min_size=1, max_size=4)


def classes(specs: st.SearchStrategy[Spec]) -> st.SearchStrategy[Spec]:
    makers = st.sampled_from([*MAKERS, _transparent])
    return st.builds(_class, makers, _several(specs), st.booleans())


def unions(specs: st.SearchStrategy[Spec]) -> st.SearchStrategy[Spec]:
    fields = st.lists(specs, max_size=3)
    variant = st.builds(_class, st.sampled_from(MAKERS), fields, st.booleans())
    return st.lists(variant, min_size=2, max_size=4).map(_union)


def enums() -> st.SearchStrategy[Spec]:
    names = st.lists(
        st.text(string.ascii_uppercase, min_size=1, max_size=3),
        min_size=1,
        max_size=4,
        unique=True,
    )
    return names.filter(lambda names: "MRO" not in names).map(_enum)


def _wider(specs: st.SearchStrategy[Spec]) -> st.SearchStrategy[Spec]:
    return st.one_of(
        st.builds(lambda wrap, item: wrap(item), st.sampled_from(ONE), specs),
        _several(specs).map(_tuple),
        _several(specs).map(_dict),
        classes(specs),
        unions(specs),
    )


def specs() -> st.SearchStrategy[Spec]:
    """Types of every kind, nested."""
    leaves = st.sampled_from([*LEAVES, *RECURSIVE]) | enums()
    return st.recursive(leaves, _wider, max_leaves=8).filter(_has_a_bound)


def _has_a_bound(spec: Spec) -> bool:
    try:
        shape_of(spec.annotation)
    except SchemaError as error:
        if "items without bytes" not in error.problem:
            raise
        return False
    return True
