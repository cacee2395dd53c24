"""Values of types that a peer has in another form, one kind of type at a time."""

from __future__ import annotations

import enum
import sys
import uuid
from typing import Annotated, Any

import attrs
import msgspec
import pytest

from roam_trio import (
    Array,
    DecodeError,
    EncodeError,
    IncompatibleService,
    Length,
    SchemaError,
    ServiceDescriptor,
    f32,
    f64,
    transparent,
    u8,
    u16,
    u32,
)
from roam_trio.codec.interpret import interpret_decode, interpret_encode
from roam_trio.schema.shape import Shape
from roam_trio.service import translation
from roam_trio.service.description import translating
from roam_trio.service.description.fingerprints import Layouts
from roam_trio.service.description.model import (
    ArgSchema,
    EnumSchema,
    FieldSchema,
    ListType,
    MethodSchema,
    NamedType,
    OptionType,
    ServiceSchema,
    StructSchema,
    VariantSchema,
)
from roam_trio.service.description.rebuilding import MethodMaker, descriptor_of
from roam_trio.service.descriptor import MethodDescriptor
from roam_trio.service.translation import translated_service

from .test_comparing import gives, record, shop, takes
from .test_comparing import method as method_of


def sent(mine: Any, theirs: Any) -> tuple[MethodDescriptor, MethodDescriptor]:
    """Return the method of a caller with one argument, and that of its callee."""
    callee = takes(theirs)
    return translated_service(takes(mine), callee.schema).methods[0], callee.methods[0]


def given_back(mine: Any, theirs: Any) -> tuple[MethodDescriptor, MethodDescriptor]:
    """Return the same for a result."""
    callee = gives(theirs)
    return translated_service(gives(mine), callee.schema).methods[0], callee.methods[0]


def to_callee(mine: Any, theirs: Any, value: Any) -> Any:
    caller, callee = sent(mine, theirs)
    encoded = b"".join(caller.args_plan.encode((value,)))
    assert interpret_encode(caller.args_plan.shape, (value,)) == encoded
    (received,) = callee.args_plan.decode(encoded)
    return received


def from_callee(mine: Any, theirs: Any, value: Any) -> Any:
    caller, callee = given_back(mine, theirs)
    encoded = b"".join(callee.result_plan.encode_ok(value))
    shape = caller.result_plan.ok.shape
    found = caller.result_plan.decode(encoded).value
    assert interpret_decode(shape, encoded, 1) == found
    return found


class Tree(msgspec.Struct, frozen=True):
    number: u8
    inner: tuple[Tree, ...] = ()


class Bush(msgspec.Struct, frozen=True):
    inner: tuple[Bush, ...]
    number: u8
    note: str = "told"


class Chain(msgspec.Struct, frozen=True):
    next: Chain | None = None


class Odd(msgspec.Struct, frozen=True):
    next: Even | None
    odd: bool = True


class Even(msgspec.Struct, frozen=True):
    even: str = ""
    next: Odd | None = None


TREE = Tree(1, (Tree(2), Tree(3, (Tree(4),))))
BUSH = Bush((Bush((), 2), Bush((Bush((), 4),), 3)), 1)


def test_types_within_themselves_are_translated_both_ways() -> None:
    assert to_callee(Tree, Bush, TREE) == BUSH
    assert from_callee(Tree, Bush, BUSH) == TREE
    assert to_callee(Chain, Odd, Chain(Chain(Chain()))) == Odd(Even("", Odd(None)))
    assert from_callee(Chain, Odd, Odd(Even("x", Odd(None)))) == Chain(Chain(Chain()))
    assert from_callee(Odd, Chain, Chain(Chain())) == Odd(Even("", None))


@transparent
class Name(msgspec.Struct, frozen=True):
    text: str


@transparent
@attrs.frozen
class Number:
    value: u8


