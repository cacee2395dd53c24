"""A gateway before two servers, of which one leaves: `python examples/gateway.py`.

Clients know the address of the gateway alone. It knows none of the services: it passes
each connection on to a server of the route that has the name of the service.
"""

from __future__ import annotations

import logging
from typing import Protocol

import trio

from roam_trio import Handler, dispatcher, idempotent, service, serving, stay_connected
from roam_trio.lowlevel import Route, gateway

ANY_PORT = "tcp://127.0.0.1:0"


@service
class Bank(Protocol):
    @idempotent(read_only=True)
    async def branch(self) -> str: ...


class Branch:
    def __init__(self, name: str) -> None:
        self._name = name

    async def branch(self) -> str:
        return self._name


def branch(name: str) -> dict[str, Handler]:
    return {"bank": dispatcher(Bank, Branch(name))}


async def main() -> None:
    # One server leaves on purpose, which would be a warning.
    logging.getLogger("roam_trio.lasting").setLevel(logging.ERROR)
    async with (
        serving(ANY_PORT, branch("north"), reflection=True) as north,
        serving(ANY_PORT, branch("south"), reflection=True) as south,
        gateway([Route("bank", [north.url, south.url])]) as passing_on,
        serving(
            ANY_PORT, passing_on.handler, on_connection=passing_on, reflection=True
        ) as here,
        stay_connected(here.url, Bank, name="bank") as client,
    ):
        branches = {"north": north, "south": south}
        before = await client.branch()
        await branches[before].shutdown(grace=5)
        after = await client.branch()
        print(f"served by {sorted([before, after])}, one after the other")


if __name__ == "__main__":
    trio.run(main)
