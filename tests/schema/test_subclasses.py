"""Instances of derived classes: sent as their base, or refused if they hold more."""

from __future__ import annotations

import dataclasses
from functools import cached_property
from typing import Any, ClassVar, Generic, TypeVar
from unittest.mock import Mock

import attrs
import msgspec
import pytest

from roam_trio import EncodeError
from roam_trio.codec import RpcPlan, rpc_plan
from roam_trio.codec.interpret import interpret_encode
from roam_trio.schema import transparent, u8

from .examples import hexed

T = TypeVar("T")


@attrs.frozen
class AttrsBase:
    x: u8


@attrs.frozen(slots=False)
class DictBase:
    x: u8


@dataclasses.dataclass
class DataBase:
    x: u8


class MsgspecBase(msgspec.Struct):
    x: u8


@transparent
@attrs.frozen
class TransparentBase:
    x: u8


@attrs.frozen
class GenericBase(Generic[T]):
    x: T


@attrs.frozen
class Failure(Exception):
    x: u8


@attrs.frozen
class Other:
    text: str


@attrs.frozen
class AttrsMore(AttrsBase):
    y: u8 = 2


@attrs.frozen(slots=False)
class DictMore(DictBase):
    y: u8 = attrs.field(init=False, default=2)


@dataclasses.dataclass
class DataMore(DataBase):
    y: u8 = 2


class MsgspecMore(MsgspecBase):
    y: u8 = 2


@attrs.frozen
class TransparentMore(TransparentBase):
    y: u8 = 2


@attrs.frozen
class GenericMore(GenericBase[u8]):
    y: u8 = 2


@attrs.frozen
class FailureMore(Failure):
    y: u8 = 2


class Written(DictBase):
    def __init__(self, x: int) -> None:
        super().__init__(x)
        self.__dict__["y"] = 2


class Slotted(DataBase):
    __slots__ = ("y",)

    def __init__(self, x: int) -> None:
        super().__init__(x)
        self.y = 2


class Annotating(DataBase):
    y: u8 = 2


class MoreTwice(DataMore):
    pass


MORE: list[tuple[Any, Any]] = [
    (AttrsBase, AttrsMore(1)),
    (DictBase, DictMore(1)),
    (DataBase, DataMore(1)),
    (DataBase, MoreTwice(1)),
    (MsgspecBase, MsgspecMore(1)),
    (TransparentBase, TransparentMore(1)),
    (GenericBase[u8], GenericMore(1)),
    (Failure, FailureMore(1)),
    (DictBase, Written(1)),
    (DataBase, Slotted(1)),
    (DataBase, Annotating(1)),
]


def problems(type_: Any, value: Any) -> list[str]:
    """What the codec and the interpreter say of a value."""
    plan = rpc_plan(type_)
    found: list[str] = []
    for encode in (plan.encode, lambda value: interpret_encode(plan.shape, value)):
        with pytest.raises(EncodeError) as caught:
            encode(value)
        found.append(str(caught.value))
    return found


@pytest.mark.parametrize(("type_", "value"), MORE)
def test_an_instance_with_more_fields_is_refused_by_its_class(
    type_: Any, value: Any
) -> None:
    name = type(value).__qualname__
    text = f"got {name}, which has more fields ('y'): they would be lost"
    for given, place in (
        (problems(type_, value), ""),
        (problems(list[type_], [value]), "$[0]"),
        (problems(dict[u8, type_ | None], {1: value}), "$[1]"),
        (problems(type_ | Other, value), ""),
        (problems(tuple[u8, type_], (1, value)), "$[1]"),
    ):
        assert given[0] == given[1]
        assert text in given[0]
        assert place in given[0]


class Plain(AttrsBase):
    kind: ClassVar[str] = "plain"

    @property
    def double(self) -> int:
        return 2 * self.x


@attrs.frozen
class Cached(AttrsBase):
    @cached_property
    def double(self) -> int:
        return 2 * self.x


class CachedByHand(DictBase):
    def __init__(self, x: int) -> None:
        super().__init__(x)
        self.__dict__["_private"] = 1

    @cached_property
    def double(self) -> int:
        return 2 * self.x


@dataclasses.dataclass
class Named(DataBase):
    def double(self) -> int:
        return 2 * self.x


class NamedStruct(MsgspecBase):
    pass


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        (AttrsBase, Plain(1)),
        (AttrsBase, Cached(1)),
        (DictBase, CachedByHand(1)),
        (DataBase, Named(1)),
        (MsgspecBase, NamedStruct(1)),
        (MsgspecBase | Other, NamedStruct(1)),
    ],
)
def test_an_instance_without_more_fields_is_sent_as_its_base(
    type_: Any, value: Any
) -> None:
    getattr(value, "double", None)
    plan = rpc_plan(type_)
    encoded = hexed(plan.encode(value))
    assert encoded.endswith("01")
    assert encoded == interpret_encode(plan.shape, value).hex(" ")


def test_a_union_with_the_derived_class_sends_all_of_it() -> None:
    plan: RpcPlan[Any] = rpc_plan(AttrsBase | AttrsMore)
    value = AttrsMore(1, 7)
    assert plan.decode(b"".join(plan.encode(value))) == value


def test_a_double_that_says_it_is_an_instance_is_sent() -> None:
    double: Any = Mock(spec=AttrsBase, x=1)
    assert hexed(rpc_plan(AttrsBase).encode(double)) == "01"


class Documented(DataBase):
    """Its slot is none that is public."""

    __slots__ = ("_cache",)


def test_private_slots_are_no_fields() -> None:
    assert b"".join(rpc_plan(DataBase).encode(Documented(1))) == b"\x01"