User = record("User", ("id", uuid.UUID), ("name", Name))
UserOfTexts = record("User", ("name", str), ("id", uuid.UUID), ("age", u8, 7))


def test_transparent_and_registered_classes_are_translated_inside() -> None:
    id = uuid.UUID(int=5)
    assert to_callee(User, UserOfTexts, User(id, Name("a"))) == UserOfTexts("a", id)
    assert from_callee(User, UserOfTexts, UserOfTexts("a", id, 9)) == User(
        id, Name("a")
    )
    assert to_callee(Number, u32, Number(200)) == 200
    assert to_callee(Number, Number | None, Number(200)) == Number(200)


def test_a_type_in_two_places_is_translated_in_both() -> None:
    pair = tuple[User, User]  # type: ignore[valid-type]
    texts = tuple[UserOfTexts, UserOfTexts]  # type: ignore[valid-type]
    one, two = (User(uuid.UUID(int=n), Name(str(n))) for n in (1, 2))
    received = to_callee(pair, texts, (one, two))
    assert [each.name for each in received] == ["1", "2"]
    assert from_callee(pair, texts, received) == (one, two)


Three = Annotated[bytes, Length(3)]


@pytest.mark.parametrize(
    ("mine", "theirs", "value", "expected"),
    [
        (bytes, list[u16], b"\x01\xff", [1, 255]),
        (bytes, list[u8 | None], b"\x01", [1]),
        (memoryview, list[u16], memoryview(b"\x01"), [1]),
        (Three, list[u16], b"\x01\x02\xff", [1, 2, 255]),
        (Three, bytes, b"abc", b"abc"),
        (Three, Array[u16, 3], b"\x01\x02\xff", [1, 2, 255]),
        (Array[u16, 2], list[u32], [1, 70], [1, 70]),
        (Array[f32, 2], list[f32], [1.0, 2.0], [1.0, 2.0]),
        (list[u16], tuple[u32, ...], [1, 65535], (1, 65535)),
        (frozenset[u16], list[u32], frozenset((9,)), [9]),
        (dict[u8, u8], dict[u16, u32], {200: 3}, {200: 3}),
        (u8, u32, 255, 255),
        (f32, f64, 0.1, 0.10000000149011612),
    ],
)
def test_what_is_wider_is_written(
    mine: Any, theirs: Any, value: Any, expected: Any
) -> None:
    assert to_callee(mine, theirs, value) == expected


@pytest.mark.parametrize(
    ("mine", "theirs", "value", "expected"),
    [
        (bytes, Three, b"abc", b"abc"),
        (list[u16], Three, b"\x01\x02\xff", [1, 2, 255]),
        (tuple[u32, ...], Array[u16, 2], [1, 2], (1, 2)),
        (list[u16], bytes, b"\x01\xff", [1, 255]),
        (list[u32], frozenset[u16], frozenset((9,)), [9]),
        (bytes, frozenset[u8], frozenset((9,)), b"\x09"),
        (u8 | None, u8, 3, 3),
        (Number | None, u8, 3, Number(3)),
        (f64, f32, 0.5, 0.5),
    ],
)
def test_what_is_narrower_is_read(
    mine: Any, theirs: Any, value: Any, expected: Any
) -> None:
    found = from_callee(mine, theirs, value)
    assert found == expected
    assert type(found) is type(expected)


def test_a_view_is_read_of_an_array() -> None:
    assert bytes(from_callee(memoryview, Three, b"abc")) == b"abc"


class Nothing(msgspec.Struct, frozen=True):
    value: None


transparent(Nothing)


def test_a_value_that_is_none_is_not_taken_for_a_missing_one() -> None:
    assert to_callee(None, Nothing | None, None) == Nothing(None)
    assert to_callee(Nothing, Nothing | None, Nothing(None)) == Nothing(None)


# ---------------------------------------------------------------- enums


class Colour(enum.Enum):
    RED = "Red"
    GREEN = "Green"


