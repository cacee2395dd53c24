"""Schemas of services: what they tell, as JSON and as bytes, and what they refuse."""

from __future__ import annotations

import dataclasses
import enum
import itertools
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Generic, Protocol, TypeVar

import attrs
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roam_trio import (
    Credit,
    Fallible,
    Length,
    Rx,
    SchemaError,
    ServiceDescriptor,
    Slice,
    Tx,
    char,
    describe,
    f32,
    i8,
    service,
    transparent,
    u8,
    u16,
    u32,
)
from roam_trio.service.description import encoding
from roam_trio.service.description.encoding import (
    schema_from_json,
    schema_from_wire,
    schema_to_wire,
)
from roam_trio.service.description.fingerprints import fingerprint
from roam_trio.service.description.model import (
    ArgSchema,
    ArrayType,
    ChannelType,
    EnumSchema,
    FieldSchema,
    ListType,
    MapType,
    MethodSchema,
    NamedType,
    OptionType,
    ServiceSchema,
    SetType,
    StructSchema,
    TupleType,
    Type,
    VariantSchema,
)
from roam_trio.service.description.type_text import result_text, type_text
from roam_trio.service.descriptor import method_descriptor
from tests.schema.strategies import Spec, specs

T = TypeVar("T")


class Color(enum.Enum):
    """A colour."""

    RED = "red"
    BLUE = 2


@attrs.frozen
class Page(Generic[T]):
    """Some of many."""

    items: list[T]
    next: u32 | None = None


@dataclasses.dataclass(frozen=True)
class Spot:
    x: u8
    y: u8 = 7
    names: list[str] = dataclasses.field(default_factory=list)
    stamp: u32 = dataclasses.field(default_factory=itertools.count().__next__)


@transparent
class Label(msgspec.Struct, frozen=True):
    text: str


class Pair(msgspec.Struct, array_like=True):
    first: i8
    second: i8 = -1


class Tree(msgspec.Struct):
    label: str
    children: list[Tree] = []


@attrs.define
class Full(Exception):
    """There is no room."""

    most: u32 = 100


@attrs.define
class Gone(Exception):
    pass


@service(name="shop")
class Shop(Protocol):
    """Sells things.

    Cheaply.
    """

    async def put(
        self, page: Page[Spot], color: Color = Color.BLUE, *, note: Label | None = None
    ) -> Fallible[u32, Full | Gone]:
        """Put it in.

        Or not.
        """
        ...

    async def grow(self, tree: Tree) -> Tree: ...

    async def watch(
        self, out: Annotated[Tx[Pair], Credit(64)], back: Rx[char]
    ) -> Fallible[None, Color]: ...

    async def mix(
        self,
        a: dict[str, set[u16]],
        b: Annotated[list[f32], Length(3)],
        c: Annotated[bytes, Slice()],
        d: tuple[bool, bytes],
        e: Annotated[list[u16], Slice()],
    ) -> None: ...


SCHEMA = ServiceSchema(
    "shop",
    (
        MethodSchema(
            "put",
            describe(Shop).methods[0].id,
            (
                ArgSchema("page", NamedType("Page[Spot]")),
                ArgSchema("color", NamedType("Color"), "BLUE"),
                ArgSchema("note", OptionType("str"), None, keyword_only=True),
            ),
            "u32",
            NamedType("Full | Gone"),
            "Put it in.\n\nOr not.",
        ),
        MethodSchema(
            "grow",
            describe(Shop).methods[1].id,
            (ArgSchema("tree", NamedType("Tree")),),
            NamedType("Tree"),
        ),
        MethodSchema(
            "watch",
            describe(Shop).methods[2].id,
            (
                ArgSchema("out", ChannelType("tx", NamedType("Pair"), 64)),
                ArgSchema("back", ChannelType("rx", "char", 16)),
            ),
            "unit",
            NamedType("Color"),
        ),
        MethodSchema(
            "mix",
            describe(Shop).methods[3].id,
            (
                ArgSchema("a", MapType("str", SetType("u16"))),
                ArgSchema("b", ArrayType("f32", 3)),
                ArgSchema("c", "byte slice"),
                ArgSchema("d", TupleType(("bool", "bytes"))),
                ArgSchema("e", ListType("u16", slice=True)),
            ),
        ),
    ),
    (
        StructSchema(
            "Page[Spot]",
            (
                FieldSchema("items", ListType(NamedType("Spot"))),
                FieldSchema("next", OptionType("u32"), None),
            ),
            doc="Some of many.",
        ),
        StructSchema(
            "Spot",
            (
                FieldSchema("x", "u8"),
                FieldSchema("y", "u8", 7),
                FieldSchema("names", ListType("str"), []),
                FieldSchema("stamp", "u32", computed=True),
            ),
        ),
        EnumSchema("Color", (VariantSchema("red"), VariantSchema("BLUE")), "A colour."),
        EnumSchema(
            "Full | Gone",
            (
                VariantSchema(
                    "Full",
                    (FieldSchema("most", "u32", 100),),
                    doc="There is no room.",
                ),
                VariantSchema("Gone"),
            ),
        ),
        StructSchema(
            "Tree",
            (
                FieldSchema("label", "str"),
                FieldSchema("children", ListType(NamedType("Tree")), []),
            ),
        ),
        StructSchema(
            "Pair",
            (FieldSchema("first", "i8"), FieldSchema("second", "i8", -1)),
            tuple_like=True,
        ),
    ),
    "Sells things.\n\nCheaply.",
)


