"""Arguments of calls as the user writes them."""

from __future__ import annotations

from typing import Any

from .exits import UsageError
from .json_text import BadJson, as_array, as_object, value_of

__all__ = ["arguments_of"]


def arguments_of(text: str | bytes, where: str) -> dict[str, Any] | list[Any]:
    """Return the arguments that a JSON text has: by name, or in their order.

    Args:
        text: the JSON.
        where: its place, for errors.

    Raises:
        UsageError: it is no JSON, or neither an object nor an array.
    """
    try:
        value: Any = value_of(text)
    except BadJson as error:
        raise UsageError(f"{where}: expected JSON: {error}") from error
    by_name, in_order = as_object(value), as_array(value)
    if by_name is not None:
        return by_name
    if in_order is not None:
        return in_order
    raise UsageError(
        f"{where}: expected an object with the arguments by name, or an array"
    )
