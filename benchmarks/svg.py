"""Drawing: the few elements of SVG that the plots need, and a grid of panels."""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import escape, quoteattr

__all__ = ["DARK", "FAINT", "MUTED", "OURS", "THEIRS", "Drawing", "grid"]

OURS = "#1d6fd8"
THEIRS = "#b9c2cf"
DARK = "#1f2933"
MUTED = "#66727f"
FAINT = "#e3e8ee"

_FONT = "font-family: system-ui, 'Segoe UI', Helvetica, Arial, sans-serif"
_GAP = 28.0
_MARGIN = 24.0
_TITLE = 62.0


class Drawing:
    """A drawing of some size, in pixels; the origin is its top left corner."""

    def __init__(self, width: float, height: float) -> None:
        self.width = width
        self.height = height
        self._elements: list[str] = []

    def rectangle(
        self, x: float, y: float, width: float, height: float, fill: str
    ) -> None:
        """A filled one, its corners a little round."""
        self._add("rect", x=x, y=y, width=width, height=height, fill=fill, rx=2)

    def line(
        self, x1: float, y1: float, x2: float, y2: float, stroke: str, width: float = 1
    ) -> None:
        """A straight one."""
        self._add("line", x1=x1, y1=y1, x2=x2, y2=y2, stroke=stroke, stroke_width=width)

    def path(self, points: Sequence[tuple[float, float]], stroke: str) -> None:
        """A line through points, and a dot on each."""
        places = " ".join(f"{_number(x)},{_number(y)}" for x, y in points)
        self._add("polyline", points=places, fill="none", stroke=stroke, stroke_width=2)
        for x, y in points:
            self._add("circle", cx=x, cy=y, r=3, fill=stroke)

    def text(
        self,
        x: float,
        y: float,
        text: str,
        *,
        size: float = 12,
        fill: str = DARK,
        anchor: str = "start",
        bold: bool = False,
    ) -> None:
        """A line of text; `anchor` says what of it is at x: start, middle or end."""
        weight = "600" if bold else "400"
        self._add(
            "text",
            escape(text),
            x=x,
            y=y,
            font_size=size,
            fill=fill,
            text_anchor=anchor,
            font_weight=weight,
        )

    def place(self, other: Drawing, x: float, y: float) -> None:
        """Another drawing, with its corner there."""
        where = f"translate({_number(x)} {_number(y)})"
        self._add("g", "\n".join(other._elements), transform=where)

    def to_svg(self) -> str:
        """The file."""
        width, height = _number(self.width), _number(self.height)
        body = "\n".join(self._elements)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" '
            f'height="{height}" viewBox="0 0 {width} {height}" style="{_FONT}">\n'
            f'<rect width="{width}" height="{height}" rx="8" fill="#ffffff"/>\n'
            f"{body}\n</svg>\n"
        )

    def _add(self, element: str, content: str = "", **attributes: str | float) -> None:
        written = "".join(
            f" {name.replace('_', '-')}={quoteattr(_value(value))}"
            for name, value in attributes.items()
        )
        end = f">{content}</{element}>" if content else "/>"
        self._elements.append(f"<{element}{written}{end}")


def grid(title: str, subtitle: str, panels: Sequence[Drawing], columns: int) -> Drawing:
    """Panels in rows, under a title; each row is as high as its highest panel."""
    rows = [panels[i : i + columns] for i in range(0, len(panels), columns)]
    width = max(panel.width for panel in panels)
    heights = [max(panel.height for panel in row) for row in rows]
    whole = Drawing(
        2 * _MARGIN + columns * width + (columns - 1) * _GAP,
        _TITLE + sum(heights) + len(rows) * _GAP,
    )
    whole.text(_MARGIN, 30, title, size=18, bold=True)
    whole.text(_MARGIN, 50, subtitle, size=12, fill=MUTED)
    y = _TITLE + 8
    for row, height in zip(rows, heights, strict=True):
        for place, panel in enumerate(row):
            whole.place(panel, _MARGIN + place * (width + _GAP), y)
        y += height + _GAP
    return whole


def _value(value: str | float) -> str:
    return value if isinstance(value, str) else _number(value)


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
