"""Type checkers accept what a reader of the tutorial writes, page by page."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs_pages.pages import write_files

from .checkers import MISSING, ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}"),
]

PAGES = sorted((ROOT / "docs" / "tutorial").glob("*.md"))


@pytest.mark.parametrize("checker", ["mypy", "pyright"])
@pytest.mark.parametrize("count", range(1, len(PAGES) + 1))
def test_checkers_accept_the_files(checker: str, count: int, tmp_path: Path) -> None:
    write_files(PAGES[:count], tmp_path)
    settings = {"typeCheckingMode": "strict", "extraPaths": [str(ROOT)]}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    options = {
        "mypy": ["--strict", f"--cache-dir={ROOT / '.mypy_cache'}", "."],
        "pyright": ["--pythonpath", sys.executable],
    }
    done = subprocess.run(
        [sys.executable, "-m", checker, *options[checker]],
        cwd=tmp_path,
        env={**os.environ, "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
