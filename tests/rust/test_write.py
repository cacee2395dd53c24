"""Services as Rust source."""

from __future__ import annotations

from typing import Annotated, Any, Protocol

import attrs
import msgspec

from roam_trio import Credit, Length, Rx, Slice, Tx, describe, service, u8, u16
from roam_trio.codegen.rust import interface_of, write_rust

from .services import (
    SERVICES,
    Chicken,
    Colour,
    Drawing,
    Egg,
    Expression,
    Keywords,
    Meters,
    Page,
    Point,
    Streams,
    Vec,
)
from .strategies import service_of


class lower(msgspec.Struct):
    side: u8


class Upper(msgspec.Struct):
    Side: u8


class Sliced(msgspec.Struct):
    items: Annotated[list[u16], Slice()]
    names: set[str]
    sizes: Annotated[list[u16], Length(3)]
    ages: dict[str, u8]


def written(*services: Any) -> str:
    return write_rust(interface_of([describe(each) for each in services]))


def written_for(*arguments: Any) -> str:
    """The source for a service with one method of these arguments."""
    return written(service_of("Probe", {"probe": (arguments, None)}))


def test_service_is_a_trait_with_its_docs() -> None:
    @service
    class Adder(Protocol):
        """Adds.

        Slowly.
        """

        async def add(self, left: u8, right: float) -> bytes:
            """Add two numbers."""
            ...

        async def stop(self) -> None: ...

    assert written(Adder) == (
        """\
// Made by `python -m roam_trio rust`. It needs, in Cargo.toml:
//
//     roam = "=7.3.0"

/// Adds.
///
/// Slowly.
#[roam::service]
pub trait Adder {
    /// Add two numbers.
    async fn add(&self, left: u8, right: f64) -> Vec<u8>;

    async fn stop(&self);
}
"""
    )


def test_struct_and_enum_derive_facet() -> None:
    text = written_for(Colour, dict[Point, float], Meters)
    assert (
        """\
/// What a shape is painted with.
#[derive(Debug, Clone, PartialEq, Eq, Facet)]
#[repr(u8)]
#[allow(non_camel_case_types)]
pub enum Colour {
    Red,
    DarkBlue,
    crate_brown,
}
"""
        in text
    )
    assert (
        """\
/// A point of a grid.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Facet)]
pub struct Point {
    pub x: i32,
    pub y: i32,
}

#[derive(Debug, Clone, PartialEq, Facet)]
#[facet(transparent)]
pub struct Meters(pub f32);
"""
        in text
    )


def test_union_goes_by_the_name_of_its_alias() -> None:
    text = written_for(Drawing)
    assert "pub enum Drawing {\n    Empty,\n    Alone(u32),\n" in text
    assert "    Circle {\n        radius: f32,\n    },\n" in text


def test_union_without_an_alias_goes_by_the_names_of_its_classes() -> None:
    assert "probe(&self, a0: PointOrVec, a1: Vec2)" in written_for(Point | Vec, Vec)


def test_what_contains_itself_is_boxed() -> None:
    assert "    Neg(Box<Expression>),\n" in written_for(Expression)
    text = written_for(Egg, tuple[u8, Chicken | None])
    assert "    pub egg: Option<Box<Egg>>,\n" in text
    assert "    pub chicken: (u8, Option<Box<Chicken>>),\n" in text
    assert "probe(&self, a0: Egg, a1: (u8, Option<Box<Chicken>>));" in text


def test_enum_allows_the_names_that_are_on_the_wire() -> None:
    text = written_for(lower | Upper)
    assert "#[allow(non_camel_case_types)]\n#[allow(non_snake_case)]\n" in text
    assert "    lower { side: u8 },\n    Upper { Side: u8 },\n" in text


def test_collections_in_fields_are_those_of_the_standard_library() -> None:
    text = written_for(Sliced)
    assert "    pub items: Box<[u16]>,\n" in text
    assert "    pub names: BTreeSet<String>,\n" in text
    assert "    pub sizes: [u16; 3],\n" in text
    assert "    pub ages: BTreeMap<String, u8>,\n" in text


def test_transparent_class_is_written_once_for_all_its_uses() -> None:
    text = written_for(Meters, list[Meters])
    assert text.count("pub struct Meters(pub f32);") == 1
    assert "probe(&self, a0: Meters, a1: Vec<Meters>);" in text


def test_generic_class_is_a_type_for_each_of_its_uses() -> None:
    text = written_for(Page[u8], Page[Point | None])
    assert "pub struct PageU8 {\n    pub items: Vec<u8>,\n" in text
    assert "pub struct PagePointNone {\n    pub items: Vec<Option<Point>>,\n" in text


def test_keywords_are_raw_identifiers() -> None:
    text = written_for(Keywords)
    assert "    pub r#type: u8,\n    pub r#match: String,\n    pub from: u8,\n" in text


def test_signature_has_aliases_for_what_the_macro_cannot_read() -> None:
    text = written_for(
        Annotated[bytes, Length(16)],
        Annotated[list[str], Slice()],
        Annotated[Rx[u8], Credit(3)],
        Tx[u8],
        Streams,
    )
    assert "use roam::{Rx, Tx};\n" in text
    assert "pub type Array16<T> = [T; 16];\n" in text
    assert "pub type Slice<T> = Box<[T]>;\n" in text
    assert "    pub type Rx<T> = ::roam::Rx<T, 3>;\n" in text
    assert "    pub type Tx = super::Streams;\n" in text
    for argument in (
        "a0: Array16<u8>,",
        "a1: Slice<String>,",
        "a2: credit_3::Rx<u8>,",
        "a3: Tx<u8>,",
        "a4: streams_channels::Tx,",
    ):
        assert f"        {argument}\n" in text


def test_types_with_channels_derive_facet_alone() -> None:
    assert "#[derive(Facet)]\npub struct Streams {" in written_for(Streams)


def test_names_that_are_not_on_the_wire_make_room() -> None:
    class Option(msgspec.Struct):
        a: u8

    class AdderClient(msgspec.Struct):
        b: u8

    class Array3(msgspec.Struct):
        c: u8

    arguments = [Option, AdderClient, Array3, Annotated[bytes, Length(3)]]
    text = written(service_of("Adder", {"add": (arguments, None)}))
    assert "pub struct Option2 {" in text
    assert "pub struct AdderClient2 {" in text
    assert "pub type Array32<T> = [T; 3];" in text
    assert (
        "(&self, a0: Option2, a1: AdderClient2, a2: Array3, a3: Array32<u8>);" in text
    )


def test_names_that_are_on_the_wire_stay_the_same_there() -> None:
    text = written(service_of("Vec", {"getHTTPPage": ((), None)}))
    assert "pub trait Vec_ {\n    async fn get_http_page(&self);\n" in text


def test_docs_cannot_leave_their_comment() -> None:
    @attrs.frozen
    class Sly:
        """One \x0b two \x85 three \u2028 four \u202e five \r six."""

    text = written_for(Sly)
    assert (
        "/// One \\u{b} two \\u{85} three \\u{2028} four \\u{202e} five \\u{d} six.\n"
        in text
    )
    assert len(text.splitlines()) == text.count("\n")


def test_service_that_is_named_twice_is_written_once() -> None:
    assert written(SERVICES[0], SERVICES[0]) == written(SERVICES[0])
