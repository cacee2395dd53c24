"""A connection for each feature of a server: `python examples/features.py`.

One session holds them all. Each has limits and channels of its own, and when one is
closed the others go on.
"""

from __future__ import annotations

from typing import Protocol

import trio

from roam_trio import (
    Handler,
    SessionRejected,
    connect,
    dispatcher,
    serve,
    service,
    u32,
)


@service
class Counter(Protocol):
    async def add(self, number: u32) -> u32: ...


@service
class Text(Protocol):
    async def shout(self, text: str) -> str: ...


class CounterImpl:
    def __init__(self) -> None:
        self.total = 0

    async def add(self, number: int) -> int:
        self.total += number
        return self.total


class TextImpl:
    async def shout(self, text: str) -> str:
        return f"{text.upper()}!"


def offered() -> dict[str, Handler]:
    return {
        "counter": dispatcher(Counter, CounterImpl()),
        "votes": dispatcher(Counter, CounterImpl()),
        "text": dispatcher(Text, TextImpl()),
    }


async def use(url: str) -> None:
    async with connect(url) as session:  # no service yet: the session
        async with session.open(Counter) as counter, session.open(Text) as text:
            print("counter:", await counter.add(3), await counter.add(4))
            print("text:", await text.shout("hello"))
        async with session.open(Counter, "votes") as votes:  # by its name
            print("votes:", await votes.add(1))
        try:
            async with session.open(Counter, "abacus"):
                pass
        except SessionRejected as error:
            print("abacus:", error.metadata.get("error"))


async def main() -> None:
    async with trio.open_nursery() as nursery:
        server = await nursery.start(serve, "tcp://127.0.0.1:0", offered())
        await use(server.url)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)
