"""The first example of README and of the site: `python examples/first.py`."""

# region all
from typing import Protocol

import trio

from roam_trio import connect, dispatcher, serve, service, u32


@service
class Adder(Protocol):
    async def add(self, left: u32, right: u32) -> u32: ...


class AdderImpl:
    async def add(self, left: int, right: int) -> int:
        return left + right


async def main() -> None:
    handler: Adder = AdderImpl()
    async with trio.open_nursery() as nursery:
        adding = dispatcher(Adder, handler)
        server = await nursery.start(serve, "tcp://127.0.0.1:0", adding)
        async with connect(server.url, Adder) as adder:
            print(await adder.add(3, 5))
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)
# endregion all
