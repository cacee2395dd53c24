"""What `roam-trio typescript` writes: names, ids, types, and what it refuses.

`tests/interop/typescript` compiles it and runs it.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

import attrs
import msgspec
import pytest

from examples.weather import Weather
from roam_trio import (
    Array,
    Credit,
    Fallible,
    Health,
    Length,
    Rx,
    SchemaError,
    Slice,
    Tx,
    describe,
    i64,
    service,
    transparent,
    u8,
    u32,
    u64,
)
from roam_trio.codegen.typescript import write_typescript
from tests.interop.services import Faults, Streams, Values, Waiting


def text_of(*services: type[Any]) -> str:
    """Return what is written after the runtime."""
    text = write_typescript([describe(each) for each in services])
    return text.partition("types and services\n")[2]


def test_ids_of_methods_are_those_of_python() -> None:
    services = [Values, Faults, Streams, Waiting, Weather, Health]
    ids = re.findall(r'name: "(\w+)/(\w+)",\n  id: (0x\w+)n', text_of(*services))
    assert {(service, name): int(id, 16) for service, name, id in ids} == {
        (method.service, method.name): method.id
        for each in services
        for method in describe(each).methods
    }


def test_nothing_is_of_the_type_any() -> None:
    text = write_typescript([describe(each) for each in (Values, Faults, Streams)])
    without_comments = re.sub(r"//.*|/\*.*?\*/", "", text, flags=re.DOTALL)
    assert not re.search(r"\bany\b|@ts-", without_comments.replace("AnyVariant", ""))


def test_the_file_imports_nothing() -> None:
    text = write_typescript([describe(Weather)])
    assert not re.search(r"^(import|export .* from) ", text, re.MULTILINE)
    assert text.count("export class Session ") == 1


@service
class Everyday:
    """Says */ and \u2028."""

    async def send_it(
        self,
        in_: str,
        options: u8 = 3,
        big: i64 = -5,
        half: float = 0.5,
        text: str = 'a "b"',
        yes: bool = True,
        maybe: u32 | None = None,
    ) -> None:
        """Send it."""

    async def required_after(self, first: u8 = 1, *, second: u8) -> u64: ...
    async def constructor(self) -> list[u8]: ...
    async def with_bytes(
        self,
        data: bytes,
        part: Annotated[bytes, Slice()],
        four: Annotated[bytes, Length(4)],
        octets: Array[u8, Literal[3]],
        numbers: list[u8],
    ) -> dict[str, set[u32]]: ...
    async def list_default(self, maybe: list[u8] | None = None) -> None: ...


def test_arguments_have_the_defaults_of_python_and_names_of_typescript() -> None:
    text = text_of(Everyday)
    assert (
        "  sendIt(in2: string, options2: number = 3, big: bigint = -5n, "
        'half: number = 0.5, text: string = "a \\"b\\"", yes: boolean = true, '
        "maybe: number | null = null, options: CallOptions = {}): Promise<void> {"
    ) in text
    assert "requiredAfter(first: number, second: number, options: CallO" in text
    assert "  constructor2(options: CallOptions = {}): Promise<number[]> {" in text
    assert "listDefault(maybe: number[] | null = null, " in text


def test_types_of_bytes_are_byte_arrays() -> None:
    text = text_of(Everyday)
    types = "[Uint8Array, Uint8Array, Uint8Array, Uint8Array, number[]]"
    codecs = "(bytes, bytes, byteArray(4), byteArray(3), list(u8))"
    assert f"tuple<{types}>{codecs}" in text
    assert "Map<string, Set<number>>" in text
    assert "map(str, set(u32))" in text


def test_docstrings_become_comments_that_end_where_they_should() -> None:
    text = text_of(Everyday)
    assert (
        "/**\n * Says *\\/ and \\u{2028}.\n */\nexport class EverydayClient {" in text
    )
    assert "  /**\n   * Send it.\n   */\n  sendIt(" in text


def test_unions_have_the_names_of_their_aliases() -> None:
    text = text_of(Values)
    assert 'export type Figure =\n  | { is: "Nothing" }\n' in text
    assert "export type Expr =\n" in text
    assert "export interface PagePoint {\n  items: Point[];\n" in text


class One(msgspec.Struct):
    value: None


class Two(msgspec.Struct, array_like=True):
    left: u8
    right: One | None


class Three(msgspec.Struct):
    pass


class Four(msgspec.Struct):
    pass


@service
class Unnamed:
    async def few(self, value: One | Two) -> None: ...
    async def many(self, value: One | Two | Three | Four) -> Three: ...
    async def stream(self, items: Annotated[Tx[One | Three], Credit(2)]) -> None: ...
    async def failing(self, rx: Rx[u8]) -> Fallible[None, Two | Four]: ...


def test_unions_without_an_alias_are_named_after_their_classes() -> None:
    text = text_of(Unnamed)
    for name in ("OneOrTwo", "OneOrTwoOrOther", "OneOrThree", "TwoOrFour"):
        assert f"export type {name} =\n" in text
    assert "items: Tx<OneOrThree>" in text
    assert "tx(oneOrThreeCodec, 2)" in text
    assert "Promise<Result<void, TwoOrFour>>" in text
    assert "Two: tuple<[number, One | null]>(u8, option(oneCodec))," in text
    assert "export type Three = Record<string, never>;" in text


class Session(msgspec.Struct):
    """Has the name of a class of the runtime, and a name that is no identifier."""

    first: u8 = msgspec.field(name="first-name")


@service
class Clashing:
    async def session(self, value: Session) -> Session: ...


@service
class Again:
    async def session(self, value: Session) -> Session: ...


def test_names_of_the_runtime_are_not_taken() -> None:
    text = text_of(Clashing)
    assert 'export interface Session2 {\n  "first-name": number;\n}' in text
    assert (
        "session(value: Session2, options: CallOptions = {}): Promise<Session2>" in text
    )


def test_a_type_of_several_services_is_written_once() -> None:
    text = text_of(Clashing, Again, Clashing)
    assert text.count("export interface Session2 ") == 1
    assert text.count("export class ClashingClient ") == 1
    assert "Session3" not in text


class Point(msgspec.Struct):
    """Another one than that of `Values`."""

    z: u8


@transparent
@attrs.frozen
class Perhaps:
    value: u8 | None


@service
class Elsewhere:
    async def move(self, _1: Point, perhaps: Perhaps | None = None) -> list[Point]: ...


def test_types_of_one_name_that_differ_get_names_of_their_own() -> None:
    text = text_of(Values, Elsewhere)
    assert "export interface Point {\n  x: number;" in text
    assert "export interface Point2 {\n  z: number;" in text
    assert "move(m1: Point2, perhaps: [] | [number | null] = [], opt" in text


def test_an_option_in_an_option_has_a_value_for_each_case() -> None:
    assert "nestedOption(option(u8))" in text_of(Elsewhere)


class Recursive(msgspec.Struct):
    children: list[Recursive]
    other: Other | None


class Other(msgspec.Struct):
    back: Recursive | None


@service
class Circles:
    async def turn(self, value: Recursive) -> Other: ...


def test_types_that_contain_themselves_are_looked_up_when_they_are_used() -> None:
    text = text_of(Circles)
    assert "  back: option(lazy(() => recursiveCodec)),\n" in text
    assert "  children: list(lazy(() => recursiveCodec)),\n" in text
    assert "  other: option(otherCodec),\n" in text
    assert text.index("otherCodec: Codec") < text.index("recursiveCodec: Codec")


class Numbered(msgspec.Struct):
    first: u8 = msgspec.field(name="1")


@service
class Refused:
    async def take(self, value: Numbered) -> None: ...


def test_a_field_that_javascript_moves_is_refused_with_its_place() -> None:
    with pytest.raises(SchemaError, match=r"Numbered\.1.*'1'.*rename it"):
        text_of(Refused)