def test_a_schema_tells_types_defaults_errors_credit_and_docs() -> None:
    assert describe(Shop).schema == SCHEMA


def test_a_schema_is_made_once() -> None:
    descriptor = describe(Shop)
    assert descriptor.schema is descriptor.schema


def test_a_schema_goes_through_json_and_through_bytes_unchanged() -> None:
    assert schema_from_json(SCHEMA.to_json()) == SCHEMA
    assert schema_from_json(SCHEMA.to_json(indent=None).encode()) == SCHEMA
    assert schema_from_wire(schema_to_wire(SCHEMA)) == SCHEMA
    assert schema_from_wire(memoryview(schema_to_wire(SCHEMA))) == SCHEMA


def test_json_leaves_out_what_has_its_default_value() -> None:
    found = json.loads(SCHEMA.to_json())
    assert found["types"][1]["fields"] == [
        {"name": "x", "type": "u8"},
        {"name": "y", "type": "u8", "default": 7},
        {"name": "names", "type": {"is": "list", "item": "str"}, "default": []},
        {"name": "stamp", "type": "u32", "computed": True},
    ]
    assert found["methods"][2]["args"][0]["type"] == {
        "is": "channel",
        "direction": "tx",
        "item": {"is": "type", "name": "Pair"},
        "credit": 64,
    }


@settings(deadline=None)
@given(specs())
def test_the_schema_of_every_type_goes_through_bytes_unchanged(spec: Spec) -> None:
    method = method_descriptor("Any", "do", {"value": spec.annotation}, None)
    schema = ServiceDescriptor("Any", (method,), "").schema
    again = schema_from_wire(schema_to_wire(schema))
    assert again == schema
    assert fingerprint(again) == fingerprint(schema)


TYPES: dict[str, Type] = {
    "u32 | None": OptionType("u32"),
    "list[str]": ListType("str"),
    "Array[u8, 4]": ArrayType("u8", 4),
    "set[u8]": SetType("u8"),
    "dict[str, Spot]": MapType("str", NamedType("Spot")),
    "tuple[u8, None]": TupleType(("u8", "unit")),
    "tuple[()]": TupleType(()),
    "Rx[bytes]": ChannelType("rx", "bytes", 3),
}


@pytest.mark.parametrize("text", TYPES)
def test_a_type_is_shown_as_python_writes_it(text: str) -> None:
    assert type_text(TYPES[text]) == text


def test_a_result_is_shown_with_its_error() -> None:
    assert result_text(SCHEMA.methods[0]) == "Fallible[u32, Full | Gone]"
    assert result_text(SCHEMA.methods[1]) == "Tree"


def test_classes_of_one_name_are_told_apart() -> None:
    def local(type: Any) -> Any:
        return msgspec.defstruct("Same", [("a", type)])

    one, other = local(u8), local(u16)
    method = method_descriptor("Any", "do", {"a": one, "b": other, "c": one}, None)
    schema = ServiceDescriptor("Any", (method,), "").schema
    assert [each.name for each in schema.types] == ["Same", "Same #2"]
    assert [each.type for each in schema.methods[0].args] == [
        NamedType("Same"),
        NamedType("Same #2"),
        NamedType("Same"),
    ]


