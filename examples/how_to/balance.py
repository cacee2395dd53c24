"""Calls that several servers share: `python examples/how_to/balance.py`."""

from __future__ import annotations

from collections import Counter
from typing import Protocol

import trio

from roam_trio import (
    AnySession,
    Observer,
    dispatcher,
    idempotent,
    service,
    serving,
    stay_connected,
)


@service
class Shop(Protocol):
    @idempotent
    async def branch(self) -> str: ...


class ShopImpl:
    def __init__(self, name: str) -> None:
        self._name = name

    async def branch(self) -> str:
        return self._name


class AllReady(Observer):
    """Tells when there are sessions with all servers: the first call needs only one."""

    def __init__(self, servers: int) -> None:
        self._missing = servers
        self.event = trio.Event()

    def server_ready(self, url: str, session: AnySession) -> None:
        self._missing -= 1
        if not self._missing:
            self.event.set()


async def use(urls: list[str]) -> None:
    all_ready = AllReady(len(urls))
    # region client
    async with stay_connected(
        urls, Shop, balance="round robin", observer=all_ready
    ) as shop:
        await all_ready.event.wait()
        answers = Counter([await shop.branch() for _ in range(10)])
        print("calls:", dict(sorted(answers.items())))
    # endregion client


# region servers
async def main() -> None:
    north = dispatcher(Shop, ShopImpl("north"))
    south = dispatcher(Shop, ShopImpl("south"))
    async with (
        serving("tcp://127.0.0.1:0", north, reflection=True) as one,
        serving("tcp://127.0.0.1:0", south, reflection=True) as two,
    ):
        await use([one.url, two.url])
        # endregion servers


if __name__ == "__main__":
    trio.run(main)
