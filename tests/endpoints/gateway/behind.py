"""Servers behind a gateway, and clients before it, in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Protocol

import trio
from trio.testing import wait_all_tasks_blocked

from roam_trio import (
    Metadata,
    Rx,
    Server,
    Session,
    Tx,
    connect,
    current_call,
    dispatcher,
    service,
    serving,
    u32,
)
from roam_trio.endpoints.gateway.gateway import Gateway, gateway
from roam_trio.endpoints.gateway.routes import Route

HERE = "memory://gateway"


@service
class Bank(Protocol):
    async def where(self) -> str: ...
    async def wait(self) -> None: ...
    async def left(self) -> float: ...
    async def told(self, key: str) -> str: ...
    async def tail(self, first: u32, out: Tx[u32]) -> None: ...
    async def total(self, amounts: Rx[u32]) -> u32: ...
    async def hold(self, amounts: Rx[u32]) -> None: ...


@service
class Shop(Protocol):
    async def sell(self, item: str) -> str: ...


class BankImpl:
    """A server of `Bank`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.waiting = 0
        self.sent = 0
        self.handshakes: list[Metadata] = []

    async def welcome(self, peer: Any) -> None:
        """See ``on_session``."""
        self.handshakes.append(peer.metadata)

    async def where(self) -> str:
        return self.name

    async def wait(self) -> None:
        self.waiting += 1
        try:
            await trio.sleep_forever()
        finally:
            self.waiting -= 1

    async def left(self) -> float:
        return trio.current_effective_deadline() - trio.current_time()

    async def told(self, key: str) -> str:
        return str(current_call().metadata.get(key))

    async def tail(self, first: int, out: Tx[int]) -> None:
        while True:
            await out.send(first + self.sent)
            self.sent += 1

    async def hold(self, amounts: Rx[int]) -> None:
        await self.wait()

    async def total(self, amounts: Rx[int]) -> int:
        return sum([each async for each in amounts])


class ShopImpl:
    """A server of `Shop`."""

    async def sell(self, item: str) -> str:
        return f"sold {item}"


def bank(impl: BankImpl, **options: Any) -> Any:
    """Serve a bank at ``memory://`` and its name."""
    handlers = {"bank": dispatcher(Bank, impl)}
    return serving(f"memory://{impl.name}", handlers, **{"reflection": True} | options)


@asynccontextmanager
async def client_of(url: str = HERE) -> AsyncIterator[tuple[Session, Bank]]:
    """Have a session and a client of the bank on a connection of its own."""
    async with connect(url) as session, session.open(Bank) as teller:
        yield session, teller


def shop() -> Any:
    """Serve a shop at ``memory://shop``."""
    return serving("memory://shop", {"shop": dispatcher(Shop, ShopImpl())})


@asynccontextmanager
async def banks(*names: str, **options: Any) -> AsyncIterator[dict[str, Server]]:
    """Serve banks of these names."""
    async with AsyncExitStack() as stack:
        yield {
            name: await stack.enter_async_context(bank(BankImpl(name), **options))
            for name in names
        }


@asynccontextmanager
async def passing_on(
    *routes: Route, server: dict[str, Any] | None = None, **options: Any
) -> AsyncIterator[tuple[Gateway, Server]]:
    """Have a gateway at `HERE`.

    Args:
        routes: its routes.
        server: options of its server.
        options: those of the gateway.
    """
    options.setdefault("balance", "first")
    async with (
        gateway(routes, **options) as made,
        serving(HERE, made.handler, on_connection=made, **(server or {})) as here,
    ):
        await wait_all_tasks_blocked()  # it knows now which servers are there
        yield made, here


def to_banks(*names: str, allow: Iterable[str] | None = None) -> Route:
    """Return the route to these banks."""
    return Route("bank", [f"memory://{name}" for name in names], allow)
