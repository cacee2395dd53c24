"""Signatures in errors, written as in the source."""

from __future__ import annotations

import inspect
from typing import Any

from ..errors import SchemaError
from ..schema import split_fallible
from ..schema.annotations import type_name

__all__ = ["show_annotation", "show_signature"]


def show_signature(signature: inspect.Signature) -> str:
    """Return a signature like ``(left: u32, right: u32) -> u32``, to follow a name."""
    return str(
        signature.replace(
            parameters=[
                parameter.replace(annotation=_shown(parameter.annotation))
                for parameter in signature.parameters.values()
            ],
            return_annotation=_shown(signature.return_annotation),
        )
    )


def show_annotation(annotation: Any) -> str:
    """Return an annotation as text: without quotes, and wire types by their names."""
    if isinstance(annotation, str):
        return annotation
    try:
        ok, error = split_fallible(annotation)
        if error is None:
            return type_name(ok)
        return f"Fallible[{type_name(ok)}, {type_name(error)}]"
    except SchemaError:
        return inspect.formatannotation(annotation)


def _shown(annotation: Any) -> Any:
    if annotation is inspect.Parameter.empty:
        return annotation
    return _Shown(show_annotation(annotation))


class _Shown:
    """An annotation that `inspect` shows as plain text."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text
