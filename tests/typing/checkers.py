"""Runs mypy and pyright, strict, and tells which lines of a file they refuse."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

__all__ = ["MISSING", "ROOT", "mypy_errors", "pyright_errors"]

ROOT = Path(__file__).parents[2]
MISSING = [
    name for name in ("mypy", "pyright") if importlib.util.find_spec(name) is None
]

Errors = dict[int, str]
"""The first complaint about each line that is refused."""


def mypy_errors(file: Path) -> Errors:
    """What mypy refuses in `file`; its cache is the one of the project."""
    report = run(
        "mypy",
        "--strict",
        f"--cache-dir={ROOT / '.mypy_cache'}",
        "--no-error-summary",
        "--no-pretty",
        "--no-color-output",
        "--explicit-package-bases",
        str(file),
    )
    found: Errors = {}
    for line in report.stdout.splitlines():
        match = re.fullmatch(r"(.+?):(\d+)(?::\d+)?: error: (.*)", line)
        if match is not None:
            assert Path(match[1]).name == file.name, line
            found.setdefault(int(match[2]), match[3])
    assert report.returncode == bool(found), report.stdout + report.stderr
    return found


def pyright_errors(file: Path) -> Errors:
    """What pyright refuses in `file`."""
    project = file.with_suffix(".json")
    project.write_text(
        json.dumps(
            {
                "include": [str(file)],
                "extraPaths": [str(ROOT)],
                "typeCheckingMode": "strict",
                "pythonVersion": "3.11",
            }
        )
    )
    report = run(
        "pyright",
        "--outputjson",
        "--pythonpath",
        sys.executable,
        "--project",
        str(project),
    )
    try:
        diagnostics: list[dict[str, Any]] = json.loads(report.stdout)[
            "generalDiagnostics"
        ]
    except ValueError:
        raise AssertionError(report.stdout + report.stderr) from None
    found: Errors = {}
    for each in diagnostics:
        if each["severity"] == "error":
            line: int = each["range"]["start"]["line"] + 1
            found.setdefault(line, each["message"])
    return found


def run(checker: str, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", checker, *args],
        cwd=ROOT,
        env={**os.environ, "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
