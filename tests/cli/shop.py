"""A service with everything that a verb can meet, and its server."""

from __future__ import annotations

import enum
import sys
from typing import Annotated, Protocol

import attrs
import trio

from roam_trio import (
    Credit,
    Fallible,
    Handler,
    Refused,
    Rx,
    Tx,
    UserError,
    current_call,
    dispatcher,
    service,
    serving,
    u8,
    u32,
    u128,
)


@attrs.frozen
class User:
    """Somebody who buys."""

    name: str
    age: u8
    photo: bytes = b""


class Problem(enum.Enum):
    SOLD_OUT = "sold out"
    UNKNOWN = "unknown"


@attrs.frozen
class Leaf:
    value: u32


@attrs.frozen
class Pair:
    left: Tree
    right: Tree


Tree = Pair | Leaf


@service
class Shop(Protocol):
    """Sells things.

    And more.
    """

    async def put(self, user: User, count: u32 = 3) -> u128:
        """Store a user, and return a large number."""
        ...

    async def find(self, name: str) -> Fallible[User, Problem]: ...
    async def weigh(self, tree: Tree) -> u32: ...
    async def header(self, key: str) -> str | None: ...
    async def refuse(self) -> None: ...
    async def fail(self) -> None: ...
    async def sleep(self) -> None: ...
    async def slept(self) -> list[str]: ...
    async def count(self, upto: u32, out: Annotated[Tx[u32], Credit(64)]) -> None: ...
    async def total(self, numbers: Annotated[Rx[u32], Credit(64)]) -> u32: ...
    async def double(self, numbers: Rx[u32], out: Tx[u32]) -> u32: ...
    async def broken(self, out: Tx[u32]) -> Fallible[None, Problem]: ...
    async def first(self, numbers: Rx[u32]) -> u32: ...
    async def sort(
        self,
        numbers: Rx[u32],
        names: Rx[str],
        even_numbers: Tx[u32],
        odd_numbers: Tx[u32],
    ) -> list[str]: ...
    async def hostile(self) -> str: ...
    async def leave(self) -> None: ...
    async def stubborn(self, begun: Tx[bool]) -> None: ...
    async def abandon(self, out: Tx[u32]) -> None: ...


class ShopImpl:
    def __init__(self) -> None:
        self.ended: list[str] = []

    async def put(self, user: User, count: int = 3) -> int:
        return 2**100 + count + user.age

    async def find(self, name: str) -> User:
        if name == "nobody":
            raise UserError(Problem.UNKNOWN)
        return User(name, 36, b"\xff\x00")

    async def weigh(self, tree: Tree) -> int:
        if isinstance(tree, Leaf):
            return tree.value
        return await self.weigh(tree.left) + await self.weigh(tree.right)

    async def header(self, key: str) -> str | None:
        value = current_call().metadata.get(key)
        return value if isinstance(value, str) else None

    async def refuse(self) -> None:
        raise Refused("denied", "not today")

    async def fail(self) -> None:
        raise RuntimeError("a bug")

    async def sleep(self) -> None:
        try:
            await trio.sleep_forever()
        finally:
            self.ended.append("sleep")

    async def slept(self) -> list[str]:
        return self.ended

    async def count(self, upto: int, out: Tx[int]) -> None:
        try:
            await out.send_many(range(upto))
        except BaseException:
            self.ended.append("count")
            raise

    async def total(self, numbers: Rx[int]) -> int:
        total = 0
        try:
            while True:
                total += sum(await numbers.recv_many())
        except trio.EndOfChannel:
            return total % 2**32

    async def double(self, numbers: Rx[int], out: Tx[int]) -> int:
        count = 0
        async for number in numbers:
            await out.send(2 * number)
            count += 1
        return count

    async def broken(self, out: Tx[int]) -> None:
        await out.send_many([1, 2, 3])
        raise UserError(Problem.SOLD_OUT)

    async def first(self, numbers: Rx[int]) -> int:
        return await numbers.recv()

    async def sort(
        self,
        numbers: Rx[int],
        names: Rx[str],
        even_numbers: Tx[int],
        odd_numbers: Tx[int],
    ) -> list[str]:
        async for number in numbers:
            await (odd_numbers if number % 2 else even_numbers).send(number)
        return [name async for name in names]

    async def abandon(self, out: Tx[int]) -> None:
        await out.send_many([1, 2])
        await current_call().connection.session.shutdown()

    async def stubborn(self, begun: Tx[bool]) -> None:
        await begun.send(True)
        with trio.move_on_after(3, shield=True):
            await trio.sleep_forever()

    async def leave(self) -> None:
        await current_call().connection.session.shutdown()

    async def hostile(self) -> str:
        return "\x1b[31mred\u202e\x9b\U000e0100é\ud7ff"


def handlers() -> dict[str, Handler]:
    return {"shop": dispatcher(Shop, ShopImpl())}


async def main() -> None:
    async with serving("tcp://127.0.0.1:0", handlers()) as server:
        print(server.url, flush=True)
        await trio.to_thread.run_sync(sys.stdin.read, abandon_on_cancel=True)


if __name__ == "__main__":
    trio.run(main)
