"""Methods that are marked as ones that may be called again."""

from __future__ import annotations

from typing import Protocol

from roam_trio import compare, describe, idempotent, service, u32
from roam_trio.service.description.encoding import schema_from_json
from roam_trio.service.description.fingerprints import fingerprint
from roam_trio.service.description.rebuilding import descriptor_of


@service
class Bank(Protocol):
    @idempotent(read_only=True)
    async def balance(self, account: u32) -> u32: ...

    @idempotent
    async def close(self, account: u32) -> None:
        """Close an account."""
        ...

    async def pay(self, account: u32, amount: u32) -> None: ...


@service(name="Bank")
class Unmarked(Protocol):
    async def balance(self, account: u32) -> u32: ...
    async def close(self, account: u32) -> None: ...
    async def pay(self, account: u32, amount: u32) -> None: ...


def test_a_descriptor_has_the_marks_of_its_methods() -> None:
    methods = describe(Bank).methods
    assert [each.effect for each in methods] == ["read-only", "idempotent", "any"]


def test_marks_are_in_the_schema_and_survive_the_way_to_a_peer() -> None:
    schema = schema_from_json(describe(Bank).schema.to_json())
    assert schema == describe(Bank).schema
    assert [each.effect for each in descriptor_of(schema).methods] == [
        "read-only",
        "idempotent",
        "any",
    ]


def test_marks_change_neither_ids_nor_fingerprints() -> None:
    ours, other = describe(Bank), describe(Unmarked)
    assert [each.id for each in ours.methods] == [each.id for each in other.methods]
    assert fingerprint(ours.schema) == fingerprint(other.schema)


def test_a_mark_that_is_gone_is_a_change_that_breaks_nobody() -> None:
    changes = compare(describe(Bank), describe(Unmarked))
    assert [(each.where, each.kind, each.breaks) for each in changes] == [
        ("Bank.balance", "effect changed", "nobody"),
        ("Bank.close", "effect changed", "nobody"),
    ]
    assert changes[0].text == "the effect of calling it again is any, not read-only"