def test_names_of_local_classes_have_no_place_of_definition() -> None:
    class Local(msgspec.Struct):
        a: u8

    method = method_descriptor("Any", "do", {"a": list[Local]}, None)
    schema = ServiceDescriptor("Any", (method,), "").schema
    assert [each.name for each in schema.types] == ["Local"]


class Odd(msgspec.Struct):
    none: u8 = None  # type: ignore[assignment]
    long: str = "x" * 2000
    other: u8 | None = 300
    color: Color | None = Color.RED
    data: bytes = b"\xff"
    ratio: float = 1
    sure: bool = True


@attrs.define
class OddAttrs:
    a: u8
    b: u8 = attrs.Factory(lambda self: self.a, takes_self=True)
    c: list[u8] = attrs.Factory(list)
    d: str = attrs.field(default="d", alias="dd")


def test_a_default_that_cannot_be_told_is_computed() -> None:
    method = method_descriptor("Any", "do", {"a": Odd, "b": OddAttrs}, None)
    odd, _, odd_attrs = ServiceDescriptor("Any", (method,), "").schema.types
    assert isinstance(odd, StructSchema)
    assert isinstance(odd_attrs, StructSchema)
    found = [(each.name, each.default, each.computed) for each in odd.fields]
    assert found == [
        ("none", msgspec.UNSET, True),
        ("long", msgspec.UNSET, True),
        ("other", msgspec.UNSET, True),
        ("color", "red", False),
        ("data", "/w==", False),
        ("ratio", 1.0, False),
        ("sure", True, False),
    ]
    assert [(each.name, each.default, each.computed) for each in odd_attrs.fields] == [
        ("a", msgspec.UNSET, False),
        ("b", msgspec.UNSET, True),
        ("c", [], False),
        ("dd", "d", False),
    ]


@pytest.mark.parametrize("items", [(0, 8, 16), (16, 8, 0)])
def test_the_default_of_a_set_is_told_in_the_same_order_in_each_process(
    items: tuple[int, ...],
) -> None:
    # Equal sets whose items come in another order, as texts do in each process.
    class Tagged(msgspec.Struct):
        tags: frozenset[u8] = frozenset(items)

    assert [*frozenset(items)] == [*items]
    method = method_descriptor("Any", "do", {"a": Tagged}, None)
    (tagged,) = ServiceDescriptor("Any", (method,), "").schema.types
    assert isinstance(tagged, StructSchema)
    assert tagged.fields[0].default == [0, 16, 8]


# ---------------------------------------------------------------- fingerprints


def changed(change: Callable[[dict[str, Any]], Any]) -> ServiceSchema:
    """Return the schema with a change of its JSON."""
    found = json.loads(SCHEMA.to_json())
    change(found)
    return schema_from_json(json.dumps(found))


def rename_color(schema: dict[str, Any]) -> None:
    schema.update(json.loads(json.dumps(schema).replace('"Color"', '"Colour"')))


SAME: dict[str, Callable[[dict[str, Any]], Any]] = {
    "docs": lambda schema: schema["methods"][0].update(doc="Other"),
    "docs of types": lambda schema: schema["types"][0].update(doc="Other"),
    "docs of the service": lambda schema: schema.update(doc="Other"),
    "order of methods": lambda schema: schema["methods"].reverse(),
    "order of types": lambda schema: schema["types"].reverse(),
    "names of types": rename_color,
    "keywords": lambda schema: schema["methods"][0]["args"][2].pop("keyword_only"),
    "names in tuples": lambda schema: schema["types"][5]["fields"][0].update(name="z"),
}
OTHER: dict[str, Callable[[dict[str, Any]], Any]] = {
    "id": lambda schema: schema["methods"][0].update(id=1),
    "name": lambda schema: schema["methods"][0].update(name="puts"),
    "argument": lambda schema: schema["methods"][0]["args"][0].update(name="a"),
    "type": lambda schema: schema["methods"][3]["args"][2].update(type="bytes"),
    "error": lambda schema: schema["methods"][0].pop("fails"),
    "inside of the error": lambda schema: schema["types"][3]["variants"].reverse(),
    "result": lambda schema: schema["methods"][0].update(returns="u64"),
    "credit": lambda schema: schema["methods"][2]["args"][0]["type"].update(credit=1),
    "default": lambda schema: schema["types"][1]["fields"][1].update(default=8),
    "no default": lambda schema: schema["types"][1]["fields"][1].pop("default"),
    "field": lambda schema: schema["types"][1]["fields"].pop(),
    "tuple": lambda schema: schema["types"][5].pop("tuple_like"),
    "method": lambda schema: schema["methods"].pop(),
}


