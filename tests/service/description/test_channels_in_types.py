"""Which types have channels in them, and that finding out takes few steps."""

from __future__ import annotations

from typing import Any

import pytest

from roam_trio.service.description.convertible import Conversion, types_with_channels
from roam_trio.service.description.model import (
    ChannelType,
    EnumSchema,
    FieldSchema,
    NamedType,
    OptionType,
    StructSchema,
    Type,
    TypeSchema,
    VariantSchema,
)

CHANNEL = ChannelType("tx", "u8", 1)
LENGTH = 300


class Counting(dict[str, TypeSchema]):
    """Types that count how often they are looked up."""

    count = 0

    def __getitem__(self, name: str) -> TypeSchema:
        self.count += 1
        return super().__getitem__(name)

    def items(self) -> Any:
        self.count += len(self)
        return super().items()


def chain(last: Type) -> Counting:
    """Return types of which each has the next one in it, twice."""
    inner: list[Type] = [NamedType(f"T{index + 1}") for index in range(LENGTH - 1)]
    structs = [
        StructSchema(f"T{index}", (FieldSchema("a", each), FieldSchema("b", each)))
        for index, each in enumerate([*inner, last])
    ]
    return Counting((each.name, each) for each in structs)


@pytest.mark.parametrize("last", ["u8", CHANNEL])
def test_many_fields_that_are_left_out_take_a_step_for_each_type(last: Type) -> None:
    types = chain(last)
    conversion = Conversion(types, {}, told_only=False)
    for _ in range(LENGTH):
        member = FieldSchema("a", OptionType(NamedType("T0")))
        assert conversion.may_be_left_out(member) is (last == "u8")
    assert types.count <= LENGTH


def test_a_type_has_the_channels_of_those_that_it_refers_to() -> None:
    fields = (FieldSchema("a", OptionType(NamedType("B"))),)
    types: list[TypeSchema] = [
        EnumSchema("A", (VariantSchema("x"), VariantSchema("y", fields))),
        StructSchema("B", (*fields, FieldSchema("b", OptionType(CHANNEL)))),
        StructSchema("C", (FieldSchema("a", NamedType("C")),)),
    ]
    assert types_with_channels({each.name: each for each in types}) == {"A", "B"}
