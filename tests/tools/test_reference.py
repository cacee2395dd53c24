"""The reference has one entry for every public name."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections import Counter
from types import ModuleType

import griffe
import pytest

import roam_trio
import roam_trio.contrib
import roam_trio.lowlevel
import roam_trio.testing
from tools.snippets import ROOT

REFERENCE = ROOT / "docs" / "reference"
ENTRY = re.compile(r"^::: (\S+)$", re.MULTILINE)


def modules() -> list[ModuleType]:
    """Return the modules whose names are public."""
    contrib = roam_trio.contrib
    below = pkgutil.iter_modules(contrib.__path__, f"{contrib.__name__}.")
    neighbours = [importlib.import_module(each.name) for each in below]
    return [roam_trio, roam_trio.lowlevel, roam_trio.testing, *neighbours]


def entries() -> Counter[str]:
    """Return how many entries each name has."""
    pages = REFERENCE.rglob("*.md")
    return Counter(
        name for page in pages for name in ENTRY.findall(page.read_text("utf-8"))
    )


def test_every_public_name_has_one_entry() -> None:
    public = {f"{each.__name__}.{name}" for each in modules() for name in each.__all__}
    assert len(public) > 240
    found = entries()
    assert sorted(public - found.keys()) == [], "add `::: NAME` to a page"
    assert sorted(found.keys() - public) == [], "these are not public"
    assert [name for name, count in found.items() if count > 1] == []


@pytest.mark.slow
def test_every_entry_has_a_docstring() -> None:
    loader = griffe.GriffeLoader(search_paths=[ROOT])
    loader.load("roam_trio")
    loader.resolve_aliases(implicit=True, external=False)
    missing = [
        name for name in entries() if not loader.modules_collection[name].docstring
    ]
    assert missing == []
