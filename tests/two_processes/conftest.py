"""Over which schemes the processes speak."""

from __future__ import annotations

from pathlib import Path

import pytest

from ..schemes import SCHEMES
from .over import Over

BETWEEN_PROCESSES = [scheme for scheme in SCHEMES if scheme.name != "memory"]


def made(request: pytest.FixtureRequest, directory: Path) -> Over:
    return Over(request.param, directory)


@pytest.fixture(params=BETWEEN_PROCESSES, ids=str)
def over(request: pytest.FixtureRequest, tmp_path: Path) -> Over:
    """Every scheme."""
    return made(request, tmp_path)


@pytest.fixture(
    params=[
        pytest.param(scheme, marks=[] if scheme.name == "tcp" else pytest.mark.slow)
        for scheme in BETWEEN_PROCESSES
    ],
    ids=str,
)
def mostly_over_tcp(request: pytest.FixtureRequest, tmp_path: Path) -> Over:
    """Every scheme, all but TCP among the slow tests."""
    return made(request, tmp_path)
