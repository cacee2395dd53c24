"""A server that calls its clients: `python examples/callback.py`.

A connection has two ends, and either may call the other. The client gives `connect` a
handler; the server finds its clients in `Server.sessions`.
"""

from __future__ import annotations

from typing import Protocol

import trio

from roam_trio import Server, client, connect, dispatcher, serve, service, u32


@service
class Board(Protocol):
    """What the server answers."""

    async def post(self, notice: str) -> u32:
        """Show a notice to all readers, and return how many have read it."""
        ...


@service
class Reader(Protocol):
    """What each client answers."""

    async def show(self, notice: str) -> bool:
        """Whether it was read."""
        ...


class BoardImpl:
    def __init__(self) -> None:
        self.server: Server | None = None

    async def post(self, notice: str) -> int:
        assert self.server is not None
        read = 0
        for session in self.server.sessions:  # the one that posts is called too
            read += await client(Reader, session.caller).show(notice)
        return read


class ReaderImpl:
    def __init__(self, name: str) -> None:
        self.name = name

    async def show(self, notice: str) -> bool:
        print(f"  [{self.name}] {notice}")
        return True


async def use(url: str) -> None:
    ada, bea = (dispatcher(Reader, ReaderImpl(name)) for name in ("Ada", "Bea"))
    async with connect(url, Board, ada), connect(url, Board, bea) as hers:
        print("read by", await hers.post("Tea at five."))


async def main() -> None:
    board = BoardImpl()
    async with trio.open_nursery() as nursery:
        handler = dispatcher(Board, board)
        server: Server = await nursery.start(serve, "tcp://127.0.0.1:0", handler)
        board.server = server
        await use(server.url)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)
