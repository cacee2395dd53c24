"""Types of a schema as text for people, as Python would write them."""

from __future__ import annotations

from .model import (
    ArrayType,
    ChannelType,
    ListType,
    MapType,
    MethodSchema,
    NamedType,
    OptionType,
    SetType,
    TupleType,
    Type,
)

__all__ = ["result_text", "type_text"]


def type_text(type: Type) -> str:
    """Return a type as text: ``list[u32] | None``, ``Tx[str]``."""
    match type:
        case NamedType(name):
            return name
        case OptionType(item):
            return f"{type_text(item)} | None"
        case ListType(item):
            return f"list[{type_text(item)}]"
        case ArrayType(item, length):
            return f"Array[{type_text(item)}, {length}]"
        case SetType(item):
            return f"set[{type_text(item)}]"
        case MapType(key, value):
            return f"dict[{type_text(key)}, {type_text(value)}]"
        case TupleType(items):
            return f"tuple[{', '.join(map(type_text, items)) or '()'}]"
        case ChannelType(direction, item):
            return f"{direction.capitalize()}[{type_text(item)}]"
        case "unit":
            return "None"
        case _:
            return type


def result_text(method: MethodSchema) -> str:
    """Return the type of a result as text: ``Fallible[u32, MathError]``."""
    ok = type_text(method.returns)
    if method.fails is None:
        return ok
    return f"Fallible[{ok}, {type_text(method.fails)}]"
