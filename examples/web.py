"""A web application whose backend may restart: `python examples/web.py`.

`bank` outlives its sessions, so nothing here is about restarts: a request waits while
the backend is away, until its own deadline. To run it as in production, use two shells:

    roam-trio serve examples.web:backend --listen tcp://127.0.0.1:7000 --reflection
    hypercorn --worker-class trio examples.web:app

    curl http://127.0.0.1:8000/balance/17
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from typing import Protocol

import trio
from quart_trio import QuartTrio

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


# ------------------------------------------------------------ the web application


# region web
def web(url: str) -> QuartTrio:
    app = QuartTrio(__name__)
    bank: Bank

    @app.while_serving
    async def connected() -> AsyncGenerator[None, None]:
        nonlocal bank
        async with stay_connected(url, Bank) as bank:
            yield

    @app.get("/balance/<int:account>")
    async def balance(account: int) -> dict[str, int]:
        with trio.fail_after(20):
            return {"balance": await bank.balance(account)}

    @app.post("/deposit/<int:account>/<int:amount>")
    async def deposit(account: int, amount: int) -> dict[str, int]:
        with trio.fail_after(20):
            return {"balance": await bank.deposit(account, amount)}

    return app


# endregion web


app = web(os.environ.get("BANK", "tcp://127.0.0.1:7000"))


# ------------------------------------------------------------ its backend


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


async def main() -> None:
    url = "memory://bank"
    async with web(url).test_app() as running:
        browser = running.test_client()
        for day in ("Monday", "Tuesday"):
            async with serving(url, backend()):  # a fresh one each day
                for path in ("/deposit/17/100", "/deposit/17/50"):
                    await browser.post(path)
                answer = await browser.get("/balance/17")
                print(f"{day}:", await answer.get_json())


if __name__ == "__main__":
    trio.run(main)
