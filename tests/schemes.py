"""Every scheme of URLs, for tests that run over each of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs

__all__ = ["SCHEMES", "Scheme"]


@attrs.frozen
class Scheme:
    """How to serve and to connect over one kind of link.

    Attributes:
        name: what its URLs begin with.
        url: where to listen, in a test with this directory for itself.
        to_serve: options of `serve`.
        to_connect: options of `connect`.
    """

    name: str
    url: Callable[[Path], str]
    to_serve: Callable[[], Mapping[str, Any]] = dict
    to_connect: Callable[[], Mapping[str, Any]] = dict

    def __str__(self) -> str:
        return self.name


SCHEMES = [
    Scheme("tcp", lambda _: "tcp://127.0.0.1:0"),
    Scheme("unix", lambda directory: f"unix://{directory}/socket"),
    Scheme("memory", lambda _: "memory://test"),
]
