"""The documentation site, from docs/.

    python -m tools.site    # makes site/, which opens in a browser without a server

Pages link to each other, to sources and to plots by their paths in the repository. The
site has no such paths. A copy of the pages in build/docs has links that fit there, with
titles in place of the names of files, and a page for each source file that is linked.
Zensical builds the site from the copy.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from .llms import heading_of, llms_txt, read_config
from .snippets import ROOT

# What a page may be; all else that pages link to is a source.
_IMAGES = {".png", ".svg"}
_FENCE = re.compile(r"^(```+|~~~+).*?^\1[`~]*$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<=\]\()(?P<target>[^\s()#:]+)(?P<fragment>#[^\s()]*)?(?=\))")
_NAMED = re.compile(r"\[(?:[\w-]+/)*[\w-]+\.md\]\((?P<target>[^\s()#:]+\.md)(?=[)#])")


def place_of(path: PurePosixPath, is_directory: bool = False) -> PurePosixPath:
    """Return where a path of the repository is among the pages of the site."""
    if path == PurePosixPath("README.md"):
        return PurePosixPath("index.md")
    if is_directory:
        path = path / "index.md"
    if path.is_relative_to("docs"):
        return path.relative_to("docs")
    if path.suffix == ".md" or path.suffix in _IMAGES:
        return path
    return path.with_name(path.name + ".md")


class Copy:
    """The pages of a repository, as the site has them."""

    def __init__(self, root: Path) -> None:
        self.files: dict[PurePosixPath, bytes] = {}
        self._root = root.resolve()
        home = self._root / "docs" / "index.md"
        self._add(home if home.is_file() else self._root / "README.md")
        for path in sorted((root / "docs").rglob("*")):
            if path.is_file():
                self._add(path.resolve())

    def _add(self, path: Path) -> PurePosixPath:
        """Add what a link leads to, unless it is there, and return its place."""
        if (path / "index.md").exists():
            path = path / "index.md"
        named = PurePosixPath(path.relative_to(self._root).as_posix())
        place = place_of(named, path.is_dir())
        if place not in self.files:
            self.files[place] = b""  # a page may link to itself
            self.files[place] = self._content(path, named, place)
        return place

    def _content(self, path: Path, named: PurePosixPath, place: PurePosixPath) -> bytes:
        if path.is_dir():
            return self._listing(path, named, place).encode()
        if path.suffix == ".md":
            text = path.read_text(encoding="utf-8")
            return self._with_links(text, path, place).encode()
        if place.suffix == ".md":
            return _page_of_source(path, named).encode()
        return path.read_bytes()

    def _listing(self, path: Path, named: PurePosixPath, place: PurePosixPath) -> str:
        lines = [f"# {named}/\n"]
        for each in sorted(path.iterdir()):
            if each.is_file():
                link = _from(place, self._add(each))
                is_page = each.suffix == ".md"
                name = heading_of(each.read_text("utf-8")) if is_page else each.name
                lines.append(f"- [{name}]({link})")
        return _hidden("\n".join(lines) + "\n")

    def _with_links(self, text: str, path: Path, place: PurePosixPath) -> str:
        def link(found: re.Match[str]) -> str:
            target = (path.parent / found["target"]).resolve()
            if not target.exists() or not target.is_relative_to(self._root):
                return found[0]  # which the strict build or a test tells of
            return _from(place, self._add(target)) + (found["fragment"] or "")

        def title(found: re.Match[str]) -> str:
            heading = heading_of((path.parent / found["target"]).read_text("utf-8"))
            return f"[{heading}]({found['target']}"

        def fitting(part: str) -> str:
            return _LINK.sub(link, _NAMED.sub(title, part))

        parts: list[str] = []
        end = 0
        for fence in _FENCE.finditer(text):
            parts += [fitting(text[end : fence.start()]), fence[0]]
            end = fence.end()
        return "".join([*parts, fitting(text[end:])])


def _from(place: PurePosixPath, target: PurePosixPath) -> str:
    return PurePosixPath(os.path.relpath(target, place.parent)).as_posix()


def _hidden(text: str) -> str:
    """A page that the search does not find."""
    return f"---\nsearch:\n  exclude: true\n---\n\n{text}"


def _page_of_source(path: Path, named: PurePosixPath) -> str:
    text = path.read_text(encoding="utf-8")
    runs = re.findall(r"`{3,}", text)
    fence = "`" * max([3, *(len(each) + 1 for each in runs)])
    language = path.suffix.removeprefix(".")
    return _hidden(f"# {named}\n\n{fence}{language}\n{text.rstrip()}\n{fence}\n")


def write(files: Mapping[PurePosixPath, bytes], directory: Path) -> None:
    """Make the directory have these files, and no others."""
    shutil.rmtree(directory, ignore_errors=True)
    for place, content in files.items():
        path = directory / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def make(root: Path, into: Path) -> tuple[bool, str]:
    """Make the site of a repository in `into`/site.

    Pages that link to each other in Markdown lie beside those in HTML, for llms.txt.

    Returns:
        Whether Zensical made it, and its output.
    """
    files = Copy(root).files
    write(files, into / "build" / "docs")
    if into != root:
        shutil.copy(root / "mkdocs.yml", into)
    shutil.rmtree(into / "site", ignore_errors=True)
    done = subprocess.run(
        [sys.executable, "-m", "zensical", "build", "--strict", "--clean"],
        cwd=into,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        return False, done.stdout
    for place, content in files.items():
        if place.suffix == ".md":
            (into / "site" / place).write_bytes(content)
    text = llms_txt(read_config(root), files)
    (into / "site" / "llms.txt").write_text(text, encoding="utf-8")
    return True, done.stdout


def main(arguments: Sequence[str]) -> int:
    """Make the site in the checkout, and return an exit code."""
    if arguments:
        print("usage: python -m tools.site", file=sys.stderr)
        return 2
    made, output = make(ROOT, ROOT)
    print(output, end="")
    return 0 if made else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
