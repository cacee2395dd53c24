"""Generated Python is formatted, and right to strict type checkers."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from roam_trio import describe
from roam_trio.codegen.rust import interface_of, write_python, write_rust
from roam_trio.codegen.rust.read import read_rust
from tests.rust.services import SERVICES

from .checkers import MISSING, ROOT, Errors, mypy_errors, pyright_errors

SOURCES = ROOT / "tests" / "rust" / "sources"


WRITTEN = "".join(
    (SOURCES / name).read_text("utf-8") for name in ("shop.rs", "wide.rs")
)


def written(rust: str, folder: Path) -> Path:
    """The Python source made of Rust, in a file."""
    file = folder / "generated.py"
    file.write_text(write_python(read_rust(rust).interface), "utf-8")
    return file


@pytest.mark.slow
@pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")
@pytest.mark.parametrize("errors_of", [mypy_errors, pyright_errors])
def test_checkers_accept_what_is_generated(
    errors_of: Callable[[Path], Errors], tmp_path: Path
) -> None:
    assert errors_of(written(WRITTEN, tmp_path)) == {}


@pytest.mark.skipif(importlib.util.find_spec("ruff") is None, reason="no ruff")
@pytest.mark.parametrize("services", [None, SERVICES], ids=["written", "generated"])
def test_what_is_generated_is_formatted(
    services: list[Any] | None, tmp_path: Path
) -> None:
    rust = WRITTEN
    if services is not None:
        rust = write_rust(interface_of([describe(each) for each in services]))
    file = written(rust, tmp_path)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    settings = project["tool"]["ruff"]
    given = ["--isolated", "--no-cache", "--line-length", str(settings["line-length"])]
    for command in (
        ["format", "--diff"],
        ["check", "--select", ",".join(settings["lint"]["select"])],
    ):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, *given, file.name],
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
