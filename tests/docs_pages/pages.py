"""What the pages of the documentation hold: files, and what terminals show."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

__all__ = ["ROOT", "files_of", "steps_of", "write_files"]

ROOT = Path(__file__).parents[2]

_BLOCK = re.compile(r'^```console title="(terminal \d)"\n(.*?)^```$', re.M | re.S)
_FILE = re.compile(r"<!-- from (examples/\S+?) -->")


def steps_of(page: Path) -> list[tuple[str, str]]:
    """Return what each terminal shows, in the order of the page."""
    return _BLOCK.findall(page.read_text("utf-8"))


def files_of(page: Path) -> list[Path]:
    """Return the files that the page shows whole."""
    return [ROOT / name for name in _FILE.findall(page.read_text("utf-8"))]


def write_files(pages: list[Path], directory: Path) -> None:
    """Write the files of these pages, a later one over an earlier one."""
    for page in pages:
        for file in files_of(page):
            shutil.copy(file, directory / file.name)
