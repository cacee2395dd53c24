"""Generated Python is formatted, and right to strict type checkers."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from roam_trio import describe
from roam_trio.rust import interface_of, write_python, write_rust
from roam_trio.rust.read import read_rust
from tests.rust.services import SERVICES

from .checkers import MISSING, ROOT, Errors, mypy_errors, pyright_errors

SOURCES = ROOT / "tests" / "rust" / "sources"


@pytest.fixture(params=["shop", "wide", "services"])
def generated(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Python source made of Rust, in a file."""
    if request.param == "services":
        rust = write_rust(interface_of([describe(each) for each in SERVICES]))
    else:
        rust = (SOURCES / f"{request.param}.rs").read_text("utf-8")
    file = tmp_path / f"{request.param}_generated.py"
    file.write_text(write_python(read_rust(rust).interface), "utf-8")
    return file


@pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")
@pytest.mark.parametrize("errors_of", [mypy_errors, pyright_errors])
def test_checkers_accept_what_is_generated(
    errors_of: Callable[[Path], Errors], generated: Path
) -> None:
    assert errors_of(generated) == {}


@pytest.mark.skipif(importlib.util.find_spec("ruff") is None, reason="no ruff")
def test_what_is_generated_is_formatted(generated: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    settings = project["tool"]["ruff"]
    given = ["--isolated", "--no-cache", "--line-length", str(settings["line-length"])]
    for command in (
        ["format", "--diff"],
        ["check", "--select", ",".join(settings["lint"]["select"])],
    ):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, *given, str(generated)],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