@pytest.mark.parametrize("what", SAME)
def test_a_fingerprint_does_not_depend_on(what: str) -> None:
    assert fingerprint(changed(SAME[what])) == fingerprint(SCHEMA)


@pytest.mark.parametrize("what", OTHER)
def test_a_fingerprint_depends_on(what: str) -> None:
    assert fingerprint(changed(OTHER[what])) != fingerprint(SCHEMA)
    assert len(fingerprint(SCHEMA)) == 16


# ---------------------------------------------------------------- hostile peers


def first_arg(schema: dict[str, Any]) -> dict[str, Any]:
    arg: dict[str, Any] = schema["methods"][0]["args"][0]
    return arg


def nested(depth: int) -> Any:
    type: Any = "u8"
    for _ in range(depth):
        type = {"is": "option", "item": type}
    return type


HOSTILE: dict[str, Callable[[dict[str, Any]], Any]] = {
    r"a name has no control characters, got \\x1b\[2J": lambda schema: schema[
        "methods"
    ][0].update(name="\x1b[2J"),
    "shop.put.page: there is no type 'Nobody'": lambda schema: first_arg(schema).update(
        type={"is": "type", "name": "Nobody"}
    ),
    "a name has 1 to 256 characters, got 0": lambda schema: schema.update(name=""),
    "a name has 1 to 256 characters, got 257": lambda schema: schema.update(
        name="x" * 257
    ),
    "a name has 0 to 256 characters, got 300": lambda schema: schema["types"][2][
        "variants"
    ][0].update(name="x" * 300),
    "two methods are 'put'": lambda schema: schema["methods"].append(
        schema["methods"][0]
    ),
    "two ids are 7": lambda schema: [
        each.update(id=7) for each in schema["methods"][:2]
    ],
    "two types are 'Spot'": lambda schema: schema["types"].append(schema["types"][1]),
    "two fields are 'x'": lambda schema: schema["types"][1]["fields"].append(
        {"name": "x", "type": "u8"}
    ),
    "two variants are 'red'": lambda schema: schema["types"][2]["variants"].append(
        {"name": "red"}
    ),
    "an id has 64 bits, got -1": lambda schema: schema["methods"][0].update(id=-1),
    "an id has 64 bits, got 18446744073709551616": lambda schema: schema["methods"][
        0
    ].update(id=1 << 64),
    "a length has 64 bits": lambda schema: first_arg(schema).update(
        type={"is": "array", "item": "u8", "length": -1}
    ),
    "the credit has 32 bits": lambda schema: schema["methods"][2]["args"][0][
        "type"
    ].update(credit=1 << 32),
    "a channel can only be in an argument": lambda schema: schema["methods"][0].update(
        returns={"is": "channel", "direction": "tx", "item": "u8", "credit": 1}
    ),
    "an enum has at least one variant": lambda schema: schema["types"][2].update(
        variants=[]
    ),
    "types are nested more than 64 deep": lambda schema: first_arg(schema).update(
        type=nested(66)
    ),
    "no quotes or backslashes": lambda schema: schema["types"][1]["fields"][0].update(
        name='a"b'
    ),
    "expected at most 4096 methods, got 4097": lambda schema: schema.update(
        methods=[{"name": f"m{index}", "id": index} for index in range(4097)]
    ),
    "expected at most 4096 types, got 4097": lambda schema: schema.update(
        types=[{"is": "struct", "name": f"T{index}"} for index in range(4097)]
    ),
    "expected at most 4096 fields, got 4097": lambda schema: schema["types"][1].update(
        fields=[{"name": f"f{index}", "type": "u8"} for index in range(4097)]
    ),
    "expected at most 4096 variants, got 4097": lambda schema: schema["types"][
        2
    ].update(variants=[{"name": f"f{index}"} for index in range(4097)]),
    "expected a schema in JSON": lambda schema: schema.update(methods=3),
    "Invalid enum value 'u7'": lambda schema: first_arg(schema).update(type="u7"),
    "Invalid value 'heap'": lambda schema: first_arg(schema).update(
        type={"is": "heap", "item": "u8"}
    ),
}


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_schema_is_refused_with_its_place(text: str) -> None:
    with pytest.raises(SchemaError, match=text) as caught:
        changed(HOSTILE[text])
    assert str(caught.value).isprintable()


