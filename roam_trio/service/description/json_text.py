"""Schemas as JSON, with numbers of any size."""

from __future__ import annotations

import json
from typing import Any

import msgspec

__all__ = ["json_text"]


def json_text(schema: msgspec.Struct, indent: int | None = None) -> str:
    """Return a part of a schema as JSON.

    Args:
        schema: the schema, or a part of it.
        indent: number of spaces a level; None for the compact form.
    """
    return json.dumps(
        plain(schema),
        ensure_ascii=False,
        allow_nan=False,
        indent=indent,
        separators=(",", ":") if indent is None else None,
    )


def plain(schema: Any) -> Any:
    """Return a part of a schema as dicts, lists and scalars."""
    # The module json writes integers of more than 64 bits, which msgspec.json refuses.
    return msgspec.to_builtins(schema)
