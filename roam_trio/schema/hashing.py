"""Checks of hashability, for items of sets and keys of dicts."""

from __future__ import annotations

from .shape import (
    ArrayShape,
    BoolShape,
    BytesShape,
    CharShape,
    ConvertedShape,
    EnumShape,
    IntShape,
    ListShape,
    MapShape,
    OptionShape,
    Record,
    SetShape,
    Shape,
    StrShape,
    StructShape,
    TransparentShape,
    TupleShape,
    UnionShape,
    UnitShape,
    walked,
)

__all__ = ["has_sets", "is_seeded", "why_unhashable"]


def why_unhashable(shape: Shape) -> str | None:
    """Return why values of a shape are unhashable, and a remedy; None if they are
    hashable.
    """
    # Do not look into classes, whose own hash decides.
    left, seen = [shape], set[str]()
    while left:
        part = left.pop()
        reason = _why_by_itself(part)
        if reason is not None:
            return reason
        match part:
            case OptionShape(inner) | ListShape(inner) | ArrayShape(inner):
                left.append(inner)
            case TupleShape(name, items) if name not in seen:
                seen.add(name)
                left.extend(reversed(items))
            case _:
                pass
    return None


def _why_by_itself(shape: Shape) -> str | None:
    match shape:
        case ListShape(_, "list") | ArrayShape(_, _, "list"):
            return "use a tuple[T, ...] instead of a list"
        case SetShape(_, frozen=False):
            return "use a frozenset instead of a set"
        case MapShape():
            return "a dict is not; use a tuple of pairs"
        case BytesShape(view=True) | ArrayShape(_, _, "memoryview"):
            return "use bytes instead of a memoryview"
        case StructShape(_, record) | TransparentShape(record):
            return _why_record_unhashable(record)
        case UnionShape(_, variants):
            reasons = (_why_record_unhashable(each.record) for each in variants)
            return next(filter(None, reasons), None)
        case ConvertedShape(cls) if not _has_hash(cls):
            return f"{cls.__qualname__} is not"
        case _:
            return None


def _why_record_unhashable(record: Record) -> str | None:
    if _has_hash(record.cls):
        return None
    return f"make {record.cls.__qualname__} frozen"


def _has_hash(cls: type[object]) -> bool:
    return getattr(cls, "__hash__", None) is not None


def is_seeded(shape: Shape) -> bool:
    """Return True if a peer cannot choose values of a shape whose hashes collide.

    The hashes of texts and bytes depend on a secret of the process; some types have too
    few values.
    """
    match shape:
        case StrShape() | CharShape() | BytesShape() | ArrayShape(python="bytes"):
            return True
        case UnitShape() | BoolShape() | EnumShape() | IntShape(bits=8):
            return True
        case OptionShape(inner):
            return is_seeded(inner)
        case _:
            return False


def has_sets(shape: Shape) -> bool:
    """Return True if values of a shape contain sets."""
    return any(isinstance(each, SetShape) for each in walked(shape))
