"""Every example runs by itself, and prints what it is there to show."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
EXAMPLES = {path.stem: path for path in (ROOT / "examples").glob("*.py")}

SHOWN = {
    "adder": "3 + 5 = 8\n",
    "streaming": (
        "mean: 18.0\n"
        "countdown: [3, 2, 1]\n"
        "smoothed: [12.0, 13.5, 15.0, 21.0, 22.0, 21.0]\n"
    ),
    "library": (
        "Good morning, Ada.\n"
        "Bertie: Refusal.NO_SUCH_MEMBER\n"
        "  [server] lend, asked for by 'Ada'\n"
        "Emma: for 14 days, from desk 'north'\n"
        "  [server] lend, asked for by 'Ada'\n"
        "Ulysses: lent out, back in 9 days\n"
        "  [server] lend, asked for by 'Ada'\n"
        "Dune: there is no such book\n"
    ),
    "features": (
        "counter: 3 7\n"
        "text: HELLO!\n"
        "votes: 1\n"
        "abacus: 'abacus' is not one of the services: counter, text, votes\n"
    ),
    "callback": "  [Ada] Tea at five.\n  [Bea] Tea at five.\nread by 2\n",
    "proxy": "HELLO!\nTO! BE! OR! NOT!\n",
}


def test_every_example_is_run() -> None:
    assert EXAMPLES.keys() == SHOWN.keys()


@pytest.mark.parametrize("name", SHOWN)
def test_example_shows_what_it_is_for(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", EXAMPLES[name]],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, SHOWN[name], "")
