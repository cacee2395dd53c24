"""Values as JSON, harmless on a terminal and exact for programs."""

from __future__ import annotations

import json
import math
import re
from typing import Any, NoReturn, TypeGuard

from ..legible import legible

__all__ = ["BadJson", "as_array", "as_object", "json_line", "json_text", "value_of"]

_SUSPECT = re.compile("[^ -~\n]")


class BadJson(ValueError):
    """A text is no JSON; the message says where and why."""


def json_text(value: Any, indent: int | None = None) -> str:
    """Return a value as JSON.

    Control characters, and those that are invisible or change the direction of text,
    become escapes of JSON, so that the text is the same value and harms no terminal.

    Args:
        value: a plain value.
        indent: number of spaces a level; None for one line.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent)
    # Line breaks that are left are those of the indentation.
    return _SUSPECT.sub(_escaped, text)


def json_line(value: Any) -> bytes:
    """Return a value as a line of JSON."""
    return json_text(value).encode() + b"\n"


def _escaped(found: re.Match[str]) -> str:
    char = found.group()
    if legible(char) == char:
        return char
    if ord(char) < 0x10000:
        return f"\\u{ord(char):04x}"
    return json.dumps(char)[1:-1]  # a pair of surrogates


def value_of(text: str | bytes) -> Any:
    """Return the value of a JSON text; its integers are exact.

    Raises:
        BadJson: it is no JSON.
    """
    try:
        return json.loads(text, parse_float=_float, parse_constant=_no_constant)
    except RecursionError as error:
        raise BadJson("it is nested too deeply") from error
    except json.JSONDecodeError as error:
        raise BadJson(f"{error.msg}, at character {error.pos + 1}") from error
    except UnicodeDecodeError as error:
        raise BadJson(f"it is no text in UTF-8, at byte {error.start + 1}") from error
    except ValueError as error:
        # Python also advises to raise its bound for the digits of an integer.
        raise BadJson(str(error).partition("; use sys.")[0]) from error


def as_object(value: Any) -> dict[str, Any] | None:
    """Return a value of JSON if it is an object, else None."""
    return value if _is_object(value) else None


def as_array(value: Any) -> list[Any] | None:
    """Return a value of JSON if it is an array, else None."""
    return value if _is_array(value) else None


def _is_object(value: Any) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)


def _is_array(value: Any) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def _float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f'{text} is too large for f64; "Infinity" is in quotes')
    return value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f'JSON has no number {name}; write "{name}" in quotes')
