"""Types that lead to one another in many ways take as long as there are types."""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Mapping
from typing import Any, Generic, TypeVar

import msgspec
import pytest
from typing_extensions import TypeAliasType

from roam_trio import SchemaError, Tx, rpc_plan
from roam_trio.schema import derive, finished, signature, u8
from roam_trio.schema.shape import (
    RefShape,
    Shape,
    StructShape,
    TupleShape,
    children,
    levels,
)
from roam_trio.schema.signature import _level, _parts
from roam_trio.wire.varint import varint

from .graphs import complete, graph, ladder

T = TypeVar("T")


class Doubling(msgspec.Struct, Generic[T]):
    value: T
    next: Doubling[tuple[T, T]] | None


class Branching(msgspec.Struct, Generic[T]):
    left: Branching[list[T]] | None
    right: Branching[set[T]] | None


def plainly(type_: Any) -> bytes:
    """The signature, written out as the rules of the protocol say, without a thought of
    what it takes."""
    shape = rpc_plan(type_).shape
    known = levels(shape)

    def write(parts: Any, around: list[str]) -> bytes:
        out = b""
        for part in parts:
            if isinstance(part, bytes):
                out += part
            elif part in around:
                out += b"\x32" + varint(around[::-1].index(part))
            else:
                out += write(_level(known[part]), [*around, part])
        return out

    return write(_parts(shape), [])


@pytest.mark.parametrize(
    "edges",
    [
        pytest.param({"C0": ["C1 | None"] * 2, "C1": ["C0 | None"]}, id="two"),
        pytest.param(
            {
                "C0": ["C1", "C2", "list[C1]"],
                "C1": ["C2 | None"],
                "C2": ["list[C1]", "C3"],
                "C3": ["tuple[C4, C4]"],
                "C4": ["int"],
            },
            id="one circle within another type",
        ),
        pytest.param(
            {"C0": ["C1", "C1"], "C1": ["C2", "C2"], "C2": ["C1 | None", "int"]},
            id="a circle twice",
        ),
        pytest.param(
            {"C0": ["tuple[C1, C0] | None"] * 2, "C1": ["tuple[C1, C0] | None"]},
            id="through tuples",
        ),
    ],
)
def test_signatures_are_those_of_all_types_written_out(
    edges: Mapping[str, list[str]],
) -> None:
    types = graph(edges)
    for name in edges:
        assert rpc_plan(types[name]).signature == plainly(types[name])
        both: Any = types[name] | None, types["C0"]
        both = tuple[both]
        assert rpc_plan(both).signature == plainly(both)


@pytest.mark.rule("signature.recursive.stack")
def test_the_signature_of_a_complete_graph_has_not_changed() -> None:
    # As it was when each class was derived anew for each way to it.
    for count, size, digest in (
        (3, 92, "8a6e0a3afe5a015f"),
        (5, 1952, "3a2e8a4100a5441c"),
        (7, 82196, "485f03a868ed030c"),
    ):
        signature = rpc_plan(complete(count)["C0"]).signature
        assert len(signature) == size
        assert hashlib.sha256(signature).hexdigest().startswith(digest)


def visits(monkeypatch: pytest.MonkeyPatch, type_: Any) -> int:
    """How many types are looked at to derive one."""
    made: list[Any] = []
    shape = derive._Deriver.shape

    def counted(self: Any, closed: Any, place: Any) -> Any:
        made.append(closed)
        return shape(self, closed, place)

    monkeypatch.setattr(derive._Deriver, "shape", counted)
    rpc_plan(type_)
    return len(made)


def test_a_class_is_derived_once_for_each_set_of_those_around_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # An option and a class for each of the fields, and not one for each way there.
    assert visits(monkeypatch, complete(8)["C0"]) <= 1 + 2 * 8 * (8 * 2**7)
    assert visits(monkeypatch, ladder(18)["C0"]) <= 1 + 2 * 18


def test_a_reference_is_to_a_level_around_it() -> None:
    types = graph(
        {
            "C0": ["C1", "C2", "list[C3]"],
            "C1": ["C2 | None", "C3 | None"],
            "C2": ["list[C1]", "C3", "C2 | None"],
            "C3": ["C2 | None", "tuple[C1, C3] | None"],
        }
    )

    def check(shape: Shape, around: tuple[str, ...]) -> None:
        if isinstance(shape, RefShape):
            assert shape.name in around
        elif isinstance(shape, TupleShape | StructShape):
            assert shape.name not in around
            around = (*around, shape.name)
        for each in children(shape):
            check(each, around)

    check(rpc_plan(types["C0"]).shape, ())


def test_values_of_classes_that_lead_to_each_other_come_back() -> None:
    types = complete(8)
    plan = rpc_plan(types["C3"])
    inner = types["C1"](None, None, types["C2"](*[None] * 8), *[None] * 5)
    middle = types["C0"](None, inner, *[None] * 6)
    value = types["C3"](middle, *[None] * 7)
    assert plan.decode(b"".join(plan.encode(value))) == value


