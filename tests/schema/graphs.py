"""Classes that refer to one another in many ways."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import Any

import attrs

__all__ = ["complete", "graph", "ladder"]

_numbers = itertools.count()


def graph(edges: Mapping[str, Iterable[str]]) -> dict[str, Any]:
    """A class for each name, with an optional field for each of others.

    Args:
        edges: for each class the types of its fields, as they are written.
    """
    module = ModuleType(f"graph_{next(_numbers)}")
    sys.modules[module.__name__] = module
    for name, fields in edges.items():
        annotations = {f"f{index}": text for index, text in enumerate(fields)}
        body = {"__annotations__": annotations, "__module__": module.__name__}
        setattr(module, name, attrs.define(type(name, (), body)))
    return vars(module)


def complete(count: int) -> dict[str, Any]:
    """Each of so many classes refers to all of them."""
    names = [f"C{index}" for index in range(count)]
    return graph({name: [f"{each} | None" for each in names] for name in names})


def ladder(count: int) -> dict[str, Any]:
    """Each class has two fields of the next one, and the last is empty."""
    return graph(
        {f"C{n}": [f"C{n + 1}"] * 2 if n < count else [] for n in range(count + 1)}
    )
