"""The text of a `ValidationError`, in one line and without the values of a peer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pydantic_core import ErrorDetails, ValidationError

from ...codec.walk import raised_without_values, text_of
from ...schema.kinds import Explained

__all__ = ["explained"]

_MOST_TEXT: Final = 200
"""Length, in characters, of the longest message of a validator that is kept."""

_MOST_ERRORS: Final = 1000
"""Number of errors up to which the first is told. To get it, pydantic makes objects for
all of them, which take some hundred times the memory of what a peer has sent."""

_WITHOUT_VALUES: Final = frozenset(
    {
        *("greater_than", "greater_than_equal", "less_than", "less_than_equal"),
        *("multiple_of", "finite_number", "missing", "extra_forbidden"),
        *("string_too_short", "string_too_long", "string_pattern_mismatch"),
        *("bytes_too_short", "bytes_too_long", "too_short", "too_long"),
        *("date_past", "date_future", "datetime_past", "datetime_future"),
        *("timezone_naive", "timezone_aware", "string_type", "int_type", "enum"),
        *("literal_error", "is_instance_of"),
    }
)
"""Errors whose messages contain what the model declares, and nothing of the value."""


def explained(
    title: str, names: Mapping[str | None, str], error: ValidationError
) -> Explained:
    """Return what the first of the errors says, and how many others there are.

    Of very many, return the number alone.

    Args:
        title: the name of the model.
        names: the attributes of its fields by the arguments of its constructor.
        error: the error.
    """
    count = error.error_count()
    if count > _MOST_ERRORS:
        text = f"{title} refused its fields: {count} errors"
        return Explained("", text, text)
    first, *others = error.errors(include_url=False)
    attribute = names.get(str(first["loc"][0]), "") if first["loc"] else ""
    more = f" (and {len(others)} more)" if others else ""
    message = _bounded(first["msg"])
    return Explained(
        attribute,
        f"{title} refused its fields: {message}, got {text_of(first['input'])}{more}",
        f"{title} refused its fields: {_without_values(first)}{more}",
    )


def _without_values(details: ErrorDetails) -> str:
    kind = details["type"]
    if kind in _WITHOUT_VALUES:
        return _bounded(details["msg"])
    raised: Any = details.get("ctx", {}).get("error")
    if isinstance(raised, Exception):
        return _bounded(raised_without_values(raised))
    return _bounded(kind)


def _bounded(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _MOST_TEXT else f"{text[:_MOST_TEXT]}…"
