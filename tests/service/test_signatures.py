"""Signatures are shown as the source has them, and without what is behind the types."""

import inspect
from collections.abc import Callable
from typing import Annotated, Any, Optional, Protocol

import pytest

from roam_trio import (
    Credit,
    Fallible,
    Rx,
    SchemaError,
    Tx,
    dispatcher,
    f64,
    i32,
    service,
    u8,
    u32,
)
from roam_trio.service.signatures import show_annotation, show_signature
from tests.service.services import MathError, NotFound, Point


# Without the future import: its annotations are objects, not strings.
@service
class Adder(Protocol):
    async def add(self, left: u32, right: u32) -> u32: ...


async def divide(point: Point, by: f64 = 1.0) -> Fallible[i32, MathError]:
    raise NotImplementedError


async def stream(data: Rx[u8], out: "Tx[i32]") -> None: ...
async def find(*keys: dict[str, u32], limit: Optional[u8]) -> list[i32]:  # noqa: UP045
    raise NotImplementedError


async def bare(a, b=2): ...  # type: ignore[no-untyped-def]


@pytest.mark.parametrize(
    ("function", "shown"),
    [
        (divide, "(point: Point, by: f64 = 1.0) -> Fallible[i32, MathError]"),
        (stream, "(data: Rx[u8], out: Tx[i32]) -> None"),
        (find, "(*keys: dict[str, u32], limit: u8 | None) -> list[i32]"),
        (bare, "(a, b=2)"),
    ],
)
def test_a_signature_is_shown_as_written(
    function: Callable[..., Any], shown: str
) -> None:
    assert show_signature(inspect.signature(function)) == shown


@pytest.mark.parametrize(
    ("annotation", "shown"),
    [
        (Annotated[Rx[u8], Credit(0)], "Rx[u8]"),
        (Fallible[None, NotFound | MathError], "Fallible[None, NotFound | MathError]"),
        (Callable[..., str], "Callable[..., str]"),
        ({"not": "a type"}, "{'not': 'a type'}"),
    ],
)
def test_an_annotation_of_any_kind_can_be_shown(annotation: Any, shown: str) -> None:
    assert show_annotation(annotation) == shown


def test_an_annotation_that_is_no_type_of_a_result_can_be_shown() -> None:
    assert "Point" in show_annotation(Fallible[Fallible[u8, Point], Point])


def test_a_refusal_shows_both_signatures_by_the_names_of_their_types() -> None:
    class AdderImpl:
        async def add(self, left: u32) -> u32:
            return left

    with pytest.raises(SchemaError) as caught:
        dispatcher(Adder, AdderImpl())
    assert (
        "expected async def add(left: u32, right: u32) -> u32, "
        "got add(left: u32) -> u32: "
    ) in str(caught.value)
