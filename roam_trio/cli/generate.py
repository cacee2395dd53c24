"""Input and output of the commands `rust` and `import`."""

from __future__ import annotations

import importlib
from importlib.util import find_spec
from operator import attrgetter
from pathlib import Path
from types import ModuleType

import typer

from ..codegen.rust import RustError, interface_of, write_python, write_rust
from ..errors import SchemaError
from ..service import ServiceDescriptor, describe

__all__ = ["GenerateError", "deliver", "python_of", "rust_of"]

GRAMMAR = ("tree_sitter", "tree_sitter_rust")


class GenerateError(Exception):
    """Nothing could be generated. The text has the reason and a remedy."""


def rust_of(specifications: list[str]) -> str:
    """Return the Rust source of services, each given as ``module:Service``.

    Raises:
        GenerateError: a service cannot be found, or has no counterpart in Rust.
    """
    services = list(map(_service, specifications))
    try:
        return write_rust(interface_of(services))
    except SchemaError as error:
        raise GenerateError(str(error)) from error


def python_of(path: Path) -> tuple[str, list[str], list[str]]:
    """Return the Python source for a Rust source, what it leaves out, and notes on it.

    Raises:
        GenerateError: the file cannot be read, or has no counterpart in Python.
    """
    if not all(map(find_spec, GRAMMAR)):
        raise GenerateError(
            "it needs what the extra 'rust' brings: "
            "python -m pip install 'roam-trio[cli,rust]'"
        )
    from ..codegen.rust.read import read_rust

    try:
        reading = read_rust(path.read_text("utf-8"), str(path))
    except OSError as error:
        raise GenerateError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise GenerateError(f"{path}: not a text in UTF-8") from error
    except RustError as error:
        raise GenerateError(str(error)) from error
    left_out = [f"{path}:{each}" for each in reading.left_out]
    notes = [f"{path}:{each}" for each in reading.notes]
    return write_python(reading.interface), left_out, notes


def _service(specification: str) -> ServiceDescriptor:
    module_name, colon, path = specification.partition(":")
    if not (module_name and colon and path):
        raise GenerateError(
            f"{specification}: expected a module and a service in it, as in "
            "examples.adder:Adder"
        )
    try:
        return describe(attrgetter(path)(_module(module_name)))
    except (AttributeError, TypeError) as error:
        raise GenerateError(f"{specification}: {error}") from error
    except SchemaError as error:
        raise GenerateError(str(error)) from error


def _module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        # A missing module that the module itself imports is a fault of the module.
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise
        raise GenerateError(
            f"{name}: there is no such module; the current directory is searched first"
        ) from error


def deliver(text: str, output: Path | None) -> None:
    """Write a text to a file, or to standard output.

    Raises:
        GenerateError: the file cannot be written.
    """
    if output is None:
        typer.echo(text.encode(), nl=False)  # regardless of the terminal's encoding
        return
    try:
        output.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise GenerateError(f"{output}: {error.strerror}") from error
