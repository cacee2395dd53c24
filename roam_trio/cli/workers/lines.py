"""One log of what several workers write."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final

from ..json_text import BadJson, as_object, json_text, value_of
from ..log_format import LogFormat

__all__ = ["Lines"]

_LONGEST: Final = 65_536
"""Number of bytes after which a line is cut in two."""


class Lines:
    """The output of one worker, as whole lines that name the worker.

    Args:
        worker: the number that the lines have.
        form: the form of the lines.
        write: takes each line, with its end.
    """

    def __init__(
        self, worker: int, form: LogFormat, write: Callable[[str], object]
    ) -> None:
        self._worker = worker
        self._write = write
        self._format = self._as_json if form is LogFormat.JSON else self._as_text
        self._rest = b""

    def feed(self, data: bytes | bytearray) -> None:
        """Take what the worker has written; it may end within a line."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._put(line)
        while len(self._rest) >= _LONGEST:
            line, self._rest = self._rest[:_LONGEST], self._rest[_LONGEST:]
            self._put(line)

    def end(self) -> None:
        """Write the rest: the worker writes no more."""
        if self._rest:
            self._put(self._rest)
            self._rest = b""

    def _put(self, line: bytes) -> None:
        self._write(self._format(line.decode(errors="backslashreplace")) + "\n")

    def _as_text(self, line: str) -> str:
        return f"[{self._worker}] {line}"

    def _as_json(self, line: str) -> str:
        record: dict[str, Any] | None = None
        with suppress(BadJson):  # such as what a handler prints
            record = as_object(value_of(line))
        if record is None:
            now = datetime.now(UTC).isoformat(timespec="milliseconds")
            record = {"time": now, "level": "info", "logger": "worker", "message": line}
        return json_text({**record, "worker": self._worker})
