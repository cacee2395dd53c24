"""Changes of a service, and who breaks by them."""

from __future__ import annotations

import enum
import inspect
from functools import reduce
from operator import or_
from typing import Annotated, Any, NamedTuple

import attrs
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roam_trio import (
    Change,
    Credit,
    Length,
    Rx,
    SchemaError,
    ServiceDescriptor,
    Slice,
    Tx,
    char,
    compare,
    describe,
    f32,
    i8,
    i16,
    u8,
    u16,
    u32,
    u64,
    usize,
)
from roam_trio.service.description import comparing, convertible
from roam_trio.service.description.comparing import compare_schemas
from roam_trio.service.description.convertible import Conversion
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
from roam_trio.service.description.rebuilding import descriptor_of
from roam_trio.service.descriptor import MethodDescriptor, method_of_types
from tests.schema.strategies import Spec, specs
from tests.service.services import Store
from tests.service.services import Testbed as Bed

REQUIRED = inspect.Parameter.empty
DICT: Any = dict
SET: Any = frozenset


def method(
    name: str = "do", returns: Any = None, fails: Any = None, **args: Any
) -> Any:
    """Return what makes a method: an argument is a type, or a type and its default."""
    pairs = {
        name: arg if isinstance(arg, tuple) else (arg, REQUIRED)
        for name, arg in args.items()
    }
    signature = inspect.Signature(
        [
            inspect.Parameter(
                name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=default
            )
            for name, (_, default) in pairs.items()
        ]
    )
    hints = {name: type for name, (type, _) in pairs.items()}

    def made(service: str) -> MethodDescriptor:
        return method_of_types(service, name, hints, returns, fails, signature)

    return made


def shop(*methods: Any, name: str = "Shop") -> ServiceDescriptor:
    return ServiceDescriptor(name, tuple(made(name) for made in methods), "")


def takes(type: Any) -> ServiceDescriptor:
    return shop(method(value=type))


def gives(type: Any) -> ServiceDescriptor:
    return shop(method(returns=type))


def fails(type: Any) -> ServiceDescriptor:
    return shop(method(returns=u8, fails=type))


def record(name: str, *fields: Any, **options: Any) -> Any:
    return msgspec.defstruct(name, fields, frozen=True, **options)


def user(*fields: Any, **options: Any) -> Any:
    return record("User", ("name", str), *fields, **options)


def either(*names: str, **fields: Any) -> Any:
    """Return a union of classes without fields, and of some with one field."""
    classes = [
        *(record(name) for name in names),
        *(record(name, ("value", type)) for name, type in fields.items()),
    ]
    return reduce(or_, classes)


def choice(*names: str) -> Any:
    return enum.Enum("Choice", [(name, name) for name in names])


def by_factory(name: str) -> Any:
    stamp = attrs.field(type=u8, factory=lambda: 3)
    return attrs.make_class(name, {"name": attrs.field(type=str), "stamp": stamp})


USER = user()
AGE = ("age", u8)
AGE_3 = ("age", u8, 3)
USER_AGE = user(AGE)


class Row(NamedTuple):
    """A kind of change: what old and new are, and the changes that are found.

    Each change is its place, its kind, who breaks, and who breaks untranslated.
    """

    old: ServiceDescriptor
    new: ServiceDescriptor
    changes: tuple[tuple[str, str, str, str], ...]


def row(old: ServiceDescriptor, new: ServiceDescriptor, *changes: str) -> Row:
    return Row(
        old,
        new,
        tuple(
            (parts[0], parts[1], parts[2], parts[3])
            for parts in (each.split(": ") for each in changes)
        ),
    )


A, B = method("a"), method("b", x=u8)

