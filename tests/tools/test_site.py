"""The documentation site: its pages, links and search, and what it loads."""

from __future__ import annotations

import re
from collections.abc import Mapping, Set
from html.parser import HTMLParser
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

import pytest

from tools.llms import llms_txt, pages_of, read_config
from tools.site import Copy, place_of, write
from tools.snippets import ROOT

from .test_reference import ENTRY


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for path, text in {
        "README.md": "# A\n\n[Guide](docs/guide.md#x), [plot](plots/p.svg)\n",
        "docs/guide.md": (
            "# Guide\n\n[code](../pkg/mod.py) [all](../pkg) [top](../README.md)\n"
            "[gone](../gone.py) [out](https://example.org/a.py)\n\n"
            "```python\nlinks[0](../pkg/mod.py)\n```\n\n![plot](../plots/p.svg)\n"
        ),
        "docs/deep/page.md": "# Deep\n\n[code](../../pkg/mod.py)\n[g](../guide.md)\n",
        "docs/part/index.md": "# Part\n\n[here](../part) [deep](../deep)\n",
        "pkg/mod.py": 'FENCE = """\n```\n"""\n',
        "plots/p.svg": "<svg/>",
        "unlinked.md": "# Nobody links here\n",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    return tmp_path


def text_of(root: Path, place: str) -> str:
    return Copy(root).files[PurePosixPath(place)].decode()


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("README.md", "index.md"),
        ("docs/guide.md", "guide.md"),
        ("docs/how-to/drain.md", "how-to/drain.md"),
        ("CONTRIBUTING.md", "CONTRIBUTING.md"),
        ("benchmarks/results/ratios.svg", "benchmarks/results/ratios.svg"),
        ("examples/bank.py", "examples/bank.py.md"),
        ("docs/tutorial/", "tutorial/index.md"),
        ("examples/browser/", "examples/browser/index.md"),
    ],
)
def test_place_of_a_path_on_the_site(path: str, place: str) -> None:
    found = place_of(PurePosixPath(path), is_directory=path.endswith("/"))
    assert found == PurePosixPath(place)


def test_links_of_the_home_page_lead_to_places_on_the_site(root: Path) -> None:
    assert "[Guide](guide.md#x), [plot](plots/p.svg)" in text_of(root, "index.md")


def test_page_of_docs_is_the_home_page_if_there_is_one(root: Path) -> None:
    (root / "docs" / "index.md").write_text("# Home\n")
    assert text_of(root, "index.md") == "# Home\n"
    assert "[top](index.md)" in text_of(root, "guide.md")


def test_links_to_sources_lead_to_their_pages(root: Path) -> None:
    guide = text_of(root, "guide.md")
    assert "[code](pkg/mod.py.md) [all](pkg/index.md) [top](index.md)" in guide
    assert "![plot](plots/p.svg)" in guide
    assert "[code](../pkg/mod.py.md)\n[g](../guide.md)" in text_of(root, "deep/page.md")


def test_links_that_show_the_name_of_a_page_show_its_heading(root: Path) -> None:
    (root / "docs/more.md").write_text(
        "# More\n\n[guide.md](guide.md#x) [a](guide.md)\n"
    )
    assert "[Guide](guide.md#x) [a](guide.md)" in text_of(root, "more.md")


def test_code_and_links_that_lead_elsewhere_stay(root: Path) -> None:
    guide = text_of(root, "guide.md")
    assert "links[0](../pkg/mod.py)" in guide
    assert "[gone](../gone.py) [out](https://example.org/a.py)" in guide


def test_page_of_a_source_holds_it_whatever_fences_it_has(root: Path) -> None:
    page = text_of(root, "pkg/mod.py.md")
    assert "# pkg/mod.py\n\n````py\n" in page
    assert '"""\n````\n' in page


def test_links_to_directories_lead_to_their_own_pages_or_to_lists(root: Path) -> None:
    page = text_of(root, "part/index.md")
    assert "[here](index.md) [deep](../deep/index.md)" in page
    assert "- [Deep](page.md)" in text_of(root, "deep/index.md")


def test_page_of_a_directory_lists_its_files(root: Path) -> None:
    assert "- [mod.py](mod.py.md)" in text_of(root, "pkg/index.md")


def test_only_pages_and_what_they_link_to_are_there(root: Path) -> None:
    assert sorted(map(str, Copy(root).files)) == [
        "deep/index.md",
        "deep/page.md",
        "guide.md",
        "index.md",
        "part/index.md",
        "pkg/index.md",
        "pkg/mod.py.md",
        "plots/p.svg",
    ]


def test_files_that_are_gone_do_not_stay_in_the_copy(tmp_path: Path) -> None:
    write({PurePosixPath("a/b.md"): b"1", PurePosixPath("c.md"): b"2"}, tmp_path / "x")
    write({PurePosixPath("c.md"): b"3"}, tmp_path / "x")
    found = [path.name for path in (tmp_path / "x").rglob("*")]
    assert found == ["c.md"]
    assert (tmp_path / "x/c.md").read_bytes() == b"3"


