"""The runtime in TypeScript, as one text."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources
from typing import Final

__all__ = ["runtime_names", "runtime_text"]

_MODULES: Final = (
    "errors",
    "bytes",
    "channels",
    "postcard",
    "metadata",
    "envelope",
    "calls",
    "connection",
    "session",
    "websocket",
)
"""In an order in which each is defined before it is used."""

_PACKAGE: Final = __name__.rpartition(".")[0]
_IMPORT: Final = re.compile(r"^import [^;]*;\n", re.MULTILINE)
_DEFINITION: Final = re.compile(
    r"^(?:export )?(?:async )?(?:class|interface|type|const|function) (\w+)",
    re.MULTILINE,
)


@cache
def runtime_text() -> str:
    """Return the modules of the runtime in one, without their imports."""
    folder = resources.files(_PACKAGE) / "runtime"
    texts = [(folder / f"{name}.ts").read_text("utf-8") for name in _MODULES]
    return "\n".join(_IMPORT.sub("", text).strip() + "\n" for text in texts)


def runtime_names() -> frozenset[str]:
    """Return the names that the runtime defines."""
    return frozenset(_DEFINITION.findall(runtime_text()))
