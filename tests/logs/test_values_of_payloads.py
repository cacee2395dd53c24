"""Values and keys of a payload are in no log: there are types and positions instead."""

from __future__ import annotations

import logging
from datetime import date
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, Protocol

import attrs
import pytest
import trio
import trio.testing

from roam_trio import (
    CallCancelled,
    InvalidPayload,
    Rx,
    RxDecodeError,
    Tx,
    channel,
    client,
    dispatcher,
    service,
    u8,
)
from roam_trio.service import describe
from tests.session.running import join

SECRET = "hunter2-password"


def text(value: str) -> bytes:
    data = value.encode()
    return bytes([len(data)]) + data


BAD_FLAG = b"\x07"


def quoting(instance: object, attribute: Any, value: str) -> None:
    raise LookupError(f"nobody is called {value.upper()}, and so not {value}")


def constant(instance: object, attribute: Any, value: str) -> None:
    raise LookupError("nobody is called so")


@attrs.frozen
class Quoting:
    name: str = attrs.field(validator=quoting)


@attrs.frozen
class Constant:
    name: str = attrs.field(validator=constant)


@attrs.frozen
class User:
    name: str
    age: u8


@service
class Vault(Protocol):
    async def flags(self, users: dict[str, bool]) -> None: ...
    async def nested(self, users: dict[str, dict[str, list[bool]]]) -> None: ...
    async def day(self, day: date) -> None: ...
    async def days(self, days: dict[date, bool]) -> None: ...
    async def amount(self, amount: list[Decimal]) -> None: ...
    async def quoting(self, user: Quoting) -> None: ...
    async def constant(self, user: Constant) -> None: ...
    async def take(self, days: Rx[date]) -> None: ...
    async def number(self) -> u8: ...
    async def ages(self) -> dict[str, u8]: ...
    async def user(self) -> User: ...
    async def users(self) -> list[User]: ...
    async def when(self) -> date: ...


METHODS = {method.name: method for method in describe(Vault).methods}

WRONG_ARGUMENTS = [
    ("flags", b"\x01" + text(SECRET) + BAD_FLAG, "$.users.values()[0]"),
    (
        "nested",
        b"\x01" + text("a") + b"\x01" + text(SECRET) + b"\x01" + BAD_FLAG,
        "$.users.values()[0].values()[0][0]",
    ),
    ("day", text(SECRET), "date was not structured from str: ValueError - at $.day"),
    ("days", b"\x01" + text(SECRET) + BAD_FLAG, "$.days.keys()[0]"),
    ("days", b"\x01" + text("2030-01-01") + BAD_FLAG, "$.days.values()[0]"),
    ("amount", b"\x01" + text(SECRET), "$.amount[0]"),
    ("quoting", text(SECRET), "Quoting refused its fields: LookupError - at $.user"),
    ("constant", text(SECRET), "LookupError: nobody is called so - at $.user"),
]


async def session_with(nursery: trio.Nursery, **methods: Any) -> Any:
    async def nothing(*args: object) -> None: ...

    handler = SimpleNamespace(**{**dict.fromkeys(METHODS, nothing), **methods})
    session, _ = await join(nursery, dispatcher(Vault, handler))
    return session


def assert_no_secret(caplog: pytest.LogCaptureFixture) -> None:
    said = caplog.text.lower()
    for part in ("hunter2", "password", "2030"):
        assert part not in said


@pytest.mark.parametrize(("name", "args", "expected"), WRONG_ARGUMENTS)
async def test_arguments_that_are_wrong_are_logged_without_values(
    name: str,
    args: bytes,
    expected: str,
    nursery: trio.Nursery,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    session = await session_with(nursery)
    response = await session.caller.call(METHODS[name].id, args)
    assert bytes(response.ret[0] if isinstance(response.ret, list) else response.ret)
    [message] = [
        record.getMessage()
        for record in caplog.records
        if record.name != "roam_trio.calls"
    ]
    assert f"Vault.{name}: undecodable arguments: " in message
    assert expected in message
    assert_no_secret(caplog)


WRONG_RESULTS = [
    ("number", SECRET, "expected u8 (0 to 255), got str"),
    ("number", 20300, "expected u8 (0 to 255), got int"),
    ("ages", {SECRET: 2030}, "expected u8 (0 to 255), got int - at $.values()[0]"),
    ("ages", {2030: 1}, "expected str, got int - at $.keys()[0]"),
    ("user", User(SECRET, 2030), "expected u8 (0 to 255), got int - at $.age"),
    ("user", SECRET, "expected User, got str"),
    ("users", [User(SECRET, 2030)] * 20, "got int - at $[0].age"),
    ("when", SECRET, "expected date, got str"),
]


@pytest.mark.parametrize(("name", "result", "expected"), WRONG_RESULTS)
async def test_a_result_that_is_wrong_is_logged_without_values(
    name: str,
    result: object,
    expected: str,
    nursery: trio.Nursery,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def answer() -> object:
        return result

    session = await session_with(nursery, **{name: answer})
    caller: Any = client(Vault, session.caller)
    with pytest.raises(CallCancelled):
        await getattr(caller, name)()
    assert expected in caplog.text
    assert_no_secret(caplog)


async def test_an_item_that_is_wrong_is_logged_without_values(
    nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    async def take(days: Rx[date]) -> None:
        with trio.fail_after(10):
            await days.receive()

    session = await session_with(nursery, take=take)

    caller: Any = client(vault_of_texts(), session.caller)
    tx: Tx[str]
    tx, rx = channel[str]()
    async with trio.open_nursery() as calling:

        async def call() -> None:
            with pytest.raises(CallCancelled):
                await caller.take(rx)

        calling.start_soon(call)
        await trio.testing.wait_all_tasks_blocked()
        await tx.send(SECRET)
    assert RxDecodeError.__name__ in caplog.text
    assert "date was not structured from str" in caplog.text
    assert_no_secret(caplog)


async def test_an_answer_that_is_wrong_is_told_without_values(
    nursery: trio.Nursery,
) -> None:
    async def when() -> str:
        return SECRET

    async def take(days: Rx[str]) -> None: ...

    handler = SimpleNamespace(when=when, take=take)
    session, _ = await join(nursery, dispatcher(vault_of_texts(), handler))
    with pytest.raises(InvalidPayload) as caught:
        await client(Vault, session.caller).when()
    assert SECRET not in str(caught.value)
    assert "date was not structured from str" in str(caught.value)


def vault_of_texts() -> Any:
    """The same service as a peer has it that writes a date as a text, as the wire."""

    @service
    class Vault(Protocol):
        async def take(self, days: Rx[str]) -> None: ...
        async def when(self) -> str: ...

    return Vault