Red = record("Red", ("depth", u8, 3))
Green = record("Green")
Blue = record("Blue", ("depth", u8))


def test_an_enum_becomes_one_with_fields_that_have_defaults() -> None:
    theirs = Green | Blue | Red
    assert to_callee(Colour, theirs, Colour.RED) == Red(3)
    assert to_callee(Colour, theirs, Colour.GREEN) == Green()
    both = Green | Red
    assert from_callee(Colour, both, Red(9)) is Colour.RED
    assert from_callee(Colour, both, Green()) is Colour.GREEN
    assert from_callee(both, Colour, Colour.RED) == Red(3)
    assert to_callee(Green | record("Red"), both, Green()) == Green()


# ---------------------------------------------------------------- left out

Rest = record("Rest", ("trees", list[Tree]), ("text", str), ("maybe", u8 | None))
Short = record("Row", ("name", str))
Long = record(
    "Row",
    ("rest", Rest),
    ("before", Tree),
    ("name", str),
    ("numbers", list[u16]),
    ("score", float),
    ("kind", Colour),
)
LONG = Long(Rest([TREE], "é", 3), TREE, "a", [1, 300], 0.5, Colour.RED)


def test_all_that_is_left_out_is_skipped() -> None:
    assert from_callee(Short, Long, LONG) == Short("a")
    assert from_callee(list[Short], list[Long], [LONG, LONG]) == [Short("a")] * 2
    deep = tuple[list[Short], str]  # type: ignore[valid-type]
    assert from_callee(deep, tuple[list[Long], str], ([LONG], "b")) == (
        [Short("a")],
        "b",
    )


def test_a_part_that_is_left_out_must_be_right_as_well() -> None:
    caller, callee = given_back(Short, Long)
    encoded = b"".join(callee.result_plan.encode_ok(LONG))
    for size in range(1, len(encoded)):
        with pytest.raises(DecodeError):
            caller.result_plan.decode(encoded[:size])
    wrong = bytearray(encoded)
    wrong[-1] = 2
    with pytest.raises(DecodeError, match=r"expected a variant .* at \$\.kind"):
        caller.result_plan.decode(bytes(wrong))


# ---------------------------------------------------------------- wrong values


@pytest.mark.parametrize(
    ("mine", "theirs", "value", "problem"),
    [
        (u8, u32, 256, r"u8 was not unstructured: .*expected 0 to 255"),
        (u16, u32, 65536, r"expected u16 \(0 to 65535\), got 65536"),
        (u16, u16 | None, None, r"expected u16"),
        (Array[u16, 2], list[u16], [1], r"expected 2 items, got 1"),
        (Three, bytes, b"ab", r"expected 3 bytes, got 2"),
        (bytes, list[u16], "text", r"bytes was not unstructured"),
    ],
)
def test_values_are_checked_by_the_types_of_their_side(
    mine: Any, theirs: Any, value: Any, problem: str
) -> None:
    caller, _ = sent(mine, theirs)
    with pytest.raises(EncodeError, match=problem):
        caller.args_plan.encode((value,))


# ---------------------------------------------------------------- schemas of peers


def with_ids(service: ServiceDescriptor, schema: ServiceSchema) -> ServiceSchema:
    """Return a schema whose methods have the ids of a service."""
    methods = tuple(
        msgspec.structs.replace(each, id=method.id)
        for each, method in zip(schema.methods, service.methods, strict=True)
    )
    return msgspec.structs.replace(schema, methods=methods)


def test_a_default_of_another_type_is_refused() -> None:
    theirs = with_ids(
        shop(method_of(x=u8, y=u8)),
        ServiceSchema(
            "Shop",
            (
                MethodSchema(
                    "do", 1, (ArgSchema("x", "u8"), ArgSchema("y", "u8", default="no"))
                ),
            ),
        ),
    )
    with pytest.raises(IncompatibleService, match=r"do\(y\): its default has another"):
        translated_service(shop(method_of(x=u8)), theirs)


