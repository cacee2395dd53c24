"""A Starlette application under trio: `python examples/starlette_on_trio.py`.

Its lifespan holds a client that outlives restarts of the backend. To run it as in
production, use two shells:

    roam-trio serve examples.starlette_on_trio:backend --listen tcp://127.0.0.1:7000
    hypercorn --worker-class trio examples.starlette_on_trio:app
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Protocol

import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import Message, Scope

from roam_trio import (
    Dispatcher,
    dispatcher,
    idempotent,
    service,
    serving,
    stay_connected,
    u32,
)


@service
class Bank(Protocol):
    @idempotent
    async def balance(self, account: u32) -> u32: ...

    async def deposit(self, account: u32, amount: u32) -> u32: ...


# region web
def web(url: str) -> Starlette:
    bank: Bank

    @asynccontextmanager
    async def connected(app: Starlette) -> AsyncGenerator[None]:
        nonlocal bank
        async with stay_connected(url, Bank) as bank:
            yield

    async def balance(request: Request) -> JSONResponse:
        with trio.fail_after(20):
            amount = await bank.balance(request.path_params["account"])
        return JSONResponse({"balance": amount})

    async def deposit(request: Request) -> JSONResponse:
        with trio.fail_after(20):
            amount = await bank.deposit(**request.path_params)
        return JSONResponse({"balance": amount})

    return Starlette(
        routes=[
            Route("/balance/{account:int}", balance),
            Route("/deposit/{account:int}/{amount:int}", deposit, methods=["POST"]),
        ],
        lifespan=connected,
    )


app = web(os.environ.get("BANK", "tcp://127.0.0.1:7000"))
# endregion web


class BankImpl:
    def __init__(self) -> None:
        self.balances: dict[int, int] = {}

    async def balance(self, account: int) -> int:
        return self.balances.get(account, 0)

    async def deposit(self, account: int, amount: int) -> int:
        self.balances[account] = await self.balance(account) + amount
        return self.balances[account]


def backend() -> Dispatcher:
    return dispatcher(Bank, BankImpl())


async def ask(app: Starlette, method: str, path: str) -> Any:
    """Make a request as a server for ASGI does; return the answer."""
    body = b""

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        nonlocal body
        body += message.get("body", b"")

    scope: Scope = {"type": "http", "method": method, "path": path, "headers": []}
    await app(scope, receive, send)
    return json.loads(body)


async def main() -> None:
    url = "memory://bank"
    application = web(url)
    async with application.router.lifespan_context(application):
        for day in ("Monday", "Tuesday"):
            async with serving(url, backend()):  # a fresh one each day
                await ask(application, "POST", "/deposit/17/100")
                await ask(application, "POST", "/deposit/17/50")
                print(f"{day}:", await ask(application, "GET", "/balance/17"))


if __name__ == "__main__":
    trio.run(main)
