"""Types that go on the wire as another one."""

from __future__ import annotations

import datetime
import ipaddress
import pathlib
import uuid
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from roam_trio import DecodeError, EncodeError, SchemaError
from roam_trio.schema import register_wire_type, rpc_plan, shape_of, u8
from roam_trio.schema.convert import converter

from .examples import Tx, hexed


class Celsius:
    def __init__(self, degrees: float) -> None:
        if degrees < -273.15:
            raise ValueError("below absolute zero")
        self.degrees = degrees

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Celsius) and other.degrees == self.degrees

    __hash__ = None  # type: ignore[assignment]


register_wire_type(Celsius, float, unstructure=lambda c: c.degrees, structure=Celsius)


class Family:
    """Its wire type has families in it."""

    def __init__(self, name: str, members: list[Family]) -> None:
        self.name = name
        self.members = members

    def __eq__(self, other: object) -> bool:
        return vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]


register_wire_type(
    Family,
    tuple[str, list[Family]],
    unstructure=lambda family: (family.name, family.members),
    structure=lambda wire: Family(*wire),
)


def test_a_registered_type_travels_as_its_wire_type() -> None:
    plan = rpc_plan(list[Celsius])
    pieces = plan.encode([Celsius(1.0)])
    assert hexed(pieces) == "01 00 00 00 00 00 00 f0 3f"
    assert plan.decode(b"".join(pieces)) == [Celsius(1.0)]


def test_a_wire_type_may_have_the_type_in_it() -> None:
    plan = rpc_plan(Family)
    family = Family("a", [Family("b", []), Family("c", [])])
    encoded = b"".join(plan.encode(family))
    assert encoded.hex(" ") == "01 61 02 01 62 00 01 63 00"
    assert plan.decode(encoded) == family


def test_the_hooks_are_those_of_the_converter() -> None:
    assert converter.unstructure(Celsius(2.0)) == 2.0
    assert converter.structure(2.0, Celsius) == Celsius(2.0)
    assert converter.unstructure(Decimal("1.5")) == "1.5"


def test_a_hook_that_refuses_is_an_error_with_a_path_and_a_cause() -> None:
    plan = rpc_plan(list[Celsius])
    absolute_zero = b"".join(rpc_plan(list[float]).encode([0.0, -300.0]))
    with pytest.raises(DecodeError) as caught:
        plan.decode(absolute_zero)
    assert str(caught.value) == (
        "Celsius was not structured from -300.0 (float): "
        "ValueError: below absolute zero - at $[1]"
    )
    assert isinstance(caught.value.__cause__, ValueError)
    broken = Celsius(0)
    del broken.degrees
    with pytest.raises(EncodeError, match="Celsius was not unstructured: Attribute"):
        plan.encode([broken])
    with pytest.raises(EncodeError, match=r"expected Celsius, got 1\.0"):
        plan.encode([1.0])  # type: ignore[list-item]


def test_an_unhashable_class_is_no_item_of_a_set() -> None:
    with pytest.raises(SchemaError, match="Celsius is not"):
        rpc_plan(set[Celsius])
    rpc_plan(set[uuid.UUID])


def test_a_wire_type_without_channels_only() -> None:
    class Streaming:
        pass

    register_wire_type(
        Streaming, Tx[u8], unstructure=lambda _: None, structure=lambda _: Streaming()
    )
    with pytest.raises(SchemaError, match="in the wire type of another type"):
        rpc_plan(Streaming)


def test_subclasses_of_a_registered_class_are_not_registered() -> None:
    class Kelvin(Celsius):
        pass

    with pytest.raises(SchemaError, match="Kelvin has no wire form"):
        shape_of(Kelvin)
    # But their instances are instances of it.
    assert hexed(rpc_plan(Celsius).encode(Kelvin(1.0))).endswith("f0 3f")


@pytest.mark.parametrize(
    ("type_", "given"),
    [
        (datetime.datetime, "yesterday"),
        (datetime.date, "2024-02-30"),
        (Decimal, "one"),
        (ipaddress.IPv4Address, None),
    ],
)
def test_bytes_that_mean_nothing_are_refused(type_: Any, given: Any) -> None:
    encoded = b"" if given is None else b"".join(rpc_plan(str).encode(given))
    with pytest.raises(DecodeError):
        rpc_plan(type_).decode(encoded)


@pytest.mark.parametrize(
    ("type_", "value", "problem"),
    [
        (datetime.date, datetime.datetime(2024, 1, 1), "would lose its time of day"),
        (datetime.timedelta, datetime.timedelta.max, "expected i64"),
        (ipaddress.IPv6Address, ipaddress.IPv6Address("fe80::1%eth0"), "scope"),
        (ipaddress.IPv4Address, ipaddress.IPv6Address("::1"), "expected IPv4Address"),
        (pathlib.Path, "a/b", "expected Path"),
        (pathlib.Path, pathlib.Path("\udc80"), "lone surrogates"),
        (Decimal, Fraction(1, 2), "expected Decimal"),
    ],
)
def test_what_would_not_come_back_is_not_sent(
    type_: Any, value: Any, problem: str
) -> None:
    with pytest.raises(EncodeError, match=problem):
        rpc_plan(type_).encode(value)
