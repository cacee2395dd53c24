"""Arguments by keyword, and defaults: the client fills them in; the wire has places."""

from __future__ import annotations

from typing import Any, Protocol

import pytest

from roam_trio import SchemaError, describe, dispatcher, service, u8, with_metadata
from roam_trio.testing import connected_pair


@service
class Printer(Protocol):
    async def print(self, text: str, /, copies: u8 = 1, *, colour: bool) -> str: ...
    async def feed(self, *, sheets: u8 = 3, slot: u8 = 1) -> str: ...


@service(name="Printer")
class ByPlace(Protocol):
    async def print(self, text: str, copies: u8, colour: bool) -> str: ...
    async def feed(self, sheets: u8, slot: u8) -> str: ...


class Impl:
    async def print(self, text: str, /, copies: u8 = 1, *, colour: bool) -> str:
        return f"{text} {copies} {colour}"

    async def feed(self, *, sheets: u8 = 3, slot: u8 = 1) -> str:
        return f"{sheets} {slot}"


class InAnotherOrder:
    async def print(self, text: str, /, copies: u8, *, colour: bool) -> str:
        return f"{text} {copies} {colour}"

    async def feed(self, *, slot: u8, sheets: u8) -> str:
        return f"{sheets} {slot}"


class InPlaces:
    async def print(self, text: str, copies: u8, colour: bool) -> str:
        return f"{text} {copies} {colour}"

    async def feed(self, sheets: u8, slot: u8) -> str:
        return f"{sheets} {slot}"


@pytest.mark.parametrize("handler", [Impl(), InAnotherOrder(), InPlaces()])
async def test_arguments_by_name_reach_the_handler_by_name(handler: Any) -> None:
    async with connected_pair(Printer, handler) as printer:
        assert await printer.print("page", colour=True) == "page 1 True"
        assert await printer.print("page", 2, colour=False) == "page 2 False"
        assert await printer.print("page", colour=True, copies=3) == "page 3 True"
        assert await printer.feed() == "3 1"
        assert await printer.feed(slot=2) == "3 2"
        parts = await with_metadata(printer.feed)(sheets=9)
        assert parts.value == "9 1"


async def test_on_the_wire_they_have_their_places() -> None:
    by_name, by_place = describe(Printer), describe(ByPlace)
    assert [m.id for m in by_name.methods] == [m.id for m in by_place.methods]

    async with connected_pair(ByPlace, dispatcher(Printer, Impl())) as printer:
        assert await printer.print("page", 2, True) == "page 2 True"
        assert await printer.feed(7, 8) == "7 8"


@pytest.mark.parametrize(
    "wrong",
    [
        lambda printer: printer.feed(3),
        lambda printer: printer.feed(3, 1),
        lambda printer: printer.print("page"),
        lambda printer: printer.print("page", 1, True),
        lambda printer: printer.print(text="page", colour=True),
        lambda printer: printer.print("page", colour=True, size=3),
    ],
)
async def test_what_does_not_fit_the_signature_is_refused(wrong: Any) -> None:
    async with connected_pair(Printer, Impl()) as printer:
        with pytest.raises(TypeError, match=r"Printer\.(feed|print)\("):
            await wrong(printer)


def test_a_handler_that_takes_an_argument_by_place_alone_is_refused() -> None:
    class Wrong:
        async def print(self, text: str, copies: u8, colour: bool, /) -> str:
            return ""

        async def feed(self, *, sheets: u8, slot: u8) -> str:
            return ""

    with pytest.raises(SchemaError, match="colour"):
        dispatcher(Printer, Wrong())


def test_a_descriptor_tells_which_arguments_go_by_name() -> None:
    print_, feed = describe(Printer).methods
    assert print_.keyword_only == ("colour",)
    assert print_.positional_count is None
    assert feed.by_position((3, 1)) == ((), {"sheets": 3, "slot": 1})
