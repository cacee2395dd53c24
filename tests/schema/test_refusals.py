"""Types that cannot go on the wire are refused, with the path to them and advice."""

from __future__ import annotations

import collections.abc
import dataclasses
import enum
import typing
from decimal import Decimal
from typing import (
    Annotated,
    Any,
    Generic,
    Literal,
    NamedTuple,
    NewType,
    Optional,
    TypedDict,
    TypeVar,
)

import attrs
import msgspec
import pytest
from typing_extensions import TypeAliasType

from roam_trio import SchemaError
from roam_trio.codec import args_plan, result_plan, rpc_plan
from roam_trio.schema import (
    Array,
    Credit,
    Fallible,
    Length,
    OptionShape,
    Slice,
    UnitShape,
    char,
    f32,
    shape_of,
    split_fallible,
    transparent,
    u8,
    u32,
)
from roam_trio.schema.types import Wire

from .examples import Color, Inner, MsgspecPage, Point, Rx, Streams, Tree, Tx

T = TypeVar("T")


class Dictionary(TypedDict):
    x: int


class Named(NamedTuple):
    x: int


class Plain:
    x: int


class Flags(enum.Flag):
    A = 1


class NoMembers(enum.Enum):
    pass


class Twice(enum.Enum):
    A = "B"
    B = 1


class Deep(msgspec.Struct):
    left: list[Any]


@attrs.define
class Unset:
    x: int = attrs.field(init=False)


@dataclasses.dataclass
class Late:
    x: int = dataclasses.field(init=False)


@dataclasses.dataclass
class Initial:
    x: int
    y: dataclasses.InitVar[int]


@attrs.define(init=False)
class OwnConstructor:
    x: int

    def __init__(self, other: int) -> None:
        self.x = other


@attrs.define
class Base:
    x: int


class Undecorated(Base):
    y: int


class UndecoratedData(Initial):
    z: int


@attrs.define
class Unresolved:
    x: Missing  # type: ignore[name-defined]  # noqa: F821


class NotAType(msgspec.Struct):
    x: int[3]  # type: ignore[misc]


@attrs.define
class Untyped:
    x = attrs.field()


@transparent
class TwoFields(msgspec.Struct):
    a: int
    b: int


@transparent
class Endless(msgspec.Struct):
    inner: list[Endless]


class Infinite(msgspec.Struct):
    value: u8
    again: Infinite


class InfiniteLeft(msgspec.Struct):
    right: InfiniteRight


class InfiniteRight(msgspec.Struct):
    left: InfiniteLeft | InfiniteUnit


class InfiniteUnit(msgspec.Struct):
    left: InfiniteLeft


@attrs.define
class SelfStreaming:
    tx: Tx[int]
    next: SelfStreaming | None


@attrs.define
class StreamOfItself:
    tx: Tx[StreamOfItself]


class NoneInTree(msgspec.Struct):
    nothing: list[None]
    children: list[NoneInTree]


class Polymorphic(msgspec.Struct, Generic[T]):
    value: T | None
    next: Polymorphic[list[T]] | None


Loop = TypeAliasType("Loop", list["Loop"])  # type: ignore[misc]
Named2 = TypeAliasType("Named2", "Missing")  # type: ignore[misc] # noqa: F821


# Stands in for the type statement of Python 3.12, which evaluates late.
LAZY = type(
    "TypeAliasType",
    (),
    {"__value__": property(lambda self: Missing)},  # noqa: F821
)()
MaybeInt = NewType("MaybeInt", Optional[int])  # type: ignore[valid-newtype]  # noqa: UP045


