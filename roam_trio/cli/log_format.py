"""The log of a server, as lines of text or of JSON on standard error."""

from __future__ import annotations

import enum
import logging
import sys
from datetime import UTC, datetime
from typing import Protocol

from ..logs import FIELDS
from .described import near
from .exits import UsageError
from .json_text import json_text

__all__ = ["LogFormat", "begin_log"]


_LEVELS = ("debug", "info", "warning", "error")


class LogFormat(enum.StrEnum):
    """The forms of log lines."""

    TEXT = "text"
    JSON = "json"


class TakesLines(Protocol):
    """The interface of a file for the log."""

    def write(self, text: str, /) -> object:
        """Write lines."""
        ...

    def flush(self) -> object:
        """Write what is kept."""
        ...


def begin_log(form: LogFormat, level: str, stream: TakesLines | None = None) -> None:
    """Write log records to standard error from now on.

    Args:
        form: the form of each line.
        level: the least level that is written, such as ``"info"``.
        stream: takes the lines; None for standard error itself.

    Raises:
        UsageError: there is no such level.
    """
    if level not in _LEVELS:
        raise UsageError(near("log level", level, _LEVELS))
    handler = logging.StreamHandler(stream or sys.stderr)
    if form is LogFormat.JSON:
        handler.setFormatter(_JsonLines())
    else:
        text = "%(asctime)s %(levelname)s %(name)s: %(message)s"
        handler.setFormatter(logging.Formatter(text))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


class _JsonLines(logging.Formatter):
    """Formats each record as one JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        """Return a record as a line of JSON."""
        time = datetime.fromtimestamp(record.created, UTC)
        line = {
            "time": time.isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        about = {name: getattr(record, name, None) for name in FIELDS}
        line |= {name: value for name, value in about.items() if value is not None}
        if record.exc_info:
            # That of a record of this package is cut, and has no values of peers.
            text = record.exc_text or self.formatException(record.exc_info)
            line["traceback"] = text
        return json_text(line)