TABLE = {
    "nothing": row(takes(USER), takes(user())),
    "class renamed": row(takes(USER), takes(record("Person", ("name", str)))),
    "service renamed": row(
        shop(A), shop(A, name="Store"), "Shop: service renamed: nobody: both"
    ),
    # ---------------------------------------------------------------- methods
    "method added": row(
        shop(A), shop(A, B), "Shop.b: method added: old servers: old servers"
    ),
    "method removed": row(
        shop(A, B), shop(A), "Shop.b: method removed: old clients: old clients"
    ),
    "method renamed": row(
        shop(B), shop(method("c", x=u8)), "Shop.b: method renamed: both: both"
    ),
    "method that fails renamed": row(
        shop(method("b", fails=choice("A"))),
        shop(method("c", fails=choice("A"))),
        "Shop.b: method renamed: both: both",
    ),
    "method replaced": row(
        shop(B),
        shop(method("c", x=str)),
        "Shop.b: method removed: old clients: old clients",
        "Shop.c: method added: old servers: old servers",
    ),
    "methods reordered": row(shop(A, B), shop(B, A)),
    "method in another case": row(shop(method("getIt")), shop(method("get_it"))),
    # ---------------------------------------------------------------- arguments
    "argument added": row(
        shop(method(x=u8)),
        shop(method(x=u8, y=u16)),
        "Shop.do(y): argument added: old clients: both",
    ),
    "argument with a default added": row(
        shop(method(x=u8)),
        shop(method(x=u8, y=(u16, 3))),
        "Shop.do(y): argument added: nobody: both",
    ),
    "argument removed": row(
        shop(method(x=u8, y=u16)),
        shop(method(x=u8)),
        "Shop.do(y): argument removed: old servers: both",
    ),
    "argument with a default removed": row(
        shop(method(x=u8, y=(u16, 3))),
        shop(method(x=u8)),
        "Shop.do(y): argument removed: nobody: both",
    ),
    "argument renamed": row(
        shop(method(x=u8)),
        shop(method(y=u8)),
        "Shop.do(x): argument renamed: both: nobody",
    ),
    "arguments reordered": row(
        shop(method(x=u8, y=u8)),
        shop(method(y=u8, x=u8)),
        "Shop.do: arguments reordered: nobody: both",
    ),
    "default of an argument added": row(
        shop(method(x=u8)),
        shop(method(x=(u8, 1))),
        "Shop.do(x): default added: nobody: nobody",
    ),
    "default of an argument changed": row(
        shop(method(x=(u8, 2))),
        shop(method(x=(u8, 1))),
        "Shop.do(x): default changed: nobody: nobody",
    ),
    "default of an argument removed": row(
        shop(method(x=(u8, 2))),
        shop(method(x=u8)),
        "Shop.do(x): default removed: nobody: nobody",
    ),
    # ---------------------------------------------------------------- fields
    "field added to an argument": row(
        takes(USER), takes(user(AGE)), "User.age: field added: old clients: both"
    ),
    "field with a default added to an argument": row(
        takes(USER), takes(user(AGE_3)), "User.age: field added: nobody: both"
    ),
    "field with a computed default added to an argument": row(
        takes(USER),
        takes(by_factory("User")),
        "User.stamp: field added: old clients: both",
    ),
    "field added to a result": row(
        gives(USER), gives(user(AGE)), "User.age: field added: old servers: both"
    ),
    "field with a default added to a result": row(
        gives(USER), gives(user(AGE_3)), "User.age: field added: nobody: both"
    ),
    "field with a computed default added to a result": row(
        gives(USER),
        gives(by_factory("User")),
        "User.stamp: field added: nobody: both",
    ),
    "field added to an argument and a result": row(
        shop(method(returns=USER, user=USER)),
        shop(method(returns=USER_AGE, user=USER_AGE)),
        "User.age: field added: both: both",
    ),
    "field removed from an argument": row(
        takes(user(AGE)), takes(USER), "User.age: field removed: old servers: both"
    ),
    "field with a default removed from an argument": row(
        takes(user(AGE_3)), takes(USER), "User.age: field removed: nobody: both"
    ),
    "field removed from a result": row(
        gives(user(AGE)), gives(USER), "User.age: field removed: old clients: both"
    ),
    "field with a default removed from a result": row(
        gives(user(AGE_3)), gives(USER), "User.age: field removed: nobody: both"
    ),
    "field renamed": row(
        takes(user(AGE)),
        takes(user(("old", u8))),
        "User.age: field renamed: both: both",
    ),
    "field with a default renamed": row(
        takes(user(AGE_3)),
        takes(user(("old", u8, 3))),
        "User.age: field renamed: nobody: both",
    ),
    "fields reordered": row(
        takes(record("User", AGE, ("name", str))),
        takes(user(AGE)),
        "User: fields reordered: nobody: both",
    ),
    "default of a field changed": row(
        takes(user(AGE_3)),
        takes(user(("age", u8, 4))),
        "User.age: default changed: nobody: nobody",
    ),
    "default of a field computed": row(
        takes(user(("stamp", u8, 3))),
        takes(by_factory("User")),
        "User.stamp: default changed: nobody: nobody",
    ),
    "field of a key added": row(
        takes(DICT[USER, u8]),
        takes(DICT[user(AGE_3), u8]),
        "User.age: field added: old servers: both",
    ),
    "field of an item of a set added": row(
        gives(SET[USER]),
        gives(SET[user(AGE_3)]),
        "User.age: field added: old clients: both",
    ),
    "field of a value of a dict widened": row(
        takes(DICT[str, user(AGE)]),
        takes(DICT[str, user(("age", u16))]),
        "User.age: type widened: old servers: both",
    ),
    "channel added to a field": row(
        takes(USER),
        takes(user(("log", Tx[str] | None, None))),
        "User.log: field added: old servers: both",
    ),
    "field with a default added within an optional type": row(
        takes(USER),
        takes(user(AGE_3) | None),
        "Shop.do(value): type widened: old servers: both",
    ),
    "position added to a tuple struct": row(
        takes(user(array_like=True)),
        takes(user(AGE_3, array_like=True)),
        "User.1: field added: nobody: both",
    ),
    "names of fields added": row(
        takes(user(array_like=True)), takes(USER), "User: type changed: both: both"
    ),
    "names of fields removed": row(
        takes(USER), takes(user(array_like=True)), "User: type changed: both: both"
    ),
    # ---------------------------------------------------------------- variants
    "variant added to an argument": row(
        takes(either("A", "B")),
        takes(either("A", "B", "C")),
        "A | B.C: variant added: old servers: both",
    ),
    "variant added to a result": row(
        gives(either("A", "B")),
        gives(either("A", "B", "C")),
        "A | B.C: variant added: old clients: both",
    ),
    "variant removed from an argument": row(
        takes(either("A", "B", "C")),
        takes(either("A", "B")),
        "A | B | C.C: variant removed: old clients: both",
    ),
    "variant removed from a result": row(
        gives(choice("A", "B")),
        gives(choice("A")),
        "Choice.B: variant removed: old servers: both",
    ),
    "variant renamed": row(
        takes(choice("A", "B")),
        takes(choice("A", "C")),
        "Choice.B: variant renamed: both: both",
    ),
    "variants reordered": row(
        takes(choice("A", "B")),
        takes(choice("B", "A")),
        "Choice: variants reordered: nobody: both",
    ),
    "field of a variant widened": row(
        takes(either("A", B=u8)),
        takes(either("A", B=u16)),
        "A | B.B.value: type widened: old servers: both",
    ),
    "variant replaced": row(
        takes(either("A", B=u8)),
        takes(either("A", C=str)),
        "A | B.B: variant removed: old clients: both",
        "A | B.C: variant added: old servers: both",
    ),
    "struct to enum": row(
        takes(USER), takes(choice("A")), "User: type changed: both: both"
    ),
    "enum to struct": row(
        takes(choice("A")), takes(USER), "Choice: type changed: both: both"
    ),
    # ---------------------------------------------------------------- types
    "argument widened": row(
        takes(u8), takes(u32), "Shop.do(value): type widened: old servers: both"
    ),
    "argument narrowed": row(
        takes(u32), takes(u8), "Shop.do(value): type narrowed: old clients: both"
    ),
    "result widened": row(
        gives(u8), gives(i16), "Shop.do -> return: type widened: old clients: both"
    ),
    "result narrowed": row(
        gives(i16), gives(i8), "Shop.do -> return: type narrowed: old servers: both"
    ),
    "sign changed": row(
        takes(u8), takes(i8), "Shop.do(value): type changed: both: both"
    ),
    "float widened": row(
        takes(f32), takes(float), "Shop.do(value): type widened: old servers: both"
    ),
    "char to text": row(
        takes(char), takes(str), "Shop.do(value): type widened: old servers: both"
    ),
    "text to number": row(
        takes(str), takes(u8), "Shop.do(value): type changed: both: both"
    ),
    "made optional": row(
        takes(u8), takes(u8 | None), "Shop.do(value): type widened: old servers: both"
    ),
    "made obligatory": row(
        takes(u8 | None), takes(u8), "Shop.do(value): type narrowed: old clients: both"
    ),
    "option widened": row(
        takes(u8 | None),
        takes(u16 | None),
        "Shop.do(value): type widened: old servers: both",
    ),
    "array to list": row(
        takes(Annotated[list[u16], Length(2)]),
        takes(list[u16]),
        "Shop.do(value): type widened: old servers: both",
    ),
    "set to list": row(
        takes(set[u16]),
        takes(list[u16]),
        "Shop.do(value): type widened: old servers: both",
    ),
    "length of an array changed": row(
        takes(Annotated[list[u16], Length(2)]),
        takes(Annotated[list[u16], Length(3)]),
        "Shop.do(value): length changed: both: both",
    ),
    "items of an array widened": row(
        takes(Annotated[list[u16], Length(2)]),
        takes(Annotated[list[u32], Length(2)]),
        "Shop.do(value): type widened: old servers: both",
    ),
    "items of a list widened": row(
        gives(list[u16]),
        gives(list[u32]),
        "Shop.do -> return: type widened: old clients: both",
    ),
    "list to slice": row(
        takes(list[u16]),
        takes(Annotated[list[u16], Slice()]),
        "Shop.do(value): type changed: nobody: nobody",
    ),
    "bytes to list": row(
        takes(bytes), takes(list[u8]), "Shop.do(value): type changed: nobody: nobody"
    ),
    "bytes to slice": row(
        takes(bytes),
        takes(Annotated[bytes, Slice()]),
        "Shop.do(value): type changed: nobody: both",
    ),
    "usize": row(
        takes(u64), takes(usize), "Shop.do(value): type changed: nobody: nobody"
    ),
    "tuple shortened": row(
        takes(tuple[u8, u8]),
        takes(tuple[u8]),
        "Shop.do(value): type changed: both: both",
    ),
    "part of a tuple widened": row(
        takes(tuple[u8, u8]),
        takes(tuple[u8, u16]),
        "Shop.do(value): type widened: old servers: both",
    ),
    # ---------------------------------------------------------------- errors
    "error added": row(
        gives(u8),
        fails(choice("A")),
        "Shop.do -> error: error added: old clients: both",
    ),
    "error removed": row(
        fails(choice("A")),
        gives(u8),
        "Shop.do -> error: error removed: old servers: both",
    ),
    "variant added to an error": row(
        fails(choice("A")),
        fails(choice("A", "B")),
        "Choice.B: variant added: old clients: both",
    ),
    "variant of an error renamed": row(
        fails(choice("A")),
        fails(choice("B")),
        "Choice.A: variant renamed: both: nobody",
    ),
    "fields swapped inside of a result that can fail": row(
        shop(method(returns=record("P", ("x", u8), ("y", u8)), fails=None)),
        shop(method(returns=record("P", ("y", u8), ("x", u8)), fails=None)),
        "P: fields reordered: nobody: both",
    ),
    "fields swapped inside of an error": row(
        fails(record("E", ("x", u8), ("y", u8))),
        fails(record("E", ("y", u8), ("x", u8))),
        "E: fields reordered: nobody: both",
    ),
    "field of an error renamed": row(
        fails(record("E", ("x", u8))),
        fails(record("E", ("y", u8))),
        "E.x: field renamed: both: nobody",
    ),
    "bytes to list inside of an error": row(
        fails(record("E", ("x", bytes))),
        fails(record("E", ("x", list[u8]))),
        "E.x: type changed: nobody: nobody",
    ),
    # ---------------------------------------------------------------- channels
    "credit changed": row(
        takes(Tx[u8]),
        takes(Annotated[Tx[u8], Credit(64)]),
        "Shop.do(value): credit changed: nobody: both",
    ),
    "direction changed": row(
        takes(Tx[u8]), takes(Rx[u8]), "Shop.do(value): direction changed: both: both"
    ),
    "items that the handler sends widened": row(
        takes(Tx[u8]),
        takes(Tx[u16]),
        "Shop.do(value)[item]: type widened: old clients: both",
    ),
    "items that the caller sends widened": row(
        takes(Rx[u8]),
        takes(Rx[u16]),
        "Shop.do(value)[item]: type widened: old servers: both",
    ),
    "channel made optional": row(
        takes(Tx[u8]),
        takes(Tx[u8] | None),
        "Shop.do(value): type widened: old servers: both",
    ),
    "channel that is received made optional": row(
        takes(Rx[u8]),
        takes(Rx[u8] | None),
        "Shop.do(value): type widened: old servers: both",
    ),
    "channel made optional with another direction": row(
        takes(Rx[u8]),
        takes(Tx[u8] | None),
        "Shop.do(value): type changed: both: both",
    ),
    "channel added": row(
        shop(method(x=u8)),
        shop(method(x=u8, log=Tx[str])),
        "Shop.do(log): argument added: both: both",
    ),
    "channel removed": row(
        shop(method(x=u8, log=Tx[str])),
        shop(method(x=u8)),
        "Shop.do(log): argument removed: both: both",
    ),
}