@pytest.mark.parametrize(
    ("type_", "path", "problem"),
    [
        (Any, "Any", "Any has no wire form; write the type that is meant"),
        (object, "object", "object has no wire form"),
        (list, "list", "write its item type, as in list[u32]"),
        (set, "set", "write its item type"),
        (tuple, "tuple", "write its item types"),
        (dict, "dict", "write its key and value types"),
        (bytearray, "bytearray", "use bytes"),
        (list[int, str], "list[int, str]", "write its item type"),  # type: ignore[misc]
        (NotAType, "NotAType.x", "not a type annotation: type 'int' is not"),
        (
            msgspec.defstruct("K", [("class", u8)]),
            "K",
            "a field cannot be named 'class'",
        ),
        (Optional["Missing"], "Missing", "the name 'Missing' is open"),  # noqa: F821
        (complex, "complex", "give it a wire type with register_wire_type"),
        (Plain, "Plain", "make it a msgspec Struct, an attrs class or a dataclass"),
        (Exception, "Exception", "define an exception of your own"),
        (Dictionary, "Dictionary", "make it a msgspec Struct"),
        (Named, "Named", "make it a msgspec Struct with array_like=True"),
        (enum.Enum, "Enum", "use an enum class of your own"),
        (Flags, "Flags", "send the integer"),
        (NoMembers, "NoMembers", "the enum NoMembers has no members"),
        (Twice, "Twice", "two members are named 'B' on the wire"),
        (collections.abc.Sequence[u8], "Sequence[u8]", "use list[T] or tuple[T, ...]"),
        (typing.Callable[[int], str], "Callable", "functions cannot be sent"),
        (collections.abc.Callable[..., None], "Callable", "functions cannot be sent"),
        (Literal["a"], "Literal", "use an enum.Enum"),
        (T, "~T", "the type variable ~T has no value here"),
        (MsgspecPage, "MsgspecPage.items[0]", "the type variable ~T has no value"),
        ("Missing", "'Missing'", "the name 'Missing' is open"),
        (list["Missing"], "list['Missing'][0]", "the name 'Missing' is open"),  # noqa: F821
        (Unresolved, "Unresolved.x", "name 'Missing' is not defined"),
        (Untyped, "Untyped.x", "the field has no annotation"),
        (Unset, "Unset.x", "init=False"),
        (Late, "Late.x", "init=False"),
        (Initial, "Initial.y", "InitVar"),
        (OwnConstructor, "OwnConstructor", "does not take its fields: missing"),
        (Undecorated, "Undecorated", "declares the field 'y' but is not decorated"),
        (UndecoratedData, "UndecoratedData", "declares the field 'z'"),
        (TwoFields, "TwoFields", "a transparent class has exactly one field"),
        (Endless, "Endless", "types are nested more than 64 deep"),
        (Polymorphic[int], "Polymorphic[int].next", "types are nested more than 64"),
        (Loop, "", "refers to itself without a class in between"),
        (Named2, "", "name 'Missing' is not defined"),
        (LAZY, "", "name 'Missing' is not defined"),
        (Infinite, "Infinite", "contains itself, so its values would be infinite"),
        (
            InfiniteLeft,
            "InfiniteLeft",
            "contains itself, so its values would be infinite",
        ),
        (Deep, "Deep.left[0]", "Any has no wire form"),
        (set[list[int]], "set[list[int]][0]", "use a tuple[T, ...] instead of a list"),
        (set[set[int]], "set[set[int]][0]", "use a frozenset instead of a set"),
        (frozenset[dict[str, str]], "[0]", "a dict is not; use a tuple of pairs"),
        (set[memoryview], "[0]", "use bytes instead of a memoryview"),
        (set[Array[u8, Literal[2]]], "[0]", "instead of a list"),
        (set[tuple[u8, list[u8]]], "[0]", "instead of a list"),
        (set[list[u8] | None], "[0]", "instead of a list"),
        (set[Tree], "set[Tree][0]", "make Tree frozen"),
        (set[Tree | Point], "[0]", "make Tree frozen"),
        (dict[list[int], int], "dict[list[int], int].keys()[0]", "must be hashable"),
        (dict[str, Any], "dict[str, Any].values()[0]", "Any has no wire form"),
        (tuple[int, Any], "tuple[int, Any][1]", "Any has no wire form"),
        (int | str, "int | str", "a union is one of classes with fields, each a var"),
        (Point | int, "Point | int", "int is none; wrap it in a class of its own"),
        (Point | Color, "Point | Color", "Color is none"),
        (Point | Decimal, "Point | Decimal", "Decimal is none"),
        (Point | list[Point], "Point | list[Point]", "list[Point] is none"),
        (MsgspecPage[u8] | MsgspecPage[u32], "", "two variants are named 'MsgspecPage"),
        (Fallible[int, Color], "int", "may only be the return type of a method"),
        (list[Fallible[int, Color]], "list[int][0]", "only be the return type"),
        (Annotated[str, Wire("u8")], "u8", "u8 is a int, not str"),
        (Annotated[f32, Wire("char")], "char", "char is a str, not float"),
        (Annotated[int, Length(3)], "int", "Length is for list, tuple[T, ...] and byt"),
        (Annotated[set[u8], Slice()], "set[u8]", "Slice is for list"),
        (Annotated[int, Credit(3)], "int", "Credit is for channels"),
        (Annotated[Tx[int] | None, Credit(3)], "", "Credit is for channels"),
        (Array[None, Literal[65537]], "", "has at most 65536"),
        (list[list[None]], "list[list[None]][0]", "send their count instead"),
        (list[Array[None, Literal[2]]], "[0]", "send their count instead"),
        (dict[str, set[tuple[()]]], ".values()[0]", "send their count instead"),
        (NoneInTree, "NoneInTree.nothing", "send their count instead"),
        (Tx, "Tx", "write its item type, as in Tx[u32]"),
        (list[Tx[int]], "list[Tx[int]][0]", "a channel cannot be in a list"),
        (tuple[Rx[int], ...], "[0]", "a channel cannot be in a tuple[T, ...]"),
        (set[Tx[int]], "[0]", "a channel cannot be in a set"),
        (dict[str, Tx[int]], ".values()[0]", "a channel cannot be in a dict"),
        (Array[Tx[int], Literal[2]], "[0]", "a channel cannot be in a list"),
        (list[Streams], "list[Streams][0].first", "a channel cannot be in a list"),
        (Tx[Inner], "Tx[Inner][item].tx", "cannot be in the items of a channel"),
        (StreamOfItself, "StreamOfItself.tx[item].tx", "in the items of a channel"),
        (SelfStreaming, "SelfStreaming", "refers to itself and holds channels"),
    ],
)
@pytest.mark.rule("rpc.channel.no-collections")
def test_a_type_without_a_wire_form_is_refused(
    type_: Any, path: str, problem: str
) -> None:
    with pytest.raises(SchemaError) as caught:
        rpc_plan(type_)
    assert problem in caught.value.problem
    assert path in caught.value.path
    assert str(caught.value).startswith(f"{caught.value.path}: ")


