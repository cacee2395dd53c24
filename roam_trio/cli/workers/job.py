"""The job of a worker, as its parent describes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs

from ..json_text import json_text, value_of
from ..log_format import LogFormat
from ..server_options import Serving

__all__ = ["Job"]


@attrs.frozen
class Job:
    """The work of a worker.

    Attributes:
        handlers: the handlers, as ``module:name``.
        serving: the options of its server; the URLs are those of its sockets.
        log: the form and the level of its log.
        ends: the descriptors of those sockets. The worker closes them when its server
            has copies.
        control: the descriptor of the socket over which it says that it is ready, and
            learns that its parent is gone.
        siblings: the directory of the private sockets of all workers, and the number of
            this one; used if sessions are kept.
        memory: number of bytes that its clients can make it hold.
    """

    handlers: str
    serving: Serving
    log: tuple[LogFormat, str]
    ends: list[int]
    control: int
    siblings: tuple[str, int]
    memory: int

    def to_text(self) -> str:
        """Return it as an argument of a command."""
        return json_text(attrs.asdict(self, value_serializer=_plain))

    @classmethod
    def of_text(cls, text: str) -> Job:
        """Return what `to_text` has made a text of."""
        found: dict[str, Any] = value_of(text)
        options: dict[str, Any] = found["serving"]
        cert, key, ca = (file and Path(file) for file in options.pop("tls_files"))
        form, level = found["log"]
        found["serving"] = Serving(**options, tls_files=(cert, key, ca))
        found["log"] = (LogFormat(form), level)
        directory, number = found["siblings"]
        found["siblings"] = (directory, number)
        return cls(**found)


def _plain(_of: object, _attribute: object, value: Any) -> Any:
    return str(value) if isinstance(value, Path | LogFormat) else value