Named = record("Row", ("name", str))


def test_a_default_of_a_field_of_another_type_is_refused() -> None:
    age = FieldSchema("age", "u8", default="no")
    row = StructSchema("Row", (FieldSchema("name", "str"), age))
    arg = ArgSchema("value", NamedType("Row"))
    theirs = with_ids(
        takes(record("Row", ("name", str), ("age", u8))),
        ServiceSchema("Shop", (MethodSchema("do", 1, (arg,)),), (row,)),
    )
    with pytest.raises(IncompatibleService, match="age: its default has another type"):
        translated_service(takes(Named), theirs)


def test_a_schema_with_an_endless_type_is_refused() -> None:
    loop = StructSchema("Loop", (FieldSchema("loop", NamedType("Loop")),))
    row = StructSchema("Row", (FieldSchema("loop", NamedType("Loop")),))
    theirs = ServiceSchema(
        "Shop", (MethodSchema("do", 1, (), NamedType("Row")),), (loop, row)
    )
    with pytest.raises(IncompatibleService, match="contains itself"):
        translated_service(gives(record("Row")), theirs)


def test_a_few_bytes_cannot_become_many_objects() -> None:
    mine = record("Row", ("x", u8, 1))
    row = StructSchema("Row")
    theirs = ServiceSchema(
        "Shop",
        (MethodSchema("do", 1, (), ListType(ListType(NamedType("Row")))),),
        (row,),
    )
    with pytest.raises(IncompatibleService, match="items without bytes"):
        translated_service(gives(list[list[mine]]), theirs)


def unrolled(count: int) -> ServiceSchema:
    """Return the schema of a chain that has a type for each of its links."""
    types = [
        StructSchema(
            f"T{index}",
            (FieldSchema("next", OptionType(NamedType(f"T{(index + 1) % count}"))),),
        )
        for index in range(count)
    ]
    return ServiceSchema(
        "Shop", (MethodSchema("do", 1, (), NamedType("T0")),), (*types,)
    )


def test_types_that_make_too_many_pairs_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(translating, "MOST_LEVELS", 10)
    theirs = unrolled(20)
    shape: Shape = gives(Chain).methods[0].result_plan.ok.shape
    with pytest.raises(Exception, match="more than 10 pairs of types to translate"):
        translating.Translator(theirs).read(shape, NamedType("T0"))


def test_types_nested_too_deeply_are_refused() -> None:
    with pytest.raises(IncompatibleService, match="at most 64 may be within one"):
        translated_service(gives(Chain), unrolled(4000))


def wide(count: int) -> ServiceSchema:
    """Return a schema with many methods of a type with many fields."""
    fields = tuple(FieldSchema(f"f{index}", "u8") for index in range(count))
    next = FieldSchema("next", OptionType(NamedType("Chain")))
    methods = tuple(
        MethodSchema(f"m{index}", index + 2, (), NamedType("Chain"))
        for index in range(count)
    )
    return ServiceSchema(
        "Shop",
        (MethodSchema("do", 1, (), NamedType("Chain")), *methods),
        (StructSchema("Chain", (next, *fields)),),
    )


def test_the_work_for_a_schema_grows_with_its_length_alone() -> None:
    def calls_for(count: int) -> int:
        calls = 0

        def note(frame: object, event: str, arg: object) -> None:
            nonlocal calls
            calls += event in ("call", "c_call")

        theirs = wide(count)
        sys.setprofile(note)
        try:
            with pytest.raises(IncompatibleService, match="one of the two is wrong"):
                translated_service(gives(Chain), theirs)
        finally:
            sys.setprofile(None)
        return calls

    calls_for(10)
    assert calls_for(200) < 2.5 * calls_for(100)


def with_parts(count: int) -> Any:
    """Return a type with many types in it."""
    parts = [
        (f"part{index}", record(f"Part{index}", ("a", u8)) | None)
        for index in range(count)
    ]
    return record("Wide", *parts)


