"""The programs of the how-to pages print what they are there to show."""

from __future__ import annotations

import importlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from examples.how_to.test_basket import (
    test_bug_of_the_handler_is_its_cause as test_bug_of_the_handler_is_its_cause,
)
from examples.how_to.test_basket import (
    test_caller_gives_up_in_time as test_caller_gives_up_in_time,
)
from examples.how_to.test_basket import (
    test_lost_server_is_no_sold_out_item as test_lost_server_is_no_sold_out_item,
)
from examples.how_to.test_basket import test_price_is_known as test_price_is_known
from examples.how_to.test_basket import (
    test_what_is_sold_out_costs_nothing as test_what_is_sold_out_costs_nothing,
)

from .following import follow
from .pages import ROOT, steps_of

SHOWN = {
    "balance": "calls: {'north': 5, 'south': 5}\n",
    "resume": "each number once: True\n",
    "routes": (
        "Inn\n"
        "nothing at Point(latitude=0, longitude=0)\n"
        "['Inn', 'Mill']\n"
        "RouteSummary(point_count=2, feature_count=1)\n"
        "seen: a mill\n"
    ),
    "upgrade": (
        "new client, old server: Item(name='tea', price=3, currency='EUR')\n"
        "new client, old server: 1\n"
        "old client, new server: Item(name='tea', price=3)\n"
        "old client, new server: 1\n"
    ),
}
DRAINED = (
    "listening at memory://clock\n"
    "the first tick: 0\n"
    "the stream has ended: the server is about to end\n"
    "a new call was begun: False\n"
)
PROGRAMS = ROOT / "examples" / "how_to"
PAGES = sorted((ROOT / "docs" / "how-to").glob("*.md"))


def test_each_program_is_run() -> None:
    programs = {
        file.stem
        for file in PROGRAMS.glob("*.py")
        if "__main__" in file.read_text("utf-8")
    }
    assert programs == SHOWN.keys() | {"drain"}


@pytest.mark.parametrize("name", SHOWN)
async def test_program_shows_it(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(PROGRAMS)
    await importlib.import_module(f"examples.how_to.{name}").main()
    assert capsys.readouterr().out == SHOWN[name]


def test_program_that_is_told_to_end_drains() -> None:
    command = [sys.executable, "-W", "error", "-m", "examples.how_to.drain"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, DRAINED, "")


@pytest.mark.slow
@pytest.mark.parametrize(
    "page", [each for each in PAGES if steps_of(each)], ids=lambda page: page.stem
)
def test_terminals_show_what_the_page_says(page: Path, tmp_path: Path) -> None:
    for file in PROGRAMS.glob("*.py"):
        shutil.copy(file, tmp_path)
    for name, pattern, shown in follow(page, tmp_path):
        assert re.fullmatch(pattern, shown), f"{name}:\n{shown}"
