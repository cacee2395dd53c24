"""The extension in Rust, whether the package uses it or not."""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["EXTENSION"]

try:
    EXTENSION: Any = importlib.import_module("roam_trio._native")
except ImportError:
    EXTENSION = None  # it was not built
