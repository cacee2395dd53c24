"""Descriptors made of schemas have the same ids, and the same bytes, plainly."""

from __future__ import annotations

import enum
import json
import math
import uuid
from typing import Annotated, Any, Protocol

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roam_trio import (
    EncodeError,
    Length,
    Rx,
    SchemaError,
    ServiceDescriptor,
    Slice,
    Tx,
    UserError,
    describe,
    f32,
    i32,
    service,
    transparent,
    u8,
    u16,
    u32,
    u128,
)
from roam_trio.codec import rpc_plan
from roam_trio.codec.interpret import interpret_decode, interpret_encode
from roam_trio.codec.plan import ChannelPlan
from roam_trio.service.description import rebuilding
from roam_trio.service.description.encoding import schema_from_json
from roam_trio.service.description.model import (
    ArgSchema,
    EnumSchema,
    FieldSchema,
    MethodSchema,
    NamedType,
    OptionType,
    ServiceSchema,
    StructSchema,
    TypeSchema,
    VariantSchema,
)
from roam_trio.service.description.plain_values import plain_shape
from roam_trio.service.description.rebuilding import descriptor_of
from roam_trio.service.descriptor import method_descriptor
from tests.schema.strategies import Spec, specs
from tests.service.services import Store
from tests.service.services import Testbed as Bed


def told(descriptor: ServiceDescriptor) -> ServiceDescriptor:
    """Return the descriptor that a peer makes of another's."""
    return descriptor_of(schema_from_json(descriptor.schema.to_json()))


def of_types(name: str, **args: Any) -> ServiceDescriptor:
    """Return the descriptor of a service with one method of these arguments."""
    return ServiceDescriptor(name, (method_descriptor(name, "do", args, None),), "")


@pytest.mark.parametrize("cls", [Bed, Store])
def test_a_descriptor_of_a_schema_has_the_same_ids(cls: Any) -> None:
    ours, theirs = describe(cls), told(describe(cls))
    assert [(each.name, each.id) for each in theirs.methods] == [
        (each.name, each.id) for each in ours.methods
    ]
    assert theirs.schema == ours.schema
    assert theirs.doc == ours.doc


@settings(deadline=None)
@given(specs(), st.data())
def test_plain_values_of_every_type_have_the_bytes_of_typed_ones(
    spec: Spec, data: st.DataObject
) -> None:
    ours = of_types("Any", value=spec.annotation)
    (method,) = told(ours).methods
    assert method.id == ours.methods[0].id
    encoded = b"".join(rpc_plan(spec.annotation).encode(data.draw(spec.values)))
    plain = method.args_plan.decode(encoded)
    assert b"".join(method.args_plan.encode(plain)) == encoded


@settings(deadline=None)
@given(specs(), st.data())
def test_values_in_json_have_the_bytes_of_typed_ones(
    spec: Spec, data: st.DataObject
) -> None:
    plan = rpc_plan(spec.annotation)
    encoded = b"".join(plan.encode(data.draw(spec.values)))
    shape = plain_shape(plan.shape, for_json=True)
    # Integers of more than 64 bits are JSON, but msgspec refuses them.
    value = through_json(interpret_decode(shape, encoded))
    assert interpret_encode(shape, value) == encoded


def through_json(value: Any) -> Any:
    return json.loads(json.dumps(value, allow_nan=False))


class Side(enum.Enum):
    LEFT = "left"
    RIGHT = "right"


class Circle(msgspec.Struct, frozen=True):
    radius: i32


class Square(msgspec.Struct, frozen=True, array_like=True):
    left: i32
    top: i32


@transparent
class Label(msgspec.Struct, frozen=True):
    text: str


class Nothing(msgspec.Struct, frozen=True):
    pass


class Node(msgspec.Struct, frozen=True):
    name: str
    next: Node | None = None
    side: Side = Side.LEFT
    count: u16 = 3
    data: bytes = b"\x01"
    tags: list[str] = []


@transparent
class Maybe(msgspec.Struct, frozen=True):
    value: u8 | None


