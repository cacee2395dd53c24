"""Tracebacks as text that people can read safely.

The format is that of `traceback`, except that the text of each exception is on one line
and cut, because it often contains text of a peer. The whole is cut as well.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from typing import Final, cast

from .errors import CodecError
from .legible import legible_str

__all__ = ["traceback_of"]

_MOST_OF_ONE: Final = 1000
"""Maximum length, in characters, of the text of each exception."""

_MOST_EXCEPTIONS: Final = 20
"""Maximum number of exceptions shown, including causes and groups."""

_MOST_FRAMES: Final = 30
"""Maximum number of frames shown for each exception."""

_CAUSE = "The above exception was the direct cause of the following exception:"
_CONTEXT = "During handling of the above exception, another exception occurred:"


def traceback_of(error: BaseException) -> str:
    """Return the traceback of an exception, of its causes and of its group.

    The text does not end with a line break.
    """
    return "\n".join(_Report().lines(error))


class _Report:
    """A traceback that is being written."""

    def __init__(self) -> None:
        self._seen: set[int] = set()

    def lines(self, error: BaseException, indent: str = "") -> Iterator[str]:
        if id(error) in self._seen:
            return
        if len(self._seen) >= _MOST_EXCEPTIONS:
            yield f"{indent}... (more exceptions)"
            return
        self._seen.add(id(error))
        if isinstance(error, CodecError):
            # The cause may quote the value.
            yield from (indent + line for line in _own_lines(error))
            return
        before = error.__cause__
        link = _CAUSE
        if before is None and not error.__suppress_context__:
            before, link = error.__context__, _CONTEXT
        if before is not None and id(before) not in self._seen:
            yield from self.lines(before, indent)
            yield from ("", f"{indent}{link}", "")
        yield from (indent + line for line in _own_lines(error))
        if isinstance(error, BaseExceptionGroup):
            group = cast("BaseExceptionGroup[BaseException]", error)
            yield from self._lines_of_group(group, indent)

    def _lines_of_group(
        self, group: BaseExceptionGroup[BaseException], indent: str
    ) -> Iterator[str]:
        for number, each in enumerate(group.exceptions, 1):
            yield f"{indent}  +---------------- {number} ----------------"
            yield from self.lines(each, f"{indent}  | ")
            if len(self._seen) >= _MOST_EXCEPTIONS:
                yield f"{indent}  ... (more exceptions)"
                break


def _own_lines(error: BaseException) -> Iterator[str]:
    if error.__traceback__ is not None:
        yield "Traceback (most recent call last):"
        summary = traceback.extract_tb(error.__traceback__, limit=-_MOST_FRAMES)
        for entry in summary.format():
            yield from entry.rstrip("\n").split("\n")
    yield _headline(error)
    notes: object = getattr(error, "__notes__", ())
    if isinstance(notes, list):
        for note in cast("list[object]", notes)[:_MOST_EXCEPTIONS]:
            yield legible_str(note, _MOST_OF_ONE)


def _headline(error: BaseException) -> str:
    cls = type(error)
    name = cls.__qualname__
    if cls.__module__ not in ("builtins", "__main__"):
        name = f"{cls.__module__}.{name}"
    said = error.without_values if isinstance(error, CodecError) else error
    text = legible_str(said, _MOST_OF_ONE)
    return f"{name}: {text}" if text else name
