"""The plots are well-formed, and what is longer is more."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from benchmarks.bars import draw_bars
from benchmarks.figures import Figure
from benchmarks.lines import Chart, Curve, draw_lines
from benchmarks.results import Summary
from benchmarks.svg import OURS, THEIRS, Drawing
from benchmarks.works import NOT_PINNED, PINNED

SVG = "{http://www.w3.org/2000/svg}"


def figure(adapter: str, ratio: float, held: int | None = None) -> Figure:
    def exactly(value: float) -> Summary:
        return Summary(value, value, value)

    if held is not None:
        return Figure(
            NOT_PINNED, "idle-sessions", adapter, 5, exactly(1), held=exactly(held)
        )
    return Figure(PINNED, "call", adapter, 5, exactly(1), exactly(ratio))


def texts_of(svg: str) -> list[str]:
    return [
        element.text or "" for element in ElementTree.fromstring(svg).iter(f"{SVG}text")
    ]


def lengths_of(svg: str, fill: str) -> list[float]:
    return [
        float(element.attrib["width"])
        for element in ElementTree.fromstring(svg).iter(f"{SVG}rect")
        if element.attrib["fill"] == fill
    ]


def test_bars_are_ordered_and_in_proportion() -> None:
    svg = draw_bars(
        [figure("floor", 1.0), figure("roam_trio", 0.5), figure("other", 0.95)]
    )
    [ours] = lengths_of(svg, OURS)
    [theirs] = lengths_of(svg, THEIRS)
    assert ours / theirs == pytest.approx(0.5 / 0.95, rel=0.01)
    texts = texts_of(svg)
    assert texts.index("other") < texts.index("roam_trio")
    assert "0.50" in texts
    assert "0.95" in texts
    assert "floor" not in texts


def test_less_memory_comes_first_and_includes_the_floor() -> None:
    svg = draw_bars(
        [
            figure("other", 0, 20_000),
            figure("roam_trio", 0, 5_000),
            figure("floor", 0, 900),
        ]
    )
    texts = texts_of(svg)
    order = [text for text in texts if text in ("floor", "roam_trio", "other")]
    assert order == ["floor", "roam_trio", "other"]
    assert "20.0" in texts


def test_curves_fall_where_values_fall_and_name_their_implementation() -> None:
    chart = Chart(
        "A & B", "µs", [Curve("roam_trio", [(1, 10.0), (100, 1000.0), (10_000, 100.0)])]
    )
    svg = draw_lines("title", "subtitle", [chart])
    [curve] = ElementTree.fromstring(svg).iter(f"{SVG}polyline")
    points = [point.split(",") for point in curve.attrib["points"].split()]
    xs, ys = ([float(point[i]) for point in points] for i in (0, 1))
    assert xs[1] - xs[0] == pytest.approx(xs[2] - xs[1], abs=0.2)
    assert ys[1] < ys[2] < ys[0], "up is less in SVG"
    assert "roam_trio" in texts_of(svg)
    assert "A & B" in texts_of(svg)


def test_text_is_escaped_and_numbers_are_short() -> None:
    drawing = Drawing(10, 10)
    drawing.text(1 / 3, 2.0, "<&>")
    svg = drawing.to_svg()
    assert texts_of(svg) == ["<&>"]
    assert 'x="0.3" y="2"' in svg
