"""The tutorial, followed to the letter: each page in a directory with all its files."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.typing.checkers import MISSING

from .pages import ROOT, files_of, follow, steps_of, write_files

PAGES = sorted((ROOT / "docs" / "tutorial").glob("*.md"))
EXAMPLES = ROOT / "examples" / "tutorial"

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


@pytest.fixture
def directory(page: Path, tmp_path: Path) -> Path:
    """A directory with the files of a reader who has come to the end of the page."""
    write_files(PAGES[: PAGES.index(page) + 1], tmp_path)
    return tmp_path


@each_page
def test_page_shows_all_its_files_and_says_what_comes_next(page: Path) -> None:
    shown = set(files_of(page))
    assert shown == {
        each for each in (EXAMPLES / page.stem).iterdir() if each.is_file()
    }
    assert "\nNext: [" in page.read_text("utf-8")


@pytest.mark.slow
@each_page
def test_terminals_show_what_the_page_says(page: Path, directory: Path) -> None:
    assert steps_of(page)
    for name, pattern, shown in follow(page, directory):
        assert re.fullmatch(pattern, shown), f"{name}:\n{shown}"


@pytest.mark.slow
@pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")
@pytest.mark.parametrize("checker", ["mypy", "pyright"])
@each_page
def test_checkers_accept_the_files(checker: str, page: Path, directory: Path) -> None:
    settings = {"typeCheckingMode": "strict", "extraPaths": [str(ROOT)]}
    (directory / "pyrightconfig.json").write_text(json.dumps(settings))
    options = {
        "mypy": ["--strict", f"--cache-dir={ROOT / '.mypy_cache'}", "."],
        "pyright": ["--pythonpath", sys.executable],
    }
    done = subprocess.run(
        [sys.executable, "-m", checker, *options[checker]],
        cwd=directory,
        env={**os.environ, "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