def test_nav_has_every_page_once() -> None:
    listed = [path for _, path in pages_of(read_config(ROOT)["nav"])]
    docs = ROOT / "docs"
    pages = {path.relative_to(docs).as_posix() for path in docs.rglob("*.md")}
    others = {"index.md", "CONTRIBUTING.md", "benchmarks/results/results.md"}
    assert sorted(listed) == sorted(pages | others)


def test_llms_txt_has_a_section_for_each_part_of_nav() -> None:
    config = {
        "site_name": "toy",
        "nav": [
            {"Home": "index.md"},
            {"How-to": [{"Call it": "call.md"}, {"More": [{"Deep": "a/deep.md"}]}]},
        ],
    }
    files = {
        PurePosixPath("index.md"): b"# toy\n\nA [toy](x.md) of\nRPC. Nice.\n",
        PurePosixPath("call.md"): b"# Call\n\n<!-- from x.py -->\n\nIt calls: so.\n",
        PurePosixPath("a/deep.md"): b"# Deep\n\n    code\n",
    }
    assert llms_txt(config, files) == (
        "# toy\n\n> A toy of RPC. Nice.\n\n"
        "## Home\n\n- [Home](index.md): A toy of RPC.\n\n"
        "## How-to\n\n- [Call it](call.md): It calls.\n- [Deep](a/deep.md)\n"
    )


def test_llms_txt_tells_of_every_page_what_it_says() -> None:
    config = read_config(ROOT)
    lines = llms_txt(config, Copy(ROOT).files).splitlines()
    entries = [line for line in lines if line.startswith("- ")]
    assert len(entries) == len([*pages_of(config["nav"])])
    assert [line for line in entries if "): " not in line] == []


@pytest.mark.slow
def test_entries_of_the_reference_are_on_the_site(site: Path) -> None:
    for page in (ROOT / "docs" / "reference").rglob("*.md"):
        path = page.relative_to(ROOT / "docs").with_suffix(".html")
        ids = set(re.findall(r' id="([^"]+)"', (site / path).read_text("utf-8")))
        assert {*ENTRY.findall(page.read_text("utf-8"))} - ids == set()


class Loads(HTMLParser):
    """Collects what a page loads, and where it links to."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.links: list[str] = []
        self.feed(page.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = {name: value or "" for name, value in attrs}
        if tag == "a":
            self.links.append(named.get("href", ""))
        elif tag != "form":
            urls = (named.get(each, "") for each in ("src", "href", "data", "srcset"))
            self.loaded += filter(None, urls)


def html_pages(site: Path) -> list[Path]:
    """Return the pages, but for that of a server that does not find one."""
    pages = [each for each in site.rglob("*.html") if each.name != "404.html"]
    assert len(pages) > 100
    return pages


@pytest.mark.slow
def test_pages_load_nothing_from_elsewhere(site: Path) -> None:
    pages = html_pages(site)
    loaded = {(page, url) for page in pages for url in Loads(page).loaded}
    assert len(loaded) > 200
    for page, url in loaded:
        if not url.startswith("data:"):
            path = url.partition("#")[0].partition("?")[0]
            assert (page.parent / path).exists(), (page, url)
    sheets = [each.read_text("utf-8") for each in site.rglob("*.css")]
    urls = re.findall(r"(?:url\(|@import)\s*['\"]?([^'\")]+)", "".join(sheets))
    assert urls
    assert [url for url in urls if not url.startswith("data:")] == []
    assert not [*site.rglob("*.map")]
    for each in [*site.rglob("*.css"), *site.rglob("*.js")]:
        assert "sourceMappingURL" not in each.read_text("utf-8")


@pytest.mark.slow
def test_links_of_the_site_lead_somewhere(site: Path) -> None:
    ids = {
        page: {*re.findall(r' (?:id|name)="([^"]+)"', page.read_text("utf-8"))}
        for page in html_pages(site)
    }
    dead = [
        (page.name, link)
        for page in ids
        for link in Loads(page).links
        if "://" not in link and not leads(page, link, ids)
    ]
    assert dead == []


def leads(page: Path, link: str, ids: Mapping[Path, Set[str]]) -> bool:
    path, _, fragment = unquote(link).partition("#")
    target = (page.parent / path).resolve() if path else page
    if target.is_dir():
        target = target / "index.html"
    return target.exists() and (not fragment or fragment in ids[target])


@pytest.mark.slow
def test_llms_txt_of_the_site_names_pages_that_are_there(site: Path) -> None:
    text = (site / "llms.txt").read_text("utf-8")
    paths = re.findall(r"^- \[[^]]+\]\(([^)]+\.md)\)", text, re.MULTILINE)
    assert len(paths) > 40
    for path in paths:
        assert (site / path).read_text("utf-8").startswith("# ")