def of_error(kind: Any, count: int) -> list[Any]:
    """Return methods whose error has a part that only the peer has."""
    added = [] if kind is None else [("b", kind)]
    error = record("Problem", ("a", u8), *added)
    return [method_of(f"m{index}", fails=error) for index in range(count)]


def of_default(kind: Any, count: int) -> list[Any]:
    """Return methods with an argument that only the peer has."""
    args = {} if kind is None else {"b": (kind | None, None)}
    return [method_of(f"m{index}", a=u8, **args) for index in range(count)]


def of_layout(kind: Any, count: int) -> list[Any]:
    """Return methods that are the same on both sides."""
    result = with_parts(100)
    return [method_of(f"m{index}", returns=result) for index in range(count)]


def pair_of(made: Any, methods: int) -> tuple[ServiceDescriptor, ServiceSchema]:
    mine = shop(*made(None, methods))
    return mine, shop(*made(with_parts(100), methods)).schema


@pytest.mark.parametrize("made", [of_error, of_default])
def test_a_type_in_many_methods_is_derived_for_few(made: Any) -> None:
    def calls_for(methods: int) -> int:
        calls = 0

        def note(frame: object, event: str, arg: object) -> None:
            nonlocal calls
            calls += event in ("call", "c_call")

        mine, theirs = pair_of(made, methods)
        _ = mine.schema
        sys.setprofile(note)
        try:
            translated_service(mine, theirs)
        finally:
            sys.setprofile(None)
        return calls

    calls_for(2)
    assert calls_for(22) < 2 * calls_for(2)


def test_methods_of_the_same_types_share_plans_and_layouts() -> None:
    schema = shop(
        *(method_of(name, returns=User, fails=Tree, a=Bush) for name in ("get", "put"))
    ).schema
    one, other = map(MethodMaker(schema).checked, schema.methods)
    assert one.id != other.id
    assert one.args_plan is other.args_plan
    assert one.result_plan.ok is other.result_plan.ok
    assert one.result_plan.error is other.result_plan.error
    layouts = Layouts(schema)
    assert layouts.of(schema.methods[0]) is layouts.of(schema.methods[1])


def test_defaults_of_one_type_are_told_apart_and_lists_are_not_shared() -> None:
    numbers = {"b": (list[u8], [1]), "c": (list[u8], [2]), "d": (list[u8], [1])}
    theirs = shop(method_of(a=u8, **numbers)).schema
    (mine,) = translated_service(shop(method_of(a=u8)), theirs).methods
    assert b"".join(mine.args_plan.encode((7,))) == bytes((7, 1, 1, 1, 2, 1, 1))
    parameters = descriptor_of(theirs).methods[0].signature.parameters
    first, other, same = (parameters[name].default for name in numbers)
    assert (first, other, same) == ([1], [2], [1])
    assert first is not same


@pytest.mark.parametrize("made", [of_error, of_default, of_layout])
def test_the_steps_for_all_methods_together_are_bounded(
    made: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, theirs = pair_of(made, 2)
    translated_service(mine, theirs)
    monkeypatch.setattr(translation, "MOST_STEPS", 40)
    monkeypatch.setattr(translation, "MOST_STEPS_OF_A_METHOD", 30)
    with pytest.raises(IncompatibleService, match=r"100 steps \(MOST_STEPS,") as caught:
        translated_service(mine, theirs)
    assert isinstance(caught.value.__cause__, SchemaError)


def test_a_struct_is_no_enum() -> None:
    theirs = ServiceSchema(
        "Shop",
        (MethodSchema("do", 1, (), NamedType("Chain")),),
        (EnumSchema("Chain", (VariantSchema("A"),)),),
    )
    with pytest.raises(IncompatibleService) as caught:
        translated_service(gives(Chain), theirs)
    assert caught.value.where == "Shop.do -> return"
