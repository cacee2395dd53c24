"""Names of unions: those of their aliases in Python."""

from __future__ import annotations

import builtins
import sys
from collections.abc import Iterator
from types import UnionType
from typing import Any, Final, Union, get_args, get_origin

from ...schema.shape import ChannelShape, Shape, UnionShape, walked
from ...service import ServiceDescriptor

__all__ = ["union_aliases"]

_MOST_NAMES: Final = 3


def union_aliases(service: ServiceDescriptor) -> dict[str, str]:
    """Return a name for each union of a service, by the label that its schema has."""
    found: dict[str, str] = {}
    for union in _unions(service):
        classes = [each.record.cls for each in union.variants]
        label = " | ".join(each.name for each in union.variants)
        found[union.name.split(" #")[0]] = _alias(classes) or _joined(label)
    return found


def _unions(service: ServiceDescriptor) -> Iterator[UnionShape]:
    for method in service.methods:
        result = method.result_plan
        left: list[Shape] = [method.args_plan.shape, result.ok.shape]
        left += [] if result.error is None else [result.error.shape]
        while left:
            for shape in walked(left.pop()):
                if isinstance(shape, UnionShape):
                    yield shape
                elif isinstance(shape, ChannelShape):
                    left.append(shape.item)


def _alias(classes: list[type[Any]]) -> str | None:
    for module in dict.fromkeys(each.__module__ for each in classes):
        for name, value in vars(sys.modules.get(module, builtins)).items():
            if get_origin(value) in (Union, UnionType):
                parts = [get_origin(each) or each for each in get_args(value)]
                if parts == classes:
                    return name
    return None


def _joined(label: str) -> str:
    names = label.split(" | ")
    return " or ".join(names if len(names) <= _MOST_NAMES else [*names[:2], "other"])
