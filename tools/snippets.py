"""Code in pages that is the code of a file.

A comment in a page names a file, and perhaps a region of it:

    <!-- from examples/bank.py:serving -->

The fenced block below the comment holds that code, so that the page reads well wherever
it is shown. In the file, `# region serving` and `# endregion serving` enclose a region.
Without a region, the block holds the whole file, and its name is above it on the site.

    python -m tools.snippets            # say which pages differ from the files
    python -m tools.snippets --write    # write the code of the files into the pages
"""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent

# The comment, and the block below it if there is one already.
_SNIPPET = re.compile(
    r"(?P<comment>^<!-- from (?P<path>[^\s:]+)(?::(?P<region>[\w-]+))? -->\n)"
    r"(?:```[^\n]*\n.*?^```\n)?",
    re.MULTILINE | re.DOTALL,
)
_MARK = re.compile(r"\s*(?:#|//) (?P<kind>region|endregion) (?P<name>[\w-]+)\s*")
_LANGUAGES = {
    ".ini": "ini",
    ".py": "python",
    ".rs": "rust",
    ".service": "ini",
    ".sh": "sh",
    ".socket": "ini",
    ".toml": "toml",
    ".ts": "typescript",
}


class SnippetError(Exception):
    """A page asks for code that its file does not have."""


def pages(root: Path = ROOT) -> Iterator[Path]:
    """Yield the pages that may have snippets."""
    yield root / "README.md"
    yield from sorted((root / "docs").rglob("*.md"))


def code_of(path: Path, region: str | None) -> str:
    """Return the code of a file, or of a region of it, dedented, without marks.

    Raises:
        SnippetError: the region is not there, or is not one.
    """
    lines: Sequence[str] = path.read_text(encoding="utf-8").splitlines(keepends=True)
    if region is not None:
        lines = _lines_of(lines, region, path)
    kept = "".join(each for each in lines if not _MARK.fullmatch(each))
    return textwrap.dedent(kept).strip("\n") + "\n"


def _lines_of(lines: Sequence[str], region: str, path: Path) -> Sequence[str]:
    marks = [
        (found["kind"], number)
        for number, line in enumerate(lines)
        if (found := _MARK.fullmatch(line)) and found["name"] == region
    ]
    match marks:
        case [("region", start), ("endregion", end)]:
            return lines[start + 1 : end]
        case []:
            raise SnippetError(f"{path} has no '# region {region}'")
        case _:
            raise SnippetError(
                f"{path} needs one '# region {region}', and one '# endregion {region}' "
                "below it"
            )


def with_snippets(page: str, root: Path = ROOT) -> str:
    """Return the page with the code of the files in its blocks.

    Raises:
        SnippetError: a file or region is not there.
    """

    def block(found: re.Match[str]) -> str:
        path = root / found["path"]
        if not path.is_file():
            raise SnippetError(f"{found['comment'].strip()}: no such file")
        code = code_of(path, found["region"])
        info = _LANGUAGES.get(path.suffix, "text")
        if found["region"] is None:
            info += f' title="{path.name}"'
        return f"{found['comment']}```{info}\n{code}```\n"

    return _SNIPPET.sub(block, page)


def main(arguments: Sequence[str]) -> int:
    """Compare the pages with the files, or write them; return an exit code."""
    write = list(arguments) == ["--write"]
    if arguments and not write:
        print("usage: python -m tools.snippets [--write]", file=sys.stderr)
        return 2
    differing = 0
    for path in pages():
        page = path.read_text(encoding="utf-8")
        wanted = with_snippets(page)
        if wanted != page:
            differing += 1
            print(f"{path.relative_to(ROOT)} {'written' if write else 'differs'}")
            if write:
                path.write_text(wanted, encoding="utf-8")
    return 0 if write or not differing else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
