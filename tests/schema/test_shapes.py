"""Which shape an annotation has, however it is spelled."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, ClassVar, Generic, Optional, Self, TypeVar, Union

import attrs
import msgspec
import pytest
from typing_extensions import TypeAliasType

from roam_trio import SchemaError
from roam_trio.codec import args_plan, rpc_plan
from roam_trio.schema import (
    ArrayShape,
    Credit,
    IntShape,
    Length,
    ListShape,
    OptionShape,
    RefShape,
    StrShape,
    StructShape,
    UnionShape,
    i64,
    shape_of,
    u8,
    u16,
    u32,
)
from roam_trio.schema.annotations import normalise, type_name

from .examples import (
    AttrsPage,
    Circle,
    DataPage,
    Expr,
    MsgspecPage,
    Num,
    Pair,
    Point,
    Tx,
    hexed,
)

T = TypeVar("T")
K = TypeVar("K")

Alias = TypeAliasType("Alias", u16)
Listed = TypeAliasType("Listed", list[T], type_params=(T,))
Quoted = TypeAliasType("Quoted", "Later | None")


class Later(msgspec.Struct):
    again: Quoted


class Mapping(msgspec.Struct, Generic[K, T]):
    pairs: dict[K, T]


class ByName(Mapping[str, T], Generic[T]):
    extra: T


class Counts(ByName[u16]):
    more: u8


@attrs.define
class Linked:
    value: u8
    next: Self | None = None


class FirstKeyword(msgspec.Struct, kw_only=True):
    first: u8


class ThenPositional(FirstKeyword):
    second: str


class Outer(msgspec.Struct):
    class Nested(msgspec.Struct):
        x: u8

    nested: Nested
    int: u8
    list: list[u8]


@attrs.define
class OldStyle:
    x = attrs.field(type=list[u8])


@dataclasses.dataclass
class WithDefaults:
    x: u8 = 1
    y: ClassVarless = dataclasses.field(default_factory=lambda: ClassVarless())


@dataclasses.dataclass
class Constants:
    x: u8
    limit: ClassVar[int] = 3


class Derived(Constants):
    other: ClassVar = 4
    third: "ClassVar[int]" = 5  # noqa: UP037


@dataclasses.dataclass
class ClassVarless:
    pass


def round_trip(type_: Any, value: Any) -> str:
    plan = rpc_plan(type_)
    encoded = plan.encode(value)
    assert plan.decode(b"".join(encoded)) == value
    return hexed(encoded)


def test_spellings_of_one_type_have_one_plan() -> None:
    assert rpc_plan(Optional[u8]) is rpc_plan(u8 | None)  # noqa: UP045
    assert rpc_plan(Union[None, u8]) is rpc_plan(u8 | None)  # noqa: UP007
    assert rpc_plan(Alias) is rpc_plan(u16)
    assert rpc_plan(Listed[u8]) is rpc_plan(list[u8])
    assert rpc_plan(Annotated[u8, "a remark"]) is rpc_plan(u8)
    assert rpc_plan(Annotated[list[int], ["unhashable"]]) is rpc_plan(list[int])
    assert rpc_plan(None) is rpc_plan(type(None))


def test_the_order_of_a_union_makes_another_type() -> None:
    # Though Python takes the two for equal.
    one: Any = Point | Circle
    other: Any = Circle | Point
    assert one == other
    assert rpc_plan(one) is not rpc_plan(other)
    assert round_trip(one, Point(0, 0)) == "00 00 00"
    assert round_trip(other, Point(0, 0)) == "01 00 00"
    assert round_trip(list[one], [Point(0, 0)]) == "01 00 00 00"
    assert round_trip(list[other], [Point(0, 0)]) == "01 01 00 00"


def test_none_takes_no_part_in_the_order_of_a_union() -> None:
    shape = shape_of(Point | None | Circle)
    assert isinstance(shape, OptionShape)
    assert isinstance(shape.inner, UnionShape)
    assert [variant.name for variant in shape.inner.variants] == ["Point", "Circle"]


def test_a_quoted_alias_is_resolved_in_its_module() -> None:
    assert round_trip(Quoted, Later(Later(None))) == "01 01 00"


def test_an_alias_with_too_few_parameters_is_refused() -> None:
    with pytest.raises(SchemaError):
        shape_of(TypeAliasType("Two", dict[K, T], type_params=(K, T))[u8])


def test_type_variables_stand_for_what_subclasses_give_them() -> None:
    assert round_trip(Mapping[str, u8], Mapping({"a": 1})) == "01 01 61 01"
    assert round_trip(ByName[u8], ByName({"a": 1}, 2)) == "01 01 61 01 02"
    assert round_trip(Counts, Counts({"a": 128}, 1, 2)) == "01 01 61 80 01 01 02"


@pytest.mark.parametrize("page", [MsgspecPage, AttrsPage, DataPage])
def test_generic_classes_take_any_type(page: Any) -> None:
    assert round_trip(page[u16 | None], page([None, 1])) == "02 00 01 01 00"
    assert round_trip(page[page[u8]], page([page([1])])) == "01 01 01 00 00"
    assert round_trip(page[Expr], page([Num(1)])) == "01 00 02 00"


def test_self_is_the_class_it_stands_in() -> None:
    assert round_trip(Linked, Linked(1, Linked(2))) == "01 01 02 00"


def test_fields_go_in_the_order_of_declaration() -> None:
    # msgspec itself takes the field of the base class by keyword, and last.
    assert ThenPositional.__struct_fields__ == ("second", "first")
    value = ThenPositional("a", first=7)
    assert round_trip(ThenPositional, value) == "07 01 61"


def test_names_of_fields_do_not_hide_types() -> None:
    assert round_trip(Outer, Outer(Outer.Nested(1), 2, [3])) == "01 02 01 03"


def test_a_type_given_to_an_attrs_field_counts() -> None:
    assert round_trip(OldStyle, OldStyle([1])) == "01 01"


def test_defaults_do_not_matter() -> None:
    assert round_trip(WithDefaults, WithDefaults()) == "01"


def test_markers_of_several_annotations_add_up() -> None:
    inner = Annotated[list[u8], Length(3)]
    assert shape_of(Annotated[inner, "a remark"]) == shape_of(inner)
    once = shape_of(Annotated[Annotated[Tx[u8], Credit(1)], Credit(2)])
    assert once == shape_of(Annotated[Tx[u8], Credit(2)])


def test_integers_know_their_range() -> None:
    assert (IntShape("i8", 8, True).minimum, IntShape("i8", 8, True).maximum) == (
        -128,
        127,
    )
    assert shape_of(int) == shape_of(i64)


def test_shapes_are_plain_data() -> None:
    shape = shape_of(list[Linked])
    assert shape == shape_of(list[Linked])
    assert isinstance(shape, ListShape)
    linked = shape.item
    assert isinstance(linked, StructShape)
    assert [field.attribute for field in linked.record.fields] == ["value", "next"]
    assert linked.record.fields[1].shape == OptionShape(RefShape("Linked"))
    assert shape_of(Annotated[bytes, Length(3)]) == ArrayShape(
        IntShape("u8", 8, False), 3, "bytes"
    )


def test_class_variables_are_no_fields() -> None:
    assert round_trip(Constants, Constants(1)) == "01"
    assert round_trip(Derived, Derived(1)) == "01"
    evaluated = {"__annotations__": {"limit": ClassVar[int]}}
    evaluated_class = type("Evaluated", (Constants,), evaluated)
    assert round_trip(evaluated_class, evaluated_class(1)) == "01"


def test_a_marker_on_an_alias_wins_over_the_one_within() -> None:
    alias = TypeAliasType("alias", Annotated[Tx[u8], Credit(1)])
    assert shape_of(Annotated[alias, Credit(2)]) == shape_of(
        Annotated[Tx[u8], Credit(2)]
    )


def test_levels_of_one_name_are_told_apart() -> None:
    def make(fields: Any) -> Any:
        return msgspec.defstruct("Same", fields)

    first, second = make([("x", u8)]), make([("x", str)])
    plan = rpc_plan(tuple[first, second, first])
    value = (first(1), second("a"), first(2))
    assert hexed(plan.encode(value)) == "01 01 61 02"
    assert plan.decode(b"\x01\x01a\x02") == value


def test_a_type_is_named_as_it_is_written() -> None:
    for annotation, name in [
        (u8, "u8"),
        (list[u32], "list[u32]"),
        (dict[str, u8 | None], "dict[str, u8 | None]"),
        (tuple[int, ...], "tuple[int, ...]"),
        (AttrsPage[Pair], "AttrsPage[Pair]"),
        (Any, "Any"),
        ("X", "'X'"),
        (Annotated[bytes, Length(2)], "bytes"),
    ]:
        assert type_name(annotation) == name
        closed = normalise(annotation)
        assert type_name(closed) == name
        assert normalise(closed) == closed


def test_the_arguments_of_a_method_are_a_tuple() -> None:
    plan = args_plan([u8, str], ["n", "text"], "Service.method")
    assert hexed(plan.encode((1, "a"))) == "01 01 61"
    assert plan.decode(b"\x01\x01a") == (1, "a")
    assert args_plan([], [], "Service.method").decode(b"") == ()
    assert repr(plan) == "<RpcPlan tuple[u8, str]>"
    assert shape_of(str) == StrShape()