@pytest.mark.parametrize("what", TABLE)
def test_a_change_says_who_breaks_with_and_without_translation(what: str) -> None:
    found = [
        (each.where, each.kind, each.breaks, each.breaks_untranslated)
        for each in compare(TABLE[what].old, TABLE[what].new)
    ]
    assert found == list(TABLE[what].changes)


OTHER_SIDE = {
    "nobody": "nobody",
    "old clients": "old servers",
    "old servers": "old clients",
    "both": "both",
}


@pytest.mark.parametrize("what", TABLE)
def test_the_change_back_breaks_the_other_side(what: str) -> None:
    there = compare(TABLE[what].old, TABLE[what].new)
    back = compare(TABLE[what].new, TABLE[what].old)
    assert sorted(OTHER_SIDE[each.breaks] for each in there) == sorted(
        each.breaks for each in back
    )


def test_the_table_has_at_least_forty_kinds_of_change() -> None:
    assert sum(bool(row.changes) for row in TABLE.values()) >= 40


@pytest.mark.parametrize("what", TABLE)
def test_ids_are_equal_exactly_if_untranslated_calls_are_not_refused(
    what: str,
) -> None:
    old, new, changes = TABLE[what]
    equal = {each.id for each in old.methods} <= {each.id for each in new.methods}
    silent = {"credit changed", "arguments reordered", "variant renamed"}
    hidden = {"fields swapped inside of an error", "variant added to an error"}
    if all(each[3] in ("nobody", "old servers") for each in changes):
        assert equal
    elif what not in hidden and not {each[1] for each in changes} & silent:
        assert not equal


