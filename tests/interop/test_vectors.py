"""The bytes and ids that are kept are those of the Rust crates."""

from __future__ import annotations

from pathlib import Path

import pytest

from .vectors import FILE, printed


@pytest.mark.interop
def test_the_kept_vectors_are_what_rust_prints(executable: Path) -> None:
    assert printed(executable).decode() == FILE.read_text("utf-8"), (
        "python -m tests.interop.vectors writes the file anew"
    )
