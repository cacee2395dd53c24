"""The documentation site: its pages, links and search, and what it loads."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest

from tools.llms import llms_txt, pages_of, read_config
from tools.site import Copy, place_of, write
from tools.snippets import ROOT


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
    ],
)
def test_place_of_a_path_on_the_site(path: str, place: str) -> None:
    assert place_of(PurePosixPath(path)) == PurePosixPath(place)


def test_links_of_the_home_page_lead_to_places_on_the_site(root: Path) -> None:
    assert "[Guide](guide.md#x), [plot](plots/p.svg)" in text_of(root, "index.md")


def test_links_to_sources_lead_to_their_pages(root: Path) -> None:
    guide = text_of(root, "guide.md")
    assert "[code](pkg/mod.py.md) [all](pkg/index.md) [top](index.md)" in guide
    assert "![plot](plots/p.svg)" in guide
    assert "[code](../pkg/mod.py.md)\n[g](../guide.md)" in text_of(root, "deep/page.md")


def test_code_and_links_that_lead_elsewhere_stay(root: Path) -> None:
    guide = text_of(root, "guide.md")
    assert "links[0](../pkg/mod.py)" in guide
    assert "[gone](../gone.py) [out](https://example.org/a.py)" in guide


def test_page_of_a_source_holds_it_whatever_fences_it_has(root: Path) -> None:
    page = text_of(root, "pkg/mod.py.md")
    assert "# pkg/mod.py\n\n````py\n" in page
    assert '"""\n````\n' in page


def test_page_of_a_directory_lists_its_files(root: Path) -> None:
    assert "- [mod.py](mod.py.md)" in text_of(root, "pkg/index.md")


def test_only_pages_and_what_they_link_to_are_there(root: Path) -> None:
    assert sorted(map(str, Copy(root).files)) == [
        "deep/page.md",
        "guide.md",
        "index.md",
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