def test_a_change_is_told_in_a_sentence() -> None:
    (change,) = compare(takes(USER), takes(user(AGE_3)))
    assert str(change) == (
        "User.age: the field of type u8 is new, and has a default; breaks nobody, and "
        "without translation both"
    )


TEXTS = {
    "default of a field computed": "the default is computed, and was 3",
    "default of an argument added": "there is a default now: 1",
    "arguments reordered": "the arguments have another order: y, x",
    "credit changed": "the credit is 64 instead of 16",
    "made optional": "the type is u8 | None instead of u8",
    "error added": "the method can fail with Choice",
}


@pytest.mark.parametrize("what", TEXTS)
def test_the_text_of_a_change_says_what_it_is_now(what: str) -> None:
    (change,) = compare(TABLE[what].old, TABLE[what].new)
    assert change.text == TEXTS[what]


@pytest.mark.parametrize("cls", [Bed, Store])
def test_a_service_does_not_differ_from_what_a_peer_makes_of_its_schema(
    cls: Any,
) -> None:
    assert compare(describe(cls), descriptor_of(describe(cls).schema)) == []


@settings(deadline=None, max_examples=50)
@given(specs())
def test_no_type_differs_from_itself(spec: Spec) -> None:
    types = {"value": spec.annotation}
    old, new = shop(method(**types)), shop(method(**types))
    assert compare(old, new) == []