BROKEN = {
    "not JSON": b"{",
    "not UTF-8": b"\xff\xfe",
    "a number that is none": b'{"name": NaN}',
    "too deep": b"[" * 100_000,
    "a long number": b'{"name": "x", "methods": [' + b"9" * 10_000 + b"]}",
    "a type that is too deep": (
        b'{"name": "x", "methods": [{"name": "y", "id": 1, "returns": '
        + b'{"is": "option", "item": ' * 900
        + b'"u8"'
        + b"}" * 900
        + b"}]}"
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_broken_json_is_refused(what: str) -> None:
    with pytest.raises(SchemaError, match=r"^schema: |nested"):
        schema_from_json(BROKEN[what])


def test_long_json_is_refused_unread() -> None:
    with pytest.raises(SchemaError, match=r"longer than most_bytes \(10\)"):
        schema_from_json(SCHEMA.to_json(), most_bytes=10)


def test_control_characters_in_docs_become_escapes() -> None:
    doc = "One\ttwo\r\n\x1b[31mred\x1b[0m\u202e\x07"
    safe = "One    two\\r\n\\x1b[31mred\\x1b[0m\\u202e\\x07"

    def put(schema: dict[str, Any]) -> None:
        schema.update(doc=doc)
        schema["methods"][0].update(doc=doc)
        schema["types"][0].update(doc=doc)
        schema["types"][3]["variants"][0].update(doc=doc)

    found = changed(put)
    enum = found.types[3]
    assert isinstance(enum, EnumSchema)
    docs = [found.doc, found.methods[0].doc, found.types[0].doc, enum.variants[0].doc]
    assert docs == [safe] * 4


def test_bytes_that_inflate_to_too_much_are_refused_at_the_bound() -> None:
    bomb = zlib.compress(b" " * 10_000_000)
    with pytest.raises(SchemaError, match="inflates to more than most_bytes"):
        schema_from_wire(bomb)


WRONG_BYTES = {
    "deflated JSON": b"no deflated stream",
    "one deflated stream": schema_to_wire(SCHEMA)[:-1],
    "one deflated stream, got a part of one, or more": schema_to_wire(SCHEMA) + b"x",
    "at most 65536 bytes, got 65537": bytes(65537),
}


@pytest.mark.parametrize("text", WRONG_BYTES)
def test_wrong_bytes_are_refused(text: str) -> None:
    with pytest.raises(SchemaError, match=text):
        schema_from_wire(WRONG_BYTES[text])


@given(st.binary(max_size=200))
def test_any_bytes_are_a_schema_or_refused(data: bytes) -> None:
    for read in (schema_from_wire, schema_from_json):
        with pytest.raises(SchemaError):
            read(data)


@given(st.data())
def test_a_schema_with_any_change_of_its_json_is_read_or_refused(
    data: st.DataObject,
) -> None:
    found = json.loads(SCHEMA.to_json())
    place: Any = found
    while True:
        keys = [*place] if isinstance(place, dict) else [*range(len(place))]
        key = data.draw(st.sampled_from(keys))
        if not place[key] or not isinstance(place[key], dict | list):
            break
        if data.draw(st.booleans()):
            break
        place = place[key]
    place[key] = data.draw(
        st.none() | st.integers() | st.text() | st.lists(st.none()) | st.just({})
    )
    try:
        schema = schema_from_json(json.dumps(found))
    except SchemaError:
        return
    assert schema_from_json(schema.to_json()) == schema


def test_a_schema_too_long_for_metadata_is_for_reflection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(encoding, "MOST_DEFLATED", 100)
    with pytest.raises(SchemaError, match="has to be fetched by reflection"):
        schema_to_wire(SCHEMA)


def test_the_page_shows_a_schema_that_can_be_read() -> None:
    root = Path(__file__).parents[3]
    page = (root / "docs" / "descriptions.md").read_text("utf-8")
    example = page.split("```json\n")[1].split("```")[0]
    assert schema_from_json(example).to_json() + "\n" == example
