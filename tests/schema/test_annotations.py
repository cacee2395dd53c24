"""Forms of annotations that are newer than others, and what they mean on the wire."""

from __future__ import annotations

import dataclasses
import typing
from typing import Annotated, Any, Final, Generic, Protocol, TypeVar, Unpack

import attrs
import msgspec
import pytest
import typing_extensions
from typing_extensions import ReadOnly, TypeAliasType

from roam_trio import Rx, SchemaError, describe, service
from roam_trio.codec import rpc_plan
from roam_trio.schema import Length, shape_of, u8, u16, u32

from .examples import hexed

T = typing_extensions.TypeVar("T", default=u8)
U = typing_extensions.TypeVar("U", default=T)
L = typing_extensions.TypeVar("L", default=list[T])
N = typing_extensions.TypeVar("N", default="Named")
R = typing_extensions.TypeVar("R", default="Endless")
K = TypeVar("K")


@attrs.frozen
class AttrsBox(Generic[T]):
    value: T


@dataclasses.dataclass
class DataBox(Generic[T]):
    value: T


class MsgspecBox(msgspec.Struct, Generic[T]):
    value: T


@attrs.frozen
class Pair(Generic[T, U]):
    left: T
    right: U


@attrs.frozen
class Keyed(Generic[K, T]):
    key: K
    value: T


@attrs.frozen
class Named:
    name: str


@attrs.frozen
class Naming(Generic[N]):
    named: N


@attrs.frozen
class Chain(Generic[T]):
    value: T
    next: Chain[T] | None = None


@attrs.frozen
class Loop(Generic[T]):
    value: T
    next: Loop | None = None  # type: ignore[type-arg]


@attrs.frozen
class BoxOfDefault(AttrsBox):  # type: ignore[type-arg]
    more: T


@attrs.frozen
class PairOfDefaults(Pair):  # type: ignore[type-arg]
    pass


@attrs.frozen
class Endless(Generic[R]):
    value: R


Several = TypeAliasType("Several", list[T], type_params=(T,))


@attrs.frozen
class AttrsFinal:
    number: Final[u8]
    text: Annotated[Final[str], "said of the field"]
    items: Final[Annotated[list[u8], Length(2)]]


@dataclasses.dataclass
class DataFinal:
    number: Final[u8]
    text: ReadOnly[str]
    items: Annotated[ReadOnly[list[u8]], Length(2)]


class MsgspecFinal(msgspec.Struct):
    number: Final[u8]
    text: Final[str]
    items: ReadOnly[Annotated[list[u8], Length(2)]]


@dataclasses.dataclass
class NotFinal:
    number: u8
    text: str
    items: Annotated[list[u8], Length(2)]


@attrs.frozen
class Untyped:
    number: Final = 3  # type: ignore[misc]


def signature(annotation: Any) -> bytes:
    return rpc_plan(annotation).signature


@pytest.mark.parametrize("cls", [AttrsFinal, DataFinal, MsgspecFinal])
def test_what_is_said_of_a_field_is_seen_through(cls: Any) -> None:
    assert signature(cls) == signature(NotFinal)
    plan = rpc_plan(cls)
    encoded = plan.encode(cls(1, "a", [2, 3]))
    assert hexed(encoded) == "01 01 61 02 03"
    assert plan.decode(b"".join(encoded)).items == [2, 3]


@pytest.mark.parametrize("form", [Final[u16], ReadOnly[u16]])
def test_what_is_said_of_a_field_is_no_part_of_its_type(form: Any) -> None:
    assert shape_of(form) == shape_of(u16)
    assert shape_of(list[form]) == shape_of(list[u16])


def test_the_form_of_the_standard_library_is_seen_through() -> None:
    form: Any = getattr(typing, "ReadOnly", ReadOnly)  # of 3.13
    assert shape_of(form[u16]) == shape_of(u16)


def test_final_without_a_type_is_refused() -> None:
    with pytest.raises(SchemaError, match=r"number: .*write the type that is meant"):
        rpc_plan(Untyped)


@pytest.mark.parametrize("cls", [AttrsBox, DataBox, MsgspecBox])
def test_a_parameter_that_is_left_out_is_its_default(cls: Any) -> None:
    assert shape_of(cls) == shape_of(cls[u8])
    assert signature(cls) != signature(cls[u16])
    plan = rpc_plan(cls)
    encoded = plan.encode(cls(7))
    assert hexed(encoded) == "07"
    assert plan.decode(b"".join(encoded)) == cls(7)
    with pytest.raises(Exception, match="expected u8"):
        plan.encode(cls(256))


