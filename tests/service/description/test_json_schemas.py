"""JSON schemas accept the plain values of JSON that the codec accepts."""

from __future__ import annotations

import enum
import json
from typing import Annotated, Any, Protocol

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from roam_trio import Length, Rx, SchemaError, char, describe, i8, service, u8, u32, u64
from roam_trio.codec import rpc_plan
from roam_trio.codec.interpret import interpret_decode
from roam_trio.service.description.json_schema import MOST_TYPES, JsonSchemas
from roam_trio.service.description.model import (
    ArgSchema,
    FieldSchema,
    NamedType,
    OptionType,
    ServiceSchema,
    StructSchema,
)
from roam_trio.service.description.plain_values import plain_shape
from roam_trio.service.descriptor import ServiceDescriptor, method_descriptor
from tests.schema.strategies import Spec, specs


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Circle(msgspec.Struct, frozen=True):
    """It is round."""

    radius: u8
    color: Color = Color.RED


class Empty(msgspec.Struct, frozen=True):
    pass


class Pair(msgspec.Struct, frozen=True, array_like=True):
    left: i8
    right: i8


class Node(msgspec.Struct, frozen=True):
    below: list[Node]


@service
class Draws(Protocol):
    async def draw(
        self,
        shape: Circle | Empty | Pair,
        by_color: dict[Color, u8],
        by_number: dict[u8, str],
        *,
        scale: float = 1.5,
    ) -> None: ...
    async def small(
        self, key: Annotated[bytes, Length(4)], letter: char, far: u64, both: Pair
    ) -> None: ...
    async def tree(self, root: Node, maybe: u8 | None) -> None: ...
    async def sum(self, numbers: Rx[i8], start: tuple[()]) -> u32: ...


def schema_of(described: ServiceSchema, method: str) -> dict[str, Any]:
    (found,) = (each for each in described.methods if each.name == method)
    members = {each.name: each for each in found.args}
    return JsonSchemas(described).of_members(members)


def accepts(schema: dict[str, Any], value: Any) -> bool:
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema).is_valid(value)


@pytest.mark.slow
@settings(deadline=None)
@given(specs(), st.data())
def test_the_schema_of_every_type_accepts_its_values(
    spec: Spec, data: st.DataObject
) -> None:
    plan = rpc_plan(spec.annotation)
    encoded = b"".join(plan.encode(data.draw(spec.values)))
    value = interpret_decode(plain_shape(plan.shape, for_json=True), encoded)
    method = method_descriptor("Any", "do", {"value": spec.annotation}, None)
    described = ServiceDescriptor("Any", (method,), "").schema
    assert accepts(schema_of(described, "do"), json.loads(json.dumps({"value": value})))


DRAWN: dict[str, Any] = {"by_color": {}, "by_number": []}


@pytest.mark.parametrize(
    ("method", "args", "is_right"),
    [
        ("draw", {"shape": "Empty", **DRAWN}, True),
        ("draw", {"shape": {"Circle": {"radius": 255}}, **DRAWN}, True),
        ("draw", {"shape": {"Circle": {"radius": 256}}, **DRAWN}, False),
        ("draw", {"shape": {"Circle": {"radius": -1}}, **DRAWN}, False),
        ("draw", {"shape": {"Circle": {"radius": 1.5}}, **DRAWN}, False),
        ("draw", {"shape": {"Circle": {"color": "red"}}, **DRAWN}, False),
        ("draw", {"shape": {"Circle": {"radius": 1, "color": "x"}}, **DRAWN}, False),
        ("draw", {"shape": {"Circle": {"radius": 1, "more": 1}}, **DRAWN}, False),
        ("draw", {"shape": {"Pair": [1, -128]}, **DRAWN}, True),
        ("draw", {"shape": {"Pair": [1]}, **DRAWN}, False),
        ("draw", {"shape": {"Square": {}}, **DRAWN}, False),
        ("draw", {"shape": "Empty", **DRAWN, "scale": "NaN"}, True),
        ("draw", {"shape": "Empty", **DRAWN, "scale": "nan"}, False),
        ("draw", {"shape": "Empty", **DRAWN, "by_color": {"blue": 1}}, True),
        ("draw", {"shape": "Empty", **DRAWN, "by_color": {"green": 1}}, False),
        ("draw", {"shape": "Empty", **DRAWN, "by_number": [[1, "a"]]}, True),
        ("draw", {"shape": "Empty", **DRAWN, "by_number": [["a", 1]]}, False),
        ("draw", {"shape": "Empty"}, False),
        (
            "small",
            {"key": "AAAAAA==", "letter": "é", "far": 2**64 - 1, "both": [0, 0]},
            True,
        ),
        (
            "small",
            {"key": "AAAA", "letter": "é", "far": 0, "both": [0, 0]},
            False,
        ),
        (
            "small",
            {"key": "AAAAAA==", "letter": "ab", "far": 0, "both": [0, 0]},
            False,
        ),
        (
            "small",
            {"key": "AAAAAA==", "letter": "a", "far": 2**64, "both": [0, 0]},
            False,
        ),
        ("tree", {"root": {"below": [{"below": []}]}, "maybe": None}, True),
        ("tree", {"root": {"below": [1]}, "maybe": 1}, False),
        ("sum", {"numbers": [1, 2], "start": []}, True),
        ("sum", {"numbers": [1, 200], "start": []}, False),
        ("sum", {"numbers": [1], "start": [1]}, False),
    ],
)
def test_ranges_and_names_are_checked(
    method: str, args: dict[str, Any], is_right: bool
) -> None:
    assert accepts(schema_of(describe(Draws).schema, method), args) is is_right


def test_docs_and_defaults_are_told() -> None:
    schema = schema_of(describe(Draws).schema, "draw")
    assert schema["properties"]["scale"]["default"] == 1.5
    (shape,) = (each for each in schema["$defs"].values() if "anyOf" in each)
    (circle,) = (
        each["properties"]["Circle"]
        for each in shape["anyOf"]
        if "Circle" in each.get("properties", {})
    )
    assert circle["description"] == "It is round."
    color = circle["properties"]["color"]
    assert color == {"$ref": "#/$defs/Color", "default": "red"}


def test_an_option_within_an_option_is_a_list_of_at_most_one() -> None:
    described = ServiceSchema("Any")
    arg = ArgSchema("value", OptionType(OptionType("u8")))
    schema = JsonSchemas(described).of_members({"value": arg})
    assert accepts(schema, {"value": []})
    assert accepts(schema, {"value": [None]})
    assert not accepts(schema, {"value": [1, 2]})


def test_a_schema_of_too_many_types_is_refused() -> None:
    fields = tuple(FieldSchema(f"f{index}", "u8") for index in range(MOST_TYPES))
    described = ServiceSchema("Any", types=(StructSchema("Large", fields),))
    arg = ArgSchema("value", NamedType("Large"))
    with pytest.raises(SchemaError, match=r"more than MOST_TYPES \(2000\) types"):
        JsonSchemas(described).of_members({"value": arg})


def test_only_the_required_properties_must_be_there() -> None:
    schema = JsonSchemas(ServiceSchema("Any")).of_properties(
        {"result": "u8", "items": "str"}, ["items"]
    )
    assert accepts(schema, {"items": "a"})
    assert not accepts(schema, {"result": 1})
