"""Input and output of the commands `rust`, `import` and `typescript`."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import typer

from ..codegen.rust import RustError, interface_of, write_python, write_rust
from ..codegen.typescript import write_typescript
from ..errors import SchemaError
from ..extras import how_to_install
from .exits import UsageError
from .local_services import service_at

__all__ = ["GenerateError", "deliver", "python_of", "rust_of", "typescript_of"]

GRAMMAR = ("tree_sitter", "tree_sitter_rust")


class GenerateError(Exception):
    """Nothing could be generated. The text has the reason and a remedy."""


def rust_of(specifications: list[str]) -> str:
    """Return the Rust source of services, each given as ``module:Service``.

    Raises:
        GenerateError: a service cannot be found, or has no counterpart in Rust.
    """
    try:
        return write_rust(interface_of(list(map(service_at, specifications))))
    except (SchemaError, UsageError) as error:
        raise GenerateError(str(error)) from error


def typescript_of(specifications: list[str]) -> str:
    """Return the TypeScript source of services, each given as ``module:Service``.

    Raises:
        GenerateError: a service cannot be found, or has no counterpart in TypeScript.
    """
    try:
        return write_typescript(list(map(service_at, specifications)))
    except (SchemaError, UsageError) as error:
        raise GenerateError(str(error)) from error


def python_of(path: Path) -> tuple[str, list[str], list[str]]:
    """Return the Python source for a Rust source, what it leaves out, and notes on it.

    Raises:
        GenerateError: the file cannot be read, or has no counterpart in Python.
    """
    if not all(map(find_spec, GRAMMAR)):
        raise GenerateError(how_to_install("cli", "rust"))
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
