"""A service, a server for it, and a client: `python examples/adder.py`."""

from __future__ import annotations

from typing import Protocol

import trio

from roam_trio import connect, dispatcher, serve, service, u32


@service
class Adder(Protocol):
    """The schema: its type hints decide what goes over the wire."""

    async def add(self, left: u32, right: u32) -> u32: ...


class AdderImpl:
    """A handler: any object with the methods of the service."""

    async def add(self, left: int, right: int) -> int:
        return left + right


async def use(url: str) -> None:
    async with connect(url, Adder) as adder:  # typed as Adder
        print("3 + 5 =", await adder.add(3, 5))


async def main() -> None:
    async with trio.open_nursery() as nursery:
        server = await nursery.start(
            serve, "tcp://127.0.0.1:0", dispatcher(Adder, AdderImpl())
        )
        await use(server.url)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)
