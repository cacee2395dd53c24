"""Where to install from is said in one place, and errors and pages agree with it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from roam_trio.extras import how_to_install

ROOT = Path(__file__).parent.parent
PLACE = ROOT / "docs" / "install.md"

# From an index, where the package is not: by its bare name, or with extras.
FROM_AN_INDEX = re.compile(
    r"\b(?:pip3? install|pipx (?:install|run)|uv add|uvx|uv pip install)\b"
    r"[^\n&;]*[\s'\"]roam[-_]trio\b(?!/)"
)
TEXTS = [
    *ROOT.glob("*.md"),
    *(
        path
        for part in ("roam_trio", "docs", "examples", "changelog.d", "benchmarks")
        for path in (ROOT / part).rglob("*")
        if path.suffix in {".md", ".py", ".toml", ".ts", ".txt"}
    ),
]


def extras() -> set[str]:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    return set(tomllib.loads(text)["project"]["optional-dependencies"])


def test_nobody_is_told_to_install_from_an_index() -> None:
    assert len(TEXTS) > 200
    told = [
        f"{path.relative_to(ROOT)}: {found[0]}"
        for path in TEXTS
        for found in FROM_AN_INDEX.finditer(path.read_text(encoding="utf-8"))
    ]
    assert told == [], f"{PLACE.relative_to(ROOT)} says how to install"


@pytest.mark.parametrize(
    "text",
    [
        "pip install roam-trio",
        "python -m pip install 'roam-trio[cli]'",
        "pip install -U roam_trio",
        "uv add roam-trio",
    ],
)
def test_commands_that_ask_an_index_are_found(text: str) -> None:
    assert FROM_AN_INDEX.search(text)


@pytest.mark.parametrize(
    "text",
    ["pip install '.[cli]'", "pip install ../roam_trio/", "pip install x-roam-trio"],
)
def test_commands_that_ask_no_index_are_not(text: str) -> None:
    assert not FROM_AN_INDEX.search(text)


def test_the_page_on_installation_has_every_extra() -> None:
    table = PLACE.read_text(encoding="utf-8").partition("## Extras")[2]
    first_columns = re.findall(r"^\| (`[^|]+) \|", table, re.MULTILINE)
    listed = re.findall(r"`([\w-]+)`", " ".join(first_columns))
    assert sorted(listed) == sorted(extras())


def test_errors_name_extras_that_there_are() -> None:
    named = {
        extra
        for path in (ROOT / "roam_trio").rglob("*.py")
        for call in re.findall(r"how_to_install\(([^)*]+)\)", path.read_text("utf-8"))
        for extra in re.findall(r"[\"'](\w+)[\"']", call)
    }
    assert {"cli", "dns", "mcp", "registry", "rust", "websocket"} <= named <= extras()


def test_errors_say_how_to_install_extras() -> None:
    assert how_to_install("dns") == (
        "install roam_trio with the extra 'dns': in a checkout, "
        "python -m pip install '.[dns]'"
    )
    assert how_to_install("cli", "rust") == (
        "install roam_trio with the extras 'cli' and 'rust': in a checkout, "
        "python -m pip install '.[cli,rust]'"
    )