@settings(deadline=None, max_examples=50)
@given(specs(), specs(), st.booleans())
def test_a_service_with_changes_has_another_description(
    old: Spec, new: Spec, is_sent: bool
) -> None:
    made = takes if is_sent else gives
    changes = compare(made(old.annotation), made(new.annotation))
    back = compare(made(new.annotation), made(old.annotation))
    assert bool(changes) == bool(back)
    assert all(isinstance(each, Change) for each in changes)


# ---------------------------------------------------------------- types in circles


def chain(length: int, last: Any) -> ServiceSchema:
    """Return a schema whose types hold one another in a row."""
    types = [
        StructSchema(f"T{index}", (FieldSchema("next", NamedType(f"T{index + 1}")),))
        for index in range(length)
    ]
    arg = ArgSchema("value", NamedType("T0"))
    end = StructSchema(f"T{length}", (FieldSchema("value", last),))
    return ServiceSchema("S", (MethodSchema("do", 1, (arg,)),), (*types, end))


def test_a_change_deep_inside_is_found_once() -> None:
    (change,) = compare_schemas(chain(50, "u8"), chain(50, "u16"))
    assert (change.where, change.kind) == ("T50.value", "type widened")


def test_types_nested_too_deeply_are_refused() -> None:
    with pytest.raises(SchemaError, match="nested too deeply to be compared"):
        compare_schemas(chain(2000, "u8"), chain(2000, "u8"))


