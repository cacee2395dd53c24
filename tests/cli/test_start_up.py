"""The help of the program imports nothing that it does not need."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from roam_trio.cli.app import HIDDEN, VERBS, app
from tests.cli.live import invoke


def imported_by(*arguments: str) -> set[str]:
    """The modules that a process with these arguments imports."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return set(re.findall(r"^import time:[^|]*\|[^|]*\| +(\S+)$", done.stderr, re.M))


def test_help_imports_the_verbs_and_their_rooms_no_more_than_it_needs() -> None:
    plain = imported_by("-c", "import roam_trio, typer, typer.main, typer.core")
    help_ = imported_by("-m", "roam_trio", "--help")
    ours = {each for each in help_ - plain if each.startswith("roam_trio")}
    assert ours == {"roam_trio.cli", "roam_trio.cli.app"}
    # What typer needs for the help itself, in the standard library and in typer.
    assert len(help_ - plain - ours) <= 40
    assert not any(each.startswith(("rich", "roam_trio.session")) for each in help_)


def test_every_verb_has_its_line_in_the_help() -> None:
    shown = invoke("--help").stdout
    for name, (_, line) in VERBS.items():
        assert re.search(rf"^  {name} +{re.escape(line)}$", shown, re.M)
    assert not any(name in shown for name in HIDDEN)


@pytest.mark.parametrize("name", [*VERBS, *HIDDEN])
def test_every_verb_has_help(name: str) -> None:
    result = invoke(name, "--help")
    assert (result.exit_code, result.stderr) == (0, "")
    assert f" {name} [OPTIONS]" in result.stdout


def test_unknown_verb_is_told_with_a_near_one() -> None:
    result = invoke("cal")
    assert result.exit_code == 2
    assert "Did you mean 'call'" in result.stderr


def test_completion_knows_the_verbs_and_their_options() -> None:
    env = {"_ROAM_TRIO_COMPLETE": "complete_bash", "COMP_CWORD": "1"}
    verbs = invoke(COMP_WORDS="roam-trio de", **env)
    assert verbs.stdout.split() == ["describe", "demo"]
    env["COMP_CWORD"] = "2"
    options = invoke(COMP_WORDS="roam-trio list --ti", **env)
    assert options.stdout.split() == ["--timeout"]
    assert app.info.name == "roam-trio"