PLAIN: list[tuple[Any, Any, Any]] = [
    (u32, 3, 3),
    (bool, True, True),
    (str, "ä", "ä"),
    (bytes, b"\xff", b"\xff"),
    (Annotated[bytes, Slice()], b"\xff", b"\xff"),
    (None, None, None),
    (u8 | None, None, None),
    (Maybe | None, Maybe(None), []),
    (Maybe | None, Maybe(3), [3]),
    (Maybe | None, None, None),
    (list[u8], [1, 2], [1, 2]),
    (Annotated[list[u8], Length(2)], [1, 2], b"\1\2"),
    (Annotated[list[u16], Length(2)], [1, 2], [1, 2]),
    (set[u16], {7}, [7]),
    (dict[str, u8], {"a": 1}, {"a": 1}),
    (dict[u16, u8], {2: 1}, {2: 1}),
    (dict[Side, u8], {Side.RIGHT: 1}, {"right": 1}),
    (dict[Circle, u8], {Circle(5): 1}, [[{"radius": 5}, 1]]),
    (tuple[u8, str], (1, "a"), [1, "a"]),
    (Side, Side.RIGHT, "right"),
    (Circle, Circle(3), {"radius": 3}),
    (Square, Square(3, 4), [3, 4]),
    (Nothing, Nothing(), {}),
    (Label, Label("a"), "a"),
    (Circle | Square, Circle(3), {"Circle": {"radius": 3}}),
    (Circle | Square, Square(3, 4), {"Square": [3, 4]}),
    (Circle | Label, Label("a"), {"Label": "a"}),
    (Circle | Nothing, Nothing(), "Nothing"),
    (uuid.UUID, uuid.UUID(int=1), bytes(15) + b"\1"),
]


@pytest.mark.parametrize(("annotation", "value", "plain"), PLAIN)
def test_plain_values_are_dicts_lists_and_scalars(
    annotation: Any, value: Any, plain: Any
) -> None:
    encoded = b"".join(rpc_plan(annotation).encode(value))
    (method,) = told(of_types("Any", value=annotation)).methods
    assert method.args_plan.decode(encoded) == (plain,)
    assert b"".join(method.args_plan.encode((plain,))) == encoded


IN_JSON: list[tuple[Any, Any, Any]] = [
    (bytes, b"\xff", "/w=="),
    (uuid.UUID, uuid.UUID(int=1), "AAAAAAAAAAAAAAAAAAAAAQ=="),
    (float, math.inf, "Infinity"),
    (float, -math.inf, "-Infinity"),
    (f32, math.nan, "NaN"),
    (float, 0.5, 0.5),
    (u128, 2**100, 2**100),
    (dict[u16, u8], {2: 1}, [[2, 1]]),
]


@pytest.mark.parametrize(("annotation", "value", "plain"), IN_JSON)
def test_values_in_json_are_texts_where_json_has_no_value(
    annotation: Any, value: Any, plain: Any
) -> None:
    plan = rpc_plan(annotation)
    encoded = b"".join(plan.encode(value))
    shape = plain_shape(plan.shape, for_json=True)
    assert interpret_decode(shape, encoded) == plain
    assert interpret_encode(shape, plain) == encoded


def test_a_whole_number_in_json_is_a_float_where_one_is_expected() -> None:
    shape = plain_shape(rpc_plan(float).shape, for_json=True)
    assert interpret_decode(shape, interpret_encode(shape, 3)) == 3.0


WRONG: list[tuple[Any, Any, str]] = [
    (Circle, 3, "expected a dict with radius, got 3"),
    (Circle, {}, "expected radius as well"),
    (Nothing, {"a": 1}, "expected no a: the fields are no fields"),
    (Circle, {"radius": "a"}, r"expected i32 .*, got 'a' .* at \$\.value\.radius"),
    (Side, "up", "expected one of left, right, got 'up'"),
    (Side, 3, "expected one of left, right, got 3"),
    (Circle | Square, {"Oval": 1}, "expected one of Circle, Square, got 'Oval'"),
    (Circle | Square, "Circle", "expected the data of Circle as well"),
    (Square, [1], "expected a list of 2, got list"),
    (Maybe | None, [1, 2], "expected a list of no item or of one, got list"),
    (tuple[u8, u8], None, "expected a list of 2, got None"),
]


@pytest.mark.parametrize(("annotation", "value", "text"), WRONG)
def test_a_wrong_plain_value_is_refused_with_its_place(
    annotation: Any, value: Any, text: str
) -> None:
    (method,) = told(of_types("Any", value=annotation)).methods
    with pytest.raises(EncodeError, match=text):
        method.args_plan.encode((value,))