def test_a_default_may_be_another_parameter() -> None:
    assert shape_of(Pair) == shape_of(Pair[u8, u8])
    pair: Any = Pair
    assert shape_of(pair[u16]) == shape_of(pair[u16, u16])
    assert signature(pair[u16]) != signature(pair[u16, u8])
    keyed: Any = Keyed
    assert shape_of(keyed[str]) == shape_of(keyed[str, u8])


@attrs.frozen
class Listed(Generic[T, L]):
    first: T
    others: L


@attrs.frozen
class Around(Generic[T]):
    own: T
    listed: Listed[str]


def test_a_default_may_be_made_of_another_parameter() -> None:
    listed: Any = Listed
    assert shape_of(listed) == shape_of(listed[u8, list[u8]])
    assert shape_of(listed[str]) == shape_of(listed[str, list[str]])
    around: Any = Around
    assert record(around[u16])[1].shape == shape_of(listed[str, list[str]])


def test_none_is_an_argument_like_any_other() -> None:
    keyed: Any = Keyed
    assert shape_of(keyed[None, None]) != shape_of(keyed[None, u8])
    plain: Any = Plain
    assert record(plain[None])[0].shape == shape_of(None)


@attrs.frozen
class Plain(Generic[K]):
    only: K


def test_a_base_class_has_the_defaults_of_its_parameters() -> None:
    assert [field.shape for field in record(BoxOfDefault)] == [shape_of(u8)] * 2
    assert [field.shape for field in record(PairOfDefaults)] == [shape_of(u8)] * 2


def record(cls: Any) -> Any:
    shape: Any = shape_of(cls)
    return shape.record.fields


def test_a_default_may_be_a_name() -> None:
    assert shape_of(Naming) == shape_of(Naming[Named])


def test_a_class_with_defaults_that_refers_to_itself_is_one_type() -> None:
    assert shape_of(Chain) == shape_of(Chain[u8])
    assert signature(Chain) == signature(Chain[u8])
    assert shape_of(Loop) == shape_of(Loop[u8])
    value: Any = Chain(1, Chain(2))
    assert hexed(rpc_plan(Chain).encode(value)) == "01 01 02 00"


def test_an_alias_has_the_defaults_of_its_parameters() -> None:
    assert shape_of(Several) == shape_of(list[u8])
    assert shape_of(Several[u16]) == shape_of(list[u16])


def test_defaults_without_end_are_refused() -> None:
    with pytest.raises(SchemaError, match="refers to itself"):
        rpc_plan(Endless)


def test_a_parameter_without_default_is_still_asked_for() -> None:
    keyed: Any = Keyed
    with pytest.raises(SchemaError, match="the type variable ~K has no value"):
        rpc_plan(keyed)


@service
class Boxes(Protocol):
    async def swap(self, box: AttrsBox, rest: Rx[Pair]) -> MsgspecBox: ...  # type: ignore[type-arg]


@service(name="Boxes")
class BoxesOfBytes(Protocol):
    async def swap(
        self, box: AttrsBox[u8], rest: Rx[Pair[u8, u8]]
    ) -> MsgspecBox[u8]: ...


def test_a_method_has_the_id_of_the_types_that_are_meant() -> None:
    (left,), (right,) = describe(Boxes).methods, describe(BoxesOfBytes).methods
    assert left.id == right.id


UNPACK: Any = Unpack
Ts = typing_extensions.TypeVarTuple("Ts")

UNPACKED: list[Any] = [
    tuple[int, *tuple[str, ...]],
    tuple[int, UNPACK[tuple[str, ...]]],
    tuple[*tuple[str, ...], int],
    tuple[*tuple[str, ...]],
    tuple[int, *tuple[str, u8]],
    tuple[int, *tuple[str, *tuple[u8, ...]]],
]


@pytest.mark.parametrize("annotation", UNPACKED)
def test_an_unpacked_part_of_a_tuple_is_refused(annotation: Any) -> None:
    for form in (annotation, list[annotation], Annotated[annotation, 1]):
        with pytest.raises(SchemaError, match=r"\*tuple\[str.*has no wire form; write"):
            rpc_plan(form)


def test_a_tuple_in_a_tuple_is_still_one() -> None:
    plan = rpc_plan(tuple[u32, tuple[str, ...]])
    assert plan.decode(b"".join(plan.encode((1, ("a",))))) == (1, ("a",))


def test_unpacked_parameters_are_refused() -> None:
    annotation: Any = tuple[int, UNPACK[Ts]]
    with pytest.raises(SchemaError, match="has no wire form"):
        rpc_plan(annotation)
