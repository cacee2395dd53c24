"""What the tests with the Rust peer share: its executable, and where to meet it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Literal

import pytest
import trio

from benchmarks.cargo import CannotBuild

from .build import build_peer
from .handlers import Everything
from .peer import Place

TRANSPORTS = ["tcp", "unix", "ws"]


@pytest.fixture(scope="session")
def executable() -> Path:
    """The Rust peer, built if it was not."""
    try:
        return build_peer()
    except CannotBuild as error:
        if shutil.which("cargo") is not None:
            raise
        pytest.skip(str(error))


@pytest.fixture
def language() -> str:
    """The name that the peer gives itself."""
    return "rust"


@pytest.fixture(params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=["initiator", "acceptor"])
def place(
    request: pytest.FixtureRequest,
    executable: Path,
    language: str,
    transport: str,
    tmp_path: Path,
) -> Place:
    """A place to meet, for each transport and each role of the Python side."""
    role: Literal["initiator", "acceptor"] = request.param
    return Place(executable, language, transport, tmp_path, role)


@pytest.fixture
def everything(nursery: trio.Nursery) -> Everything:
    """What answers the peer's calls."""
    return Everything(nursery)
