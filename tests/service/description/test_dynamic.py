"""Clients that are made of a description, with plain values."""

from __future__ import annotations

import enum
from typing import Any, Protocol

import msgspec
import pytest
import trio

from roam_trio import (
    AnyCall,
    DynamicClient,
    EncodeError,
    Fallible,
    Proceed,
    Rx,
    SchemaError,
    SessionRejected,
    Tx,
    UnknownMethod,
    UserError,
    channel,
    connect,
    current_call,
    describe,
    dispatcher,
    dynamic,
    open_call,
    serve,
    service,
    u8,
    u32,
    with_metadata,
)
from roam_trio.service.description.encoding import schema_from_json
from roam_trio.service.description.model import ServiceSchema
from roam_trio.service.description.rebuilding import descriptor_of
from roam_trio.service.dynamic import dynamic_client


class Kind(enum.Enum):
    BOOK = "book"
    MAP = "map"


class Item(msgspec.Struct, frozen=True):
    name: str
    kind: Kind = Kind.BOOK
    data: bytes = b""


class SoldOut(msgspec.Struct, frozen=True):
    name: str
    left: u32 = 0


@service
class Shop(Protocol):
    async def put(self, item: Item, count: u8 = 2) -> Fallible[u32, SoldOut]: ...
    async def names(self, most: u32, out: Tx[Item]) -> u32: ...
    async def total(self, items: Rx[Item]) -> list[str]: ...
    async def user(self, *, prefix: str = "user: ") -> str: ...


class ShopImpl:
    async def put(self, item: Item, count: int = 2) -> int:
        if item.kind is Kind.MAP:
            raise UserError(SoldOut(item.name))
        return len(item.name) * count + len(item.data)

    async def names(self, most: int, out: Tx[Item]) -> int:
        for index in range(most):
            await out.send(Item(f"n{index}"))
        return most

    async def total(self, items: Rx[Item]) -> list[str]:
        return [item.name async for item in items]

    async def user(self, *, prefix: str = "user: ") -> str:
        return f"{prefix}{current_call().metadata.get('user')}"


def told() -> ServiceSchema:
    """Return the description that a peer has received."""
    return schema_from_json(describe(Shop).schema.to_json())


@pytest.fixture
async def url(nursery: trio.Nursery) -> str:
    shop = dispatcher(Shop, ShopImpl())
    server = await nursery.start(serve, "memory://dynamic", {"shop": shop})
    assert isinstance(server.url, str)
    return server.url


async def test_a_call_takes_and_returns_plain_values(url: str) -> None:
    async with connect(url) as session, dynamic(session, "shop", told()) as shop:
        assert await shop.call("put", {"item": {"name": "abc"}}) == 6
        assert await shop.call("put", [{"name": "abc", "data": b"x"}, 1]) == 4
        assert await shop.call("user") == "user: None"
        assert await shop.call("user", {"prefix": ""}) == "None"
        assert repr(shop) == "<DynamicClient connected>"


async def test_a_declared_error_has_a_plain_value(url: str) -> None:
    async with connect(url) as session, dynamic(session, "shop", told()) as shop:
        with pytest.raises(UserError) as caught:
            await shop.call("put", {"item": {"name": "a", "kind": "map"}})
    assert caught.value.error == {"name": "a", "left": 0}


async def test_channels_carry_plain_values_both_ways(url: str) -> None:
    async with connect(url) as session, dynamic(session, "shop", told()) as shop:
        async with open_call(shop.method("names"), most=2) as call:
            found = [item async for item in call.rx]
            assert await call.result() == 2
        assert found == [
            {"name": "n0", "kind": "book", "data": b""},
            {"name": "n1", "kind": "book", "data": b""},
        ]
        async with open_call(shop.method("total")) as sending:
            await sending.tx.send({"name": "a"})
            await sending.tx.send({"name": "b", "kind": "map"})
            sending.tx.close()
            assert await sending.result() == ["a", "b"]


async def test_values_for_json_have_bytes_in_base64(url: str) -> None:
    async with (
        connect(url) as session,
        dynamic(session, "shop", told(), for_json=True) as shop,
    ):
        assert await shop.call("put", {"item": {"name": "abc", "data": "eA=="}}) == 7
        assert await shop.call("put", {"item": {"name": "abc"}}) == 6
        async with open_call(shop.method("names"), most=1) as call:
            found = [item async for item in call.rx]
    assert found == [{"name": "n0", "kind": "book", "data": ""}]


