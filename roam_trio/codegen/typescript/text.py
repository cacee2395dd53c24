"""Texts of Python in TypeScript: comments and literals."""

from __future__ import annotations

import json
import unicodedata
from typing import Any

from msgspec import UnsetType

from ...service.description.model import OptionType, Type

__all__ = ["comment", "default_text", "is_nested", "literal"]

_BIG = frozenset({"u64", "u128", "usize", "i64", "i128", "isize"})


def literal(text: str) -> str:
    """Return a text as a literal of TypeScript."""
    return json.dumps(text)


def comment(doc: str, indent: str = "") -> str:
    """Return a docstring as the comment of what follows it; empty for an empty one."""
    if not doc:
        return ""
    shown = "".join(map(_shown, doc)).replace("*/", "*\\/")
    lines = [f"{indent} * {line}".rstrip() for line in shown.split("\n")]
    return "\n".join([f"{indent}/**", *lines, f"{indent} */", ""])


def _shown(char: str) -> str:
    """Escape line ends of other kinds, and characters that hide or reorder text."""
    if char in "\t\n" or unicodedata.category(char) not in (
        "Cc",
        "Cf",
        "Cs",
        "Zl",
        "Zp",
    ):
        return char
    return f"\\u{{{ord(char):x}}}"


def is_nested(option: OptionType) -> bool:
    """Return True if null could stand for a value within an option."""
    return isinstance(option.item, OptionType) or option.item == "unit"


def default_text(type: Type, value: Any | UnsetType) -> str | None:
    """Return the default of an argument as an expression, or None if there is none that
    is as simple in TypeScript.
    """
    if isinstance(type, OptionType):
        if value is not None:
            return None
        return "[]" if is_nested(type) else "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) and type in _BIG:
        return f"{value}n"
    if isinstance(value, int | float) and type in ("f32", "f64"):
        return repr(value)
    if isinstance(value, int) and isinstance(type, str):
        return str(value)
    return json.dumps(value) if isinstance(value, str) and type == "str" else None
