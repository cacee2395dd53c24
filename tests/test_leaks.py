"""Detection of what a test leaves behind."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from .leaks import nothing_left_behind


def test_open_socket_is_found() -> None:
    with pytest.raises(AssertionError, match=r"left open: .*socket"):  # noqa: SIM117
        with nothing_left_behind(None):
            left = socket.socket()
    left.close()


def test_open_file_is_found(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"left open: .*kept"):  # noqa: SIM117
        with nothing_left_behind(tmp_path):
            left = os.open(tmp_path / "kept", os.O_CREAT)
    os.close(left)


def test_child_process_is_found() -> None:
    with pytest.raises(AssertionError, match="left a child process"):  # noqa: SIM117
        with nothing_left_behind(None):
            left = subprocess.Popen([sys.executable, "-c", ""])
    left.wait()


def test_file_of_a_socket_is_found(tmp_path: Path) -> None:
    path = tmp_path / "below"
    path.mkdir()
    with pytest.raises(AssertionError, match=r"left lying about: .*below"):  # noqa: SIM117
        with nothing_left_behind(tmp_path), socket.socket(socket.AF_UNIX) as left:
            left.bind(str(path / "socket"))
    (path / "socket").unlink()
