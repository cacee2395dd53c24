"""Code in pages is the code of the files that they name."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.snippets import ROOT, SnippetError, code_of, pages, with_snippets

FILE = """\
import trio


# region all
async def main() -> None:
    # region inner
    print("hello")

    # endregion inner
    await trio.sleep(0)


# endregion all
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "hello.py").write_text(FILE)
    return tmp_path


@pytest.mark.parametrize(
    "page", [pytest.param(each, id=str(each.relative_to(ROOT))) for each in pages()]
)
def test_blocks_of_a_page_are_the_code_of_their_files(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert with_snippets(text) == text, "run `python -m tools.snippets --write`"


def test_region_is_dedented(root: Path) -> None:
    assert code_of(root / "hello.py", "inner") == 'print("hello")\n'


def test_outer_region_has_no_marks_of_the_inner(root: Path) -> None:
    assert code_of(root / "hello.py", "all") == (
        'async def main() -> None:\n    print("hello")\n\n    await trio.sleep(0)\n'
    )


def test_whole_file_has_no_marks(root: Path) -> None:
    code = code_of(root / "hello.py", None)
    assert code.startswith("import trio\n")
    assert "region" not in code


def test_block_is_made_where_there_is_none(root: Path) -> None:
    page = "Say:\n\n<!-- from hello.py:inner -->\n\nMore.\n"
    assert with_snippets(page, root) == (
        "Say:\n\n<!-- from hello.py:inner -->\n"
        '```python\nprint("hello")\n```\n\nMore.\n'
    )


def test_block_of_a_whole_file_has_its_name(root: Path) -> None:
    (root / "pytest.ini").write_text("[pytest]\n")
    assert with_snippets("<!-- from pytest.ini -->\n", root) == (
        '<!-- from pytest.ini -->\n```ini title="pytest.ini"\n[pytest]\n```\n'
    )


def test_block_that_differs_is_replaced_and_others_stay(root: Path) -> None:
    page = (
        "<!-- from hello.py:inner -->\n```python\nold()\n```\n\n"
        "```python\nother()\n```\n"
    )
    written = with_snippets(page, root)
    assert "old()" not in written
    assert 'print("hello")' in written
    assert written.endswith("\n\n```python\nother()\n```\n")
    assert with_snippets(written, root) == written


def test_region_that_is_missing_is_told(root: Path) -> None:
    with pytest.raises(SnippetError, match=r"hello\.py has no '# region outer'"):
        code_of(root / "hello.py", "outer")


def test_region_without_an_end_is_told(root: Path) -> None:
    (root / "open.py").write_text("# region begun\nprint()\n")
    with pytest.raises(SnippetError, match="one '# endregion begun' below it"):
        code_of(root / "open.py", "begun")


def test_file_that_is_missing_is_told(root: Path) -> None:
    with pytest.raises(SnippetError, match=r"from gone\.py -->: no such file"):
        with_snippets("<!-- from gone.py -->\n", root)
