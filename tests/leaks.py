"""What a test must not leave behind: open files, child processes, files of sockets."""

from __future__ import annotations

import gc
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

__all__ = ["nothing_left_behind"]

_FILES = Path("/proc/self/fd")


@pytest.fixture(autouse=True)
def _nothing_is_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    uses_files = "tmp_path" in request.fixturenames
    directory = request.getfixturevalue("tmp_path") if uses_files else None
    with nothing_left_behind(directory):
        yield


@contextmanager
def nothing_left_behind(directory: Path | None) -> Iterator[None]:
    """Fail if the block leaves something open, running, or lying about.

    Args:
        directory: where the test puts its files, if it has any.
    """
    files_before, had_children = _open_files(), _has_children()
    yield
    left = _open_files() - files_before
    if left:
        gc.collect()  # what is closed only now warns, and a warning is an error
        left &= _open_files()
    assert not left, f"left open: {sorted(left)}"
    assert had_children or not _has_children(), "left a child process behind"
    if directory is not None:
        sockets = [path for path in directory.rglob("*") if _is_socket(path)]
        assert not sockets, f"left lying about: {sockets}"


def _open_files() -> set[tuple[int, str]]:
    """Every open file with what it is; none where that cannot be told."""
    if not _FILES.exists():
        return set()
    found: set[tuple[int, str]] = set()
    for name in os.listdir(_FILES):
        try:
            found.add((int(name), os.readlink(_FILES / name)))
        except FileNotFoundError:
            continue  # it was the one that listed them
    return found


def _has_children() -> bool:
    if not hasattr(os, "waitid"):
        return False
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _is_socket(path: Path) -> bool:
    return stat.S_ISSOCK(path.lstat().st_mode)
