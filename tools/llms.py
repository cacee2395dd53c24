"""llms.txt, which tells programs what each page of the site is about."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, TypeAlias

import yaml

Nav: TypeAlias = "str | Mapping[str, Nav] | Sequence[Nav]"


def read_config(root: Path) -> Any:
    """Return what mkdocs.yml says."""
    return yaml.safe_load((root / "mkdocs.yml").read_text(encoding="utf-8"))


def llms_txt(config: Any, files: Mapping[PurePosixPath, bytes]) -> str:
    """Return llms.txt for the pages in nav; `files` has their Markdown by path."""
    home = files[PurePosixPath("index.md")].decode()
    parts = [f"# {config['site_name']}\n\n> {_first_paragraph(home)}\n"]
    for group in config["nav"]:
        (name,) = group
        lines = [
            _line(title, path, files[PurePosixPath(path)].decode())
            for title, path in pages_of(group)
        ]
        parts.append(f"## {name}\n\n" + "\n".join(lines) + "\n")
    return "\n".join(parts)


def pages_of(entries: Nav) -> Iterator[tuple[str | None, str]]:
    """Yield title and path of each page in a part of nav, in order."""
    match entries:
        case str():
            yield None, entries
        case Mapping():
            for title, below in entries.items():
                if isinstance(below, str):
                    yield title, below
                else:
                    yield from pages_of(below)
        case _:
            for each in entries:
                yield from pages_of(each)


def _line(title: str | None, path: str, page: str) -> str:
    title = title or heading_of(page)
    about = re.split(r"(?<=[.:])\s", _first_paragraph(page))[0].rstrip(":.")
    return f"- [{title}]({path})" + (f": {about}." if about else "")


def heading_of(page: str) -> str:
    """Return the heading of a page."""
    found = re.search(r"^# (.+)$", page, re.MULTILINE)
    return found[1] if found else ""


def _first_paragraph(page: str) -> str:
    """The first paragraph of text below the heading, as one line without links."""
    for block in page.split("\n\n")[1:]:
        if re.match(r"[\w`\[*]", block) and not block.startswith("```"):
            line = " ".join(block.split())
            return re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", line)
    return ""
