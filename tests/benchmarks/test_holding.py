"""The benchmark of what one process holds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ["--without-gc"]])
def test_a_server_with_few_sessions_has_figures(options: list[str]) -> None:
    command = [sys.executable, "-m", "benchmarks.holding", "--sessions", "3", "2"]
    told = subprocess.check_output(
        [*command, "--calls", "20", *options], cwd=ROOT, text=True
    )
    rows = [line.split("|")[1:-1] for line in told.splitlines() if line[:1] == "|"]
    assert [row[0].strip() for row in rows[2:]] == ["3", "2"]
    for row in rows[2:]:
        assert float(row[1].split()[0]) > 0
        assert float(row[4].split()[0]) > 0