def test_a_descriptor_can_have_plans_for_values_of_json() -> None:
    method = descriptor_of(told(), for_json=True).methods[0]
    encoded = b"".join(method.args_plan.encode(({"name": "a", "data": "eA=="}, 1)))
    assert method.args_plan.decode(encoded) == (
        {"name": "a", "kind": "book", "data": "eA=="},
        1,
    )


async def test_channels_are_arguments_as_for_any_client(
    url: str, nursery: trio.Nursery
) -> None:
    async with connect(url) as session, dynamic(session, "shop", told()) as shop:
        tx, rx = channel[Any]()
        nursery.start_soon(shop.call, "names", {"most": 1, "out": tx})
        assert await rx.recv() == {"name": "n0", "kind": "book", "data": b""}


async def test_a_service_is_chosen_among_several_descriptions(url: str) -> None:
    described = {"shop": describe(Shop)}
    async with connect(url) as session:
        async with dynamic(session, "shop", described) as shop:
            assert await shop.call("put", {"item": {"name": "abc"}}) == 6
        with pytest.raises(LookupError, match=r"described services \(shop\): 'bank'"):
            dynamic(session, "bank", described)


async def test_a_service_that_is_not_offered_is_rejected(url: str) -> None:
    async with connect(url) as session:
        with pytest.raises(SessionRejected):
            async with dynamic(session, "bank", told()):
                pass  # pragma: no cover - it is not entered


async def test_middleware_and_metadata_are_those_of_a_client(url: str) -> None:
    seen: list[Any] = []

    async def note(call: AnyCall, proceed: Proceed) -> Any:
        seen.append((call.method.name, call.args))
        return await proceed()

    options: Any = {"middleware": [note], "metadata_for_calls": {"user": "Ada"}}
    async with (
        connect(url) as session,
        dynamic(session, "shop", told(), **options) as shop,
    ):
        assert await shop.call("user") == "user: Ada"
        parts = await with_metadata(shop.method("user"), {"user": "Bob"})()
        assert parts.value == "user: Bob"
    assert seen == [("user", ("user: ",)), ("user", ("user: ",))]


async def test_a_client_can_be_made_on_the_root_connection(
    nursery: trio.Nursery,
) -> None:
    shop = dispatcher(Shop, ShopImpl())
    server = await nursery.start(serve, "memory://dynamic-root", shop)
    async with connect(server.url) as session:
        client = dynamic_client(told(), session.caller)
        assert await client.call("put", {"item": {"name": "abc"}}) == 6


WRONG: list[tuple[str, Any, type[Exception], str]] = [
    ("sell", (), LookupError, r"\(put, names, total, user\), got 'sell'"),
    ("put", {}, TypeError, "missing a required .*argument: 'item'"),
    ("put", {"thing": 1}, TypeError, r"no argument 'thing'; .* are \(item, count\)"),
    ("put", [1, 2, 3], TypeError, "put: expected at most 2 arguments, got 3"),
    ("put", {"item": 3}, EncodeError, "expected a dict with name, kind, data, got 3"),
    ("put", {"item": {"name": 3}}, EncodeError, r"expected str, got 3 .*item\.name"),
]


@pytest.mark.parametrize(("method", "args", "error", "text"), WRONG)
async def test_a_wrong_call_is_refused_before_it_is_sent(
    url: str, method: str, args: Any, error: type[Exception], text: str
) -> None:
    async with connect(url) as session, dynamic(session, "shop", told()) as shop:
        with pytest.raises(error, match=text):
            await shop.call(method, args)


async def test_only_the_method_that_is_called_is_checked(url: str) -> None:
    put, *others = told().methods
    wrong = [msgspec.structs.replace(each, returns="f32") for each in others]
    schema = msgspec.structs.replace(told(), methods=(put, *wrong))
    async with connect(url) as session, dynamic(session, "shop", schema) as shop:
        assert await shop.call("put", {"item": {"name": "abc"}}) == 6
        with pytest.raises(SchemaError, match="one of the two is wrong"):
            await shop.call("user")


async def test_a_method_that_the_peer_does_not_have_is_unknown(url: str) -> None:
    @service(name="Shop")
    class Newer(Protocol):
        async def sell(self) -> None: ...

    newer = describe(Newer)
    async with connect(url) as session, dynamic(session, "shop", newer) as shop:
        with pytest.raises(UnknownMethod):
            await shop.call("sell")


async def test_a_method_is_made_once_for_a_client(url: str) -> None:
    async with connect(url) as session, dynamic(session, "shop", told()) as shop:
        assert isinstance(shop, DynamicClient)
        assert shop.method("put") == shop.method("put")