WRONG_IN_JSON: list[tuple[Any, Any, str]] = [
    (bytes, 3, "expected text in base64, got 3"),
    (bytes, "ä", "expected text in base64"),
    (float, "one", "expected a number, NaN, Infinity or -Infinity, got 'one'"),
    (float, True, "expected a number, got True"),
]


@pytest.mark.parametrize(("annotation", "value", "text"), WRONG_IN_JSON)
def test_a_wrong_value_in_json_is_refused(
    annotation: Any, value: Any, text: str
) -> None:
    shape = plain_shape(rpc_plan(annotation).shape, for_json=True)
    with pytest.raises(EncodeError, match=text):
        interpret_encode(shape, value)


def test_fields_with_defaults_may_be_left_out() -> None:
    (method,) = told(of_types("Any", node=Node)).methods
    encoded = b"".join(method.args_plan.encode(({"name": "a"},)))
    assert encoded == b"".join(rpc_plan(Node).encode(Node("a")))
    (plain,) = method.args_plan.decode(encoded)
    assert plain == {
        "name": "a",
        "next": None,
        "side": "left",
        "count": 3,
        "data": b"\1",
        "tags": [],
    }


THREE = Circle(3)


@service
class Defaults(Protocol):
    async def mark(
        self, text: str, side: Side = Side.RIGHT, *, data: bytes = b""
    ) -> None: ...
    async def either(self, shape: Circle | Square = THREE) -> None: ...


def test_arguments_have_their_defaults_as_plain_values() -> None:
    mark, either = told(describe(Defaults)).methods
    bound = mark.signature.bind(text="a")
    bound.apply_defaults()
    assert bound.kwargs == {"text": "a", "side": "right", "data": b""}
    assert either.signature.parameters["shape"].default == {"Circle": {"radius": 3}}


@service
class Streams(Protocol):
    async def draw(self, shapes: Rx[Circle | Square], names: Tx[str]) -> None: ...


def test_items_of_channels_are_plain() -> None:
    (method,) = told(describe(Streams)).methods
    items = [ChannelPlan.of(each.channel).items for each in method.args_plan.channels]
    encoded = b"".join(rpc_plan(Circle | Square).encode(Circle(3)))
    assert items[0].decode(encoded) == {"Circle": {"radius": 3}}
    assert b"".join(items[0].encode({"Circle": {"radius": 3}})) == encoded
    assert items[1].decode(b"\1a") == "a"


def test_declared_errors_are_plain_values_of_a_user_error() -> None:
    by_union = told(describe(Store)).methods[3]
    assert by_union.result_plan.error is not None
    assert by_union.result_plan.exceptions == ()
    encoded = by_union.result_plan.encode_user_error({"NotFound": {"key": "k"}})
    outcome = by_union.result_plan.decode(b"".join(encoded))
    assert outcome.value == {"NotFound": {"key": "k"}}
    assert issubclass(UserError, Exception)


def schema_of(type: Any, *types: Any, default: Any = msgspec.UNSET) -> ServiceSchema:
    arg = ArgSchema("value", type, default)
    return ServiceSchema("Any", (MethodSchema("do", 0, (arg,)),), types)


def id_of(schema: ServiceSchema) -> int:
    """Return the id that the types of the only method give."""
    with pytest.raises(SchemaError, match="one of the two is wrong") as caught:
        descriptor_of(schema)
    return int(caught.value.problem.split("give the id ")[1].split(",")[0], 16)


def with_its_id(schema: ServiceSchema) -> ServiceSchema:
    method = msgspec.structs.replace(schema.methods[0], id=id_of(schema))
    return msgspec.structs.replace(schema, methods=(method,))


ONE_VARIANT = EnumSchema("One", (VariantSchema("A", (FieldSchema("a", "u8"),)),))


@pytest.mark.parametrize(
    ("type", "types", "value", "encoded"),
    [
        (NamedType("One"), (ONE_VARIANT,), {"A": {"a": 3}}, b"\0\3"),
        (OptionType(NamedType("One")), (ONE_VARIANT,), {"A": {"a": 3}}, b"\1\0\3"),
        (OptionType(OptionType("u8")), (), [4], b"\1\1\4"),
        (OptionType("unit"), (), [], b"\1"),
        (OptionType("unit"), (), None, b"\0"),
    ],
)
def test_types_that_only_rust_can_write_have_plain_values(
    type: Any, types: Any, value: Any, encoded: bytes
) -> None:
    (method,) = descriptor_of(with_its_id(schema_of(type, *types))).methods
    assert b"".join(method.args_plan.encode((value,))) == encoded
    assert method.args_plan.decode(encoded) == (value,)


