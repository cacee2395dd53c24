"""Writing what was measured: files of results, and the blocks of the documents."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from .bars import draw_bars
from .figures import figures_of, verdicts_on
from .markdown import details, limits, machine_line, overview, targets
from .results import Results

__all__ = ["ROOT", "fill", "write_comparison"]

ROOT = Path(__file__).resolve().parent.parent
"""The checkout, which has the README, `docs` and `benchmarks` in it."""


def write_comparison(results: Results, root: Path = ROOT) -> list[Path]:
    """Write tables, plot and figures, and put the overview into README and docs.

    Args:
        results: what was measured.
        root: where the files go.

    Returns:
        The files that were written.
    """
    places = root / "benchmarks" / "results"
    places.mkdir(exist_ok=True)
    figures = figures_of(results)
    collected = {
        "machine": results.machine,
        "contestants": results.contestants,
        "figures": figures,
        "verdicts": verdicts_on(figures),
    }
    written = {
        places / "results.md": details(results),
        places / "results.json": to_json(collected),
        places / "ratios.svg": draw_bars(figures),
    }
    for path, text in written.items():
        path.write_text(text, encoding="utf-8")
    plot = "![Bars for each library and work]({}benchmarks/results/ratios.svg)"
    short = f"{plot.format('')}\n\n{overview(results)}"
    long = "\n\n".join(
        [
            machine_line(results),
            overview(results),
            plot.format("../"),
            limits(results),
            targets(results),
        ]
    )
    for path, block in (
        (root / "README.md", short),
        (root / "docs" / "benchmarks.md", long),
    ):
        fill(path, "comparison", block)
        written[path] = block
    return list(written)


def to_json(thing: object) -> str:
    """Readable JSON."""
    return msgspec.json.format(msgspec.json.encode(thing)).decode() + "\n"


def fill(path: Path, name: str, block: str) -> None:
    """Replace what is between the marks of a name in a document.

    Raises:
        ValueError: the document has no such marks.
    """
    start, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    text = path.read_text(encoding="utf-8")
    marked = re.compile(f"{re.escape(start)}.*?{re.escape(end)}", re.DOTALL)
    if not marked.search(text):
        raise ValueError(f"{path.name}: expected {start} and {end}")
    filled = marked.sub(lambda _: f"{start}\n\n{block}\n\n{end}", text)
    path.write_text(filled, encoding="utf-8")
