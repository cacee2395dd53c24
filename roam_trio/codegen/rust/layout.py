"""Python source in lines of 88 characters, in the format of ruff."""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Sequence
from typing import Final

__all__ = ["INDENT", "WIDTH", "bracketed", "docstring", "import_of"]

WIDTH: Final = 88
INDENT: Final = "    "


def bracketed(
    head: str, parts: Sequence[str], tail: str, indent: str = ""
) -> list[str]:
    """Return parts between brackets: on one line, on their own line, or on one each.

    Args:
        head: the text up to the opening bracket.
        parts: the parts, without commas.
        tail: the text from the closing bracket on.
        indent: the start of every line.
    """
    line = f"{indent}{head}{', '.join(parts)}{tail}"
    if len(line) <= WIDTH or not parts:
        return [line]
    inside = f"{indent}{INDENT}{', '.join(parts)}"
    if len(inside) <= WIDTH and len(parts) > 1:
        return [f"{indent}{head}", inside, f"{indent}{tail}"]
    each = [f"{indent}{INDENT}{part}," for part in parts]
    return [f"{indent}{head}", *each, f"{indent}{tail}"]


def import_of(module: str, names: Sequence[str]) -> list[str]:
    """Return an import of sorted names."""
    line = f"from {module} import {', '.join(names)}"
    if len(line) <= WIDTH:
        return [line]
    return [f"from {module} import (", *(f"{INDENT}{each}," for each in names), ")"]


def docstring(doc: str, indent: str) -> list[str]:
    """Return a docstring; lines that are too long are broken."""
    if not doc:
        return []
    lines: list[str] = []
    for number, written in enumerate(doc.split("\n")):
        line = _escaped(written).rstrip()
        room = WIDTH - len(indent) - (3 if number == 0 else 0)
        lines += _broken(line, room)
    first = f'"""{lines[0].lstrip()}'
    if lines[0].startswith('"'):
        first = f'""" {lines[0]}'
    if len(lines) == 1:
        end = " " if first.endswith('"') and len(first) > 3 else ""
        if len(indent) + len(first) + len(end) + 3 <= WIDTH:
            return [f'{indent}{first}{end}"""']
    rest = [f"{indent}{line}" if line else "" for line in lines[1:]]
    return [f"{indent}{first}", *rest, f'{indent}"""']


def _broken(line: str, room: int) -> list[str]:
    if len(line) <= room:
        return [line]
    before = line[: len(line) - len(line.lstrip())]
    return textwrap.wrap(
        line,
        room,
        subsequent_indent=before,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _escaped(line: str) -> str:
    written = line.replace("\\", "\\\\").replace('"""', '\\"\\"\\"')
    return "".join(
        char
        if unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Zl", "Zp")
        else char.encode("unicode_escape").decode()
        for char in written
    )
