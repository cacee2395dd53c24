"""Links between pages lead somewhere, in the repository and on the site."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

from tools.snippets import ROOT

LINK = re.compile(r"\]\(([^()\s]+)\)")
CODE = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def slug(heading: str) -> str:
    """Make a heading's anchor as GitHub does, which also links to parts of files."""
    text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
    return re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")


@cache
def anchors_of(page: Path) -> frozenset[str]:
    text = CODE.sub("", page.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return frozenset([*re.findall(r'<a id="([^"]*)"', text), *map(slug, headings)])


def dead_links(page: Path) -> list[str]:
    dead: list[str] = []
    for link in LINK.findall(CODE.sub("", page.read_text(encoding="utf-8"))):
        if "://" in link or link.startswith("mailto:"):
            continue
        target, _, fragment = link.partition("#")
        path = (page.parent / target).resolve() if target else page
        if not path.exists() or (fragment and fragment not in anchors_of(path)):
            dead.append(link)
    return dead


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_link_is_dead(page: Path) -> None:
    assert dead_links(page) == []


def test_dead_links_are_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# One `two`\n\n[a](#one-two) [b](#three) [c](gone.md) [d](page.md#one-two)\n"
        "[e](page.md#four) [f](https://example.org/#five)\n"
    )
    assert dead_links(page) == ["#three", "gone.md", "page.md#four"]
