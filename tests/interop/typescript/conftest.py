"""The peer in TypeScript in place of the one in Rust."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from benchmarks.cargo import CannotBuild

from .build import build_peer


@pytest.fixture(scope="session")
def executable() -> Path:
    """The TypeScript peer, built if it was not."""
    try:
        return build_peer()
    except CannotBuild as error:
        if shutil.which("node") and shutil.which("npm"):
            raise
        pytest.skip(str(error))


@pytest.fixture
def language() -> str:
    """The name that the peer gives itself."""
    return "typescript"
