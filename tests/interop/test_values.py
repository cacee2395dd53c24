"""Values of every wire type go to the Rust peer and come back, and the other way."""

from __future__ import annotations

import pytest

from roam_trio import client

from ..two_processes.processes import within
from .handlers import Everything
from .peer import Place, meet
from .services import Values
from .wire_types import (
    CONTAINERS,
    EXPR,
    FIGURES,
    HIGHEST,
    LOWEST,
    PAGE,
    SCALARS,
    TREE,
    Colour,
    Labelled,
    Marker,
    Metres,
    Page,
    Point,
    Single,
    Spaced,
    chain,
    value_of,
)

pytestmark = pytest.mark.interop


@within(60)
async def test_rust_gives_back_values_of_every_type(
    place: Place, everything: Everything
) -> None:
    async with meet(place, "serve", handler=everything) as meeting:
        values = client(Values, (await meeting.session()).caller)
        for integers in (LOWEST, HIGHEST):
            assert await values.integers(integers) == integers
        assert await values.scalars(SCALARS) == SCALARS
        assert await values.containers(CONTAINERS) == CONTAINERS
        structs = (
            Point(-1, 300),
            Labelled(7, "seven"),
            Single(300),
            Metres(-0.5),
            Marker(),
        )
        assert await values.structs(*structs) == structs
        colours = [Colour.BLUE, Colour.RED, Colour.GREEN]
        assert await values.colours(colours) == colours
        assert await values.spaced(Spaced.FAR) is Spaced.FAR
        assert await values.figures(FIGURES) == FIGURES
        assert await values.tree(TREE) == TREE
        assert await values.chain(chain(20)) == chain(20)
        assert await values.evaluate(EXPR) == value_of(EXPR) == 2
        assert await values.expr(EXPR) == EXPR
        assert await values.page(PAGE) == Page(["1:2", "-3:4"], 1000)
        await values.nothing()
        assert await values.borrowed("text", b"\x01\x02\x03") == "text 3"
        assert await values.lent("text") == "something"
        assert await values.owned_or_lent("owned") == "owned"


@within(60)
async def test_rust_reads_every_integer_as_it_was_meant(
    place: Place, everything: Everything
) -> None:
    async with meet(place, "serve", handler=everything) as meeting:
        values = client(Values, (await meeting.session()).caller)
        unsigned = [2**width - 1 for width in (8, 16, 32, 64, 128)]
        signed = [-(2 ** (width - 1)) for width in (8, 16, 32, 64, 128)]
        spelled = await values.spelled(*unsigned, *signed)
        assert spelled == " ".join(map(str, unsigned + signed))


@within(60)
async def test_rust_gets_its_values_back(place: Place, everything: Everything) -> None:
    async with meet(place, "call", "values", handler=everything) as meeting:
        assert await meeting.peer.wait() == ["done values"]