def test_schemas_are_compared_as_descriptors_are() -> None:
    (change,) = compare(chain(1, "u8"), chain(1, "u16"))
    assert change.where == "T1.value"


def test_types_that_make_too_many_pairs_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(convertible, "MOST_PAIRS", 20)
    old = {each.name: each for each in chain(30, "u8").types}
    conversion = Conversion(old, old, told_only=True)
    assert conversion.is_possible(NamedType("T15"), NamedType("T15"))
    with pytest.raises(SchemaError, match="more than 20 pairs of types"):
        conversion.is_possible(NamedType("T0"), NamedType("T0"))


def test_a_comparison_of_too_many_pairs_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(comparing, "MOST_PAIRS", 20)
    with pytest.raises(SchemaError, match="pairs of types to compare"):
        compare(chain(30, "u8"), chain(30, "u8"))


def circle(*fields: FieldSchema) -> dict[str, StructSchema | EnumSchema]:
    tree = StructSchema(
        "Tree", (*fields, FieldSchema("all", ListType(NamedType("Tree"))))
    )
    return {"Tree": tree}


def test_types_within_themselves_can_be_converted_if_all_their_parts_can() -> None:
    old, same = circle(FieldSchema("a", "u8")), circle(FieldSchema("a", "u16"))
    other = circle(FieldSchema("a", "str"))
    tree = NamedType("Tree")
    assert Conversion(old, same, told_only=True).is_possible(tree, tree)
    # What was assumed on the way to a refusal is not kept.
    conversion = Conversion(old, other, told_only=True)
    assert not conversion.is_possible(tree, tree)
    assert not conversion.is_possible(OptionType(tree), OptionType(tree))


@pytest.mark.parametrize(
    ("written", "read", "is_possible"),
    [
        (SetType("u8"), SetType("u16"), True),
        (SetType("u8"), SetType("str"), False),
        (ListType("u8"), SetType("u8"), False),
        (ListType("u8"), ArrayType("u8", 1), False),
        (ArrayType("u8", 1), ArrayType("u16", 1), True),
        (ArrayType("u8", 1), ArrayType("u8", 2), False),
        (MapType("str", "u8"), MapType("str", "u16"), True),
        (MapType("u16", "u8"), MapType("u8", "u8"), False),
        (MapType("str", "u16"), MapType("str", "u8"), False),
        (TupleType(("u8", "str")), TupleType(("u16", "str")), True),
        (TupleType(("u8", "str")), TupleType(("u8",)), False),
        (TupleType(("u8",)), TupleType(("str",)), False),
        ("isize", "i64", True),
        ("isize", "u64", False),
        ("i8", "f64", False),
        ("unit", "unit", True),
        ("unit", "u8", False),
        (ChannelType("tx", "u8", 1), ChannelType("tx", "u8", 1), False),
        (ChannelType("rx", "u8", 1), ChannelType("rx", "u16", 2), True),
    ],
)
def test_types_without_names_are_converted_to_wider_ones(
    written: Type, read: Type, is_possible: bool
) -> None:
    # Without a way back, there is none for items that the reader sends.
    conversion = Conversion({}, {}, told_only=True)
    assert conversion.is_possible(written, read) == is_possible


@pytest.mark.parametrize(
    ("written", "read", "is_possible"),
    [
        (StructSchema("T"), EnumSchema("T", (VariantSchema("A"),)), False),
        (EnumSchema("T", (VariantSchema("A"),)), StructSchema("T"), False),
        (
            StructSchema("T", (FieldSchema("0", "u8"),)),
            StructSchema("T", (FieldSchema("0", "u8"),), tuple_like=True),
            False,
        ),
        (StructSchema("T"), StructSchema("T", tuple_like=True), True),
        (
            StructSchema("T", (FieldSchema("a", "u8"),)),
            StructSchema("T", (FieldSchema("a", "str"),)),
            False,
        ),
        (StructSchema("T"), StructSchema("T", (FieldSchema("a", "u8"),)), False),
    ],
)
def test_definitions_are_converted_only_to_their_like(
    written: Any, read: Any, is_possible: bool
) -> None:
    conversion = Conversion({"T": written}, {"T": read}, told_only=True)
    type = NamedType("T")
    assert conversion.is_possible(type, type) == is_possible
