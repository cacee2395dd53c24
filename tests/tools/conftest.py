"""The site, for tests that look at it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.site import make
from tools.snippets import ROOT


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, made without a warning."""
    into = tmp_path_factory.mktemp("site")
    made, output = make(ROOT, into)
    assert made, output
    assert "griffe" not in output, "the docstrings of the reference have faults"
    return into / "site"
