"""Services and handlers of modules that the user names, as ``module:name``."""

from __future__ import annotations

import importlib
import os
import sys
from operator import attrgetter
from types import ModuleType
from typing import Any

from ..service import ServiceDescriptor, describe
from .exits import UsageError

__all__ = ["object_at", "service_at"]


def service_at(specification: str) -> ServiceDescriptor:
    """Return the descriptor of a class, given as ``module:Class``.

    What the module raises when it is imported is raised unchanged.

    Raises:
        UsageError: there is no such module, or no such service in it.
    """
    found = object_at(specification, "examples.adder:Adder")
    try:
        return describe(found)
    except TypeError as error:
        raise UsageError(f"{specification}: {error}") from error


def object_at(specification: str, example: str) -> Any:
    """Return an object, given as ``module:name``. The current directory is searched
    first.

    Raises:
        UsageError: there is no such module, or no such name in it.
    """
    module_name, colon, path = specification.partition(":")
    if not (module_name and colon and path):
        raise UsageError(
            f"{specification}: expected a module and a name in it, as in {example}"
        )
    module = _module(module_name)
    try:
        return attrgetter(path)(module)
    except AttributeError as error:
        raise UsageError(f"{specification}: {error}") from error


def _module(name: str) -> ModuleType:
    here = os.getcwd()
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)  # as `python -m` does
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        # A missing module that the module itself imports is a fault of the module.
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise
        raise UsageError(
            f"{name}: there is no such module; the current directory is searched first"
        ) from error