@pytest.mark.rule("rpc.channel.placement")
def test_a_channel_in_a_return_or_error_type_is_refused() -> None:
    with pytest.raises(SchemaError, match="a channel cannot be in a return type"):
        result_plan(Tx[int], None, "Adder.add")
    with pytest.raises(SchemaError, match="cannot be in a return type") as caught:
        result_plan(Streams, None, "Adder.add")
    assert caught.value.path == "Adder.add -> return.first"
    with pytest.raises(SchemaError, match="cannot be in an error type") as caught:
        result_plan(int, Inner, "Adder.add")
    assert caught.value.path == "Adder.add -> error.tx"
    args_plan([Tx[int], Streams], ["tx", "streams"], "Adder.add")


def test_the_path_begins_with_the_method_and_its_argument() -> None:
    with pytest.raises(SchemaError) as caught:
        args_plan([u32, list[Deep]], ["n", "l"], "Adder.add")
    assert caught.value.path == "Adder.add(l)[0].left[0]"
    with pytest.raises(SchemaError) as caught:
        shape_of(Deep, "Adder.add(l)")
    assert caught.value.path == "Adder.add(l).left[0]"


def test_an_optional_of_something_optional_is_optional_once() -> None:
    @transparent
    @attrs.frozen
    class Maybe:
        value: u8 | None

    nothing = TypeAliasType("nothing", None)
    alias = TypeAliasType("alias", u8 | None)
    assert shape_of(Optional[nothing]) == UnitShape()  # noqa: UP045
    assert shape_of(Optional[MaybeInt]) == OptionShape(shape_of(int))  # noqa: UP045
    assert shape_of(Optional[alias]) == OptionShape(shape_of(u8))  # noqa: UP045
    # An instance of a class is not None, whatever it holds.
    plan = rpc_plan(Maybe | None)
    for value in (None, Maybe(None), Maybe(3)):
        assert plan.decode(b"".join(plan.encode(value))) == value


@pytest.mark.parametrize("length", [-1, 2**64, True, "3", 1.0])
def test_a_length_is_a_whole_number(length: Any) -> None:
    with pytest.raises(SchemaError, match="the length of an array is a whole number"):
        Length(length)
    with pytest.raises(SchemaError, match="the length of an array is a whole number"):
        Array[u8, length]


def test_a_credit_is_a_u32() -> None:
    assert Credit(0).items == 0
    for credit in (-1, 2**32):
        with pytest.raises(SchemaError, match="the initial credit is a whole number"):
            Credit(credit)


def test_generic_forms_need_two_parameters() -> None:
    array: Any = Array
    fallible: Any = Fallible
    for wrong in (int, (int,), (int, str, str)):
        with pytest.raises(SchemaError, match=r"as in Array\[T, Literal\[4\]\]"):
            array[wrong]
        with pytest.raises(SchemaError, match=r"as in Fallible\[T, E\]"):
            fallible[wrong]


@pytest.mark.rule("rpc.fallible")
def test_a_fallible_return_is_split_into_its_types() -> None:
    assert split_fallible(u32) == (u32, None)
    assert split_fallible(int) == (int, None)
    assert split_fallible(None) == (None, None)
    assert split_fallible(Fallible[int, Color]) == (int, Color)
    assert split_fallible(Fallible[u32, Color | Point]) == (u32, Color | Point)
    assert split_fallible(Fallible[list[u32], str]) == (list[u32], str)
    assert split_fallible(Fallible[u32, None]) == (u32, type(None))
    ok, error = split_fallible(Fallible[None, Color])
    assert (ok, error) == (type(None), Color)
    with pytest.raises(SchemaError, match="a method has one error type"):
        split_fallible(Fallible[Fallible[int, Color], Point])


def test_the_transparency_of_a_base_class_is_not_inherited() -> None:
    @transparent
    class One(msgspec.Struct):
        x: u8

    class Two(One):
        y: u8

    assert b"".join(rpc_plan(One).encode(One(1))) == b"\x01"
    assert b"".join(rpc_plan(Two).encode(Two(1, 2))) == b"\x01\x02"


@pytest.mark.parametrize("decorate", [attrs.define, dataclasses.dataclass(slots=True)])
def test_transparency_may_be_declared_before_the_class_is_made(decorate: Any) -> None:
    @decorate
    @transparent
    class Within:
        x: list[u8]

    assert shape_of(Within).inner == shape_of(list[u8])  # type: ignore[union-attr]


def test_local_classes_are_found_by_their_own_name() -> None:
    @attrs.define
    class Local:
        char: char
        again: Local | None = None

    plan = rpc_plan(Local)
    assert plan.decode(b"\x01a\x01\x01b\x00") == Local("a", Local("b"))
