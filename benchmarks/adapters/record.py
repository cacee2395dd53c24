"""A record as a class, for implementations that leave its encoding to msgspec."""

from __future__ import annotations

import msgspec

from .base import Row

__all__ = ["Record", "record_of", "row_of"]


class Record(msgspec.Struct):
    """The five fields."""

    number: int
    name: str
    score: float
    active: bool
    note: str


def record_of(row: Row) -> Record:
    """The record of a row."""
    return Record(*row)


def row_of(record: Record) -> Row:
    """The row of a record."""
    return Row(*msgspec.structs.astuple(record))
