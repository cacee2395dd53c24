"""Generated Python source as a module, whose services can be looked at."""

from __future__ import annotations

import itertools
import sys
import types
from typing import Any

from roam_trio.codegen.rust import write_python
from roam_trio.codegen.rust.read import read_rust

__all__ = ["module_of", "python_of", "services_of"]

_numbers = itertools.count()


def python_of(rust: str) -> str:
    """The Python source for a Rust source of which nothing is left out."""
    reading = read_rust(rust, "case.rs")
    assert reading.left_out == ()
    return write_python(reading.interface)


def module_of(python: str) -> Any:
    """The module of a source. Its name is known while its annotations are resolved."""
    module = types.ModuleType(f"generated_{next(_numbers)}")
    sys.modules[module.__name__] = module
    exec(compile(python, module.__name__, "exec"), vars(module))
    return module


def services_of(rust: str) -> list[Any]:
    """The services that a Rust source becomes, in its order."""
    module = module_of(python_of(rust))
    return [
        each
        for each in vars(module).values()
        if isinstance(each, type) and "__roam_service__" in vars(each)
    ]