@pytest.mark.slow
@pytest.mark.parametrize("count", [10, 12, 25])
def test_too_many_classes_that_refer_to_one_another_are_refused(count: int) -> None:
    with pytest.raises(SchemaError, match=r"\d+ types refer to one another") as e:
        rpc_plan(complete(count)["C0"])
    assert e.value.path.startswith("C0")
    if count < 11:
        assert "C0, C1, C2" in e.value.problem
        assert "16777216 bytes" in e.value.problem


def test_classes_whose_signature_grows_too_long_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(signature, "MAX_SIGNATURE", 100_000)
    rpc_plan(complete(7)["C0"])  # has 82196 bytes
    with pytest.raises(SchemaError, match="8 types refer to one another") as caught:
        rpc_plan(complete(8)["C0"])
    assert caught.value.path.startswith("C0")
    assert "C0, C1, C2" in caught.value.problem
    assert "has more than 100000 bytes" in caught.value.problem


def test_classes_that_are_made_again_too_often_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(finished, "MAX_AGAIN", 500)
    with pytest.raises(SchemaError, match="more ways than can be told apart in time"):
        rpc_plan(complete(25)["C0"])


@pytest.mark.parametrize("count", [30, 60])
def test_classes_that_double_level_by_level_are_refused(count: int) -> None:
    with pytest.raises(SchemaError, match="hold one another more than once"):
        rpc_plan(ladder(count)["C0"])


def test_the_same_in_tuples_aliases_and_keys_is_refused() -> None:
    tuples: Any = u8
    alias: Any = u8
    for _ in range(60):
        tuples = tuple[tuples, tuples]
        alias = TypeAliasType("alias", tuple[alias, alias])  # type: ignore[misc]

    holders = graph({"Holder": ["Part"]})
    holders["Part"] = tuples
    for type_ in (tuples, alias, set[tuples], holders["Holder"]):
        with pytest.raises(SchemaError, match="at most 4096 may stand in one"):
            rpc_plan(type_)


@pytest.mark.parametrize("type_", [Doubling[u8], Branching[u8]])
def test_a_generic_that_grows_is_refused(type_: Any) -> None:
    with pytest.raises(SchemaError, match=r"grows to|nested more than 64") as caught:
        rpc_plan(type_)
    assert "next" in caught.value.path or "left" in caught.value.path
    assert len(str(caught.value)) < 5000


def test_channels_of_a_value_are_bounded() -> None:
    edges = {f"C{n}": [f"C{n + 1} | None"] * 2 for n in range(14)}
    types = graph(edges | {"C14": ["Tx[int]"]})
    types["Tx"] = Tx
    with pytest.raises(
        SchemaError, match=r"could hold 16384 channels, and at most 4096"
    ):
        rpc_plan(types["C0"])
    assert len(rpc_plan(types["C2"]).channels) == 4096


def test_what_may_not_stand_in_one_place_is_found_in_the_second() -> None:
    types = graph({"C0": ["C1", "list[C1]"], "C1": ["list[None]"]})
    with pytest.raises(SchemaError, match="items without bytes") as caught:
        rpc_plan(types["C0"])
    assert caught.value.path == "C0.f1[0].f0"
    types = graph({"C0": ["C1", "list[C1]"], "C1": ["Tx[int]"]})
    types["Tx"] = Tx
    with pytest.raises(SchemaError, match="a channel cannot be in a list") as caught:
        rpc_plan(types["C0"])
    assert caught.value.path == "C0.f1[0].f0"
    # C1 is in itself by way of C2, which is derived in it first.
    types = graph(
        {"C0": ["C2", "C1"], "C1": ["C2 | None"], "C2": ["C1 | None", "list[None]"]}
    )
    with pytest.raises(SchemaError, match="items without bytes"):
        rpc_plan(types["C0"])


class Counting(str):
    """A name that counts how often it is compared."""

    __slots__ = ()
    compared = 0

    def __eq__(self, other: object) -> bool:
        Counting.compared += 1
        return str.__eq__(self, other)

    __hash__ = str.__hash__


def test_distinctness_takes_a_comparison_for_each_name() -> None:
    names = [Counting(f"V{index}") for index in range(20_000)]
    Counting.compared = 0
    derive._require_distinct(names, "variants", derive.Place("E", None))
    assert Counting.compared < 20_000
    with pytest.raises(SchemaError, match="two variants are named 'V7' on the wire"):
        derive._require_distinct([*names, "V7"], "variants", derive.Place("E", None))


def test_enums_and_unions_can_be_large() -> None:
    members = enum.Enum("Members", [f"M{index}" for index in range(5_000)])  # type: ignore[misc]
    plan = rpc_plan(members)
    last = list(members)[-1]
    assert plan.decode(b"".join(plan.encode(last))) is last
    types = graph({f"V{index}": ["int"] for index in range(300)})
    variants = [types[f"V{index}"] for index in range(300)]
    union: Any = variants[0]
    for each in variants[1:]:
        union |= each
    value = variants[-1](5)
    encoded = b"".join(rpc_plan(union).encode(value))
    assert rpc_plan(union).decode(encoded) == value
