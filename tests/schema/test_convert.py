"""Types that go on the wire as another one."""

from __future__ import annotations

import datetime
import ipaddress
import os
import pathlib
import uuid
import zoneinfo
from decimal import Decimal
from fractions import Fraction
from typing import Any

import attrs
import cattrs
import pytest

from roam_trio import DecodeError, EncodeError, SchemaError
from roam_trio.codec import rpc_plan
from roam_trio.codec.interpret import interpret_encode
from roam_trio.schema import register_wire_type, shape_of, u8
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


@attrs.frozen
class Money:
    """Has hooks in a converter of its own."""

    cents: int


@attrs.frozen
class Price:
    """Goes as a dict, in which there is money."""

    name: str
    money: Money


@attrs.frozen
class Label:
    text: str = ""


class NoOffset(datetime.tzinfo):
    """A zone that does not know its offset."""

    def utcoffset(self, dt: datetime.datetime | None) -> None:
        return None


class Frozen(datetime.datetime):
    """Holds no more than its base."""


class Precise(datetime.datetime):
    """Holds nanoseconds, as the timestamps of pandas do."""

    nanosecond = 1

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Precise) and super().__eq__(other)

    __hash__ = datetime.datetime.__hash__


class PreciseDelta(datetime.timedelta):
    """As `Precise`."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PreciseDelta) and super().__eq__(other)

    __hash__ = datetime.timedelta.__hash__


SECOND_TIME = datetime.datetime(2024, 10, 27, 2, 30, fold=1)
FOREIGN_PATH = (
    pathlib.PureWindowsPath("a\\b")
    if os.name == "posix"
    else pathlib.PurePosixPath("a\\b")
)


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
    assert converter().unstructure(Celsius(2.0)) == 2.0
    assert converter().structure(2.0, Celsius) == Celsius(2.0)
    assert converter().unstructure(Decimal("1.5")) == "1.5"


def test_a_converter_of_the_program_does_the_structuring() -> None:
    own = cattrs.Converter()
    register_wire_type(Money, str, converter=own)
    register_wire_type(Price, dict[str, str], converter=own)
    # Also hooks that are registered before the first value.
    own.register_unstructure_hook(Money, lambda money: f"{money.cents / 100:.2f}")
    own.register_structure_hook(Money, lambda text, _: Money(round(float(text) * 100)))

    money, price = rpc_plan(Money), rpc_plan(list[Price])
    assert b"".join(money.encode(Money(1250))) == b"\x0512.50"
    assert money.decode(b"\x0512.50") == Money(1250)
    prices = [Price("pen", Money(99)), Price("ink", Money(0))]
    assert price.decode(b"".join(price.encode(prices))) == prices
    wire = {"name": "pen", "money": "0.99"}
    assert b"".join(rpc_plan(dict[str, str]).encode(wire)) == b"".join(
        rpc_plan(Price).encode(prices[0])
    )


def test_a_converter_that_refuses_is_an_error_with_a_path_and_a_cause() -> None:
    own = cattrs.Converter(forbid_extra_keys=True)
    register_wire_type(Label, dict[str, str], converter=own)
    plan = rpc_plan(list[Label])
    encoded = b"".join(rpc_plan(list[dict[str, str]]).encode([{"size": "1"}]))
    with pytest.raises(DecodeError, match=r"Label was not structured.*at \$\[0\]") as e:
        plan.decode(encoded)
    assert isinstance(e.value.__cause__, cattrs.ClassValidationError)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"unstructure": str},
        {"structure": str},
        {"unstructure": str, "structure": str, "converter": cattrs.Converter()},
        {"structure": str, "converter": cattrs.Converter()},
        {"converter": cattrs.Converter},
        {"converter": "converter"},
    ],
)
def test_hooks_or_a_converter_are_expected(given: dict[str, Any]) -> None:
    class Other:
        pass

    with pytest.raises(TypeError, match="register_wire_type: expected"):
        register_wire_type(Other, str, **given)
    with pytest.raises(SchemaError, match="Other has no wire form"):
        shape_of(Other)


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
        (datetime.datetime, SECOND_TIME, "fold=1 would be lost"),
        (datetime.datetime, SECOND_TIME.replace(tzinfo=NoOffset()), "NoOffset has"),
        (datetime.datetime, Precise(2024, 1, 1), "part of the Precise would be lost"),
        (datetime.timedelta, PreciseDelta(1), "part of the PreciseDelta would"),
        (pathlib.PurePath, FOREIGN_PATH, f"{type(FOREIGN_PATH).__name__} would arrive"),
        (pathlib.Path, FOREIGN_PATH, "expected Path"),
        (ipaddress.IPv4Address, ipaddress.ip_interface("10.0.0.1/24"), "IPv4Interface"),
        (ipaddress.IPv6Address, ipaddress.ip_interface("fe80::1/64"), "IPv6Interface"),
    ],
)
def test_what_would_not_come_back_is_not_sent(
    type_: Any, value: Any, problem: str
) -> None:
    plan = rpc_plan(type_)
    for encode in (plan.encode, lambda value: interpret_encode(plan.shape, value)):
        with pytest.raises(EncodeError, match=problem):
            encode(value)


@pytest.mark.parametrize("fold", [0, 1])
def test_a_datetime_in_a_zone_is_the_same_moment_at_a_fixed_offset(fold: int) -> None:
    berlin = zoneinfo.ZoneInfo("Europe/Berlin")
    twice = datetime.datetime(2024, 10, 27, 2, 30, tzinfo=berlin, fold=fold)
    plan = rpc_plan(datetime.datetime)
    frozen = Frozen(2024, 10, 27, 2, 30, tzinfo=berlin, fold=fold)
    for moment in (twice, frozen):
        arrived = plan.decode(b"".join(plan.encode(moment)))
        assert arrived.timestamp() == moment.timestamp()
        assert arrived.utcoffset() == datetime.timedelta(hours=2 - fold)
        assert type(arrived.tzinfo) is datetime.timezone


@pytest.mark.parametrize(
    "text", ["0.10", "-0", "1E+3", "NaN", "-Infinity", "sNaN123", "1e-1000"]
)
def test_a_decimal_keeps_its_digits_and_its_kind(text: str) -> None:
    class Money(Decimal):
        def __str__(self) -> str:
            return f"${super().__str__()}"

    plan = rpc_plan(Decimal)
    value = Decimal(text)
    assert str(plan.decode(b"".join(plan.encode(value)))) == str(value)
    money = Money("0.10")
    assert str(plan.decode(b"".join(plan.encode(money)))) == "0.10"


def test_paths_of_this_system_arrive_as_such() -> None:
    for type_ in (pathlib.PurePath, pathlib.Path):
        plan = rpc_plan(type_)
        path = pathlib.Path("a/b")
        assert plan.decode(b"".join(plan.encode(path))) == path
    pure = pathlib.PurePath("a/b")
    plan = rpc_plan(pathlib.PurePath)
    assert plan.decode(b"".join(plan.encode(pure))) == pure


def test_a_derived_class_that_holds_no_more_is_sent_as_its_base() -> None:
    class Id(uuid.UUID):
        pass

    for type_, value in [
        (uuid.UUID, Id(int=7)),
        (datetime.datetime, Frozen(2024, 1, 1)),
    ]:
        plan = rpc_plan(type_)
        assert plan.decode(b"".join(plan.encode(value))) == value