def test_a_schema_whose_id_is_not_that_of_its_types_is_refused() -> None:
    schema = describe(Bed).schema
    other = msgspec.structs.replace(schema.methods[0], returns="u32")
    with pytest.raises(SchemaError, match=r"Testbed\.echo: its types give the id 0x"):
        descriptor_of(msgspec.structs.replace(schema, methods=(other,)))


HOSTILE_NAMES = [
    "import os",
    "__class__",
    "None",
    "a\u0301",
    "\uff21",
    "x; raise SystemExit",
    "{0}",
    "f0",
    "x_f0",
    "x f0",
    "x-f0",
]


def test_names_that_python_does_not_allow_do_no_harm() -> None:
    fields = tuple(FieldSchema(name, "u8") for name in HOSTILE_NAMES)
    variants = tuple(
        VariantSchema(name, (FieldSchema("a", "u8"),)) for name in HOSTILE_NAMES
    )
    names = [f"T{name}" for name in HOSTILE_NAMES]
    types: list[TypeSchema] = [
        *(StructSchema(name, fields) for name in names),
        EnumSchema("__init__", variants),
        EnumSchema("E", tuple(map(VariantSchema, HOSTILE_NAMES))),
    ]
    args = (
        *(ArgSchema(name, NamedType(f"T{name}")) for name in HOSTILE_NAMES),
        ArgSchema("e", NamedType("__init__")),
        ArgSchema("f", NamedType("E")),
    )
    schema = with_its_id(
        ServiceSchema("Any", (MethodSchema("do", 0, args),), tuple(types))
    )
    (method,) = descriptor_of(schema_from_json(schema.to_json())).methods
    record = {name: index for index, name in enumerate(HOSTILE_NAMES)}
    value = (*[record] * len(names), {"__class__": {"a": 1}}, "import os")
    encoded = b"".join(method.args_plan.encode(value))
    assert encoded == bytes(range(11)) * 11 + b"\1\1\0"
    assert method.args_plan.decode(encoded) == value


@pytest.mark.parametrize("default", ["a", 256, None, {"a": 1}])
def test_a_default_of_another_type_is_refused(default: Any) -> None:
    schema = with_its_id(schema_of("u8"))
    arg = ArgSchema("value", "u8", default)
    method = msgspec.structs.replace(schema.methods[0], args=(arg,))
    with pytest.raises(SchemaError, match=r"Any.do\(value\): its default has another"):
        descriptor_of(msgspec.structs.replace(schema, methods=(method,)))


def test_a_field_with_a_default_of_another_type_is_refused() -> None:
    point = StructSchema("Point", (FieldSchema("x", "u8", "a"),))
    schema = schema_of(NamedType("Point"), point)
    good = StructSchema("Point", (FieldSchema("x", "u8"),))
    method = with_its_id(schema_of(NamedType("Point"), good)).methods
    with pytest.raises(SchemaError, match="x: its default has another type"):
        descriptor_of(msgspec.structs.replace(schema, methods=method))


def test_types_that_contain_themselves_without_end_are_refused() -> None:
    endless = StructSchema("A", (FieldSchema("a", NamedType("A")),))
    with pytest.raises(SchemaError, match="values would be infinite"):
        descriptor_of(schema_of(NamedType("A"), endless))


def test_signatures_are_bounded_for_all_methods_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rebuilding, "MOST_SIGNATURES", 5)
    with pytest.raises(SchemaError, match="more than 5 bytes"):
        descriptor_of(describe(Store).schema)


class Up(msgspec.Struct, frozen=True):
    pass


class Down(msgspec.Struct, frozen=True):
    pass


@pytest.mark.parametrize("annotation", [Side, Up | Down])
def test_a_map_by_names_of_variants_is_an_object(annotation: Any) -> None:
    plan = rpc_plan(dict[annotation, u8])
    name = "left" if annotation is Side else "Down"
    shape = plain_shape(plan.shape, for_json=True)
    encoded = interpret_encode(shape, {name: 3})
    assert interpret_decode(shape, encoded) == {name: 3}
    told_plan = told(of_types("Any", value=dict[annotation, u8])).methods[0].args_plan
    assert b"".join(told_plan.encode(({name: 3},))) == encoded
