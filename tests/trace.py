"""How often a value goes from one room of the package into another on its way.

    python -m tests.trace              the number of moves of each value
    python -m tests.trace item         and each of them, of one value

A program is run that calls a service over TCP, with both ends in this process. Three
values are followed: an argument, from the call of the client's method into the handler;
an item of a channel, from `Tx.send` until `Rx.recv` returns it; and a URL, from
`connect` until the client has its link.

A room is a module or package right below `roam_trio`. A move is the call of a function
from a frame of another room, or the return from it. A coroutine that is suspended
returns, and is called when it goes on. Frames of other packages, such as trio, are
passed over, and so are moves into the program itself. All tasks of both ends count.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import trio
from trio.testing import wait_all_tasks_blocked

from roam_trio import Rx, channel, client, connect, dispatcher, serve, service
from roam_trio.links.base import Link

__all__ = ["Move", "moves"]

PACKAGE = "roam_trio."
PROGRAM = "the program"
OUTSIDE = "trio"


@dataclasses.dataclass(frozen=True)
class Move:
    """A move between two rooms, and the function that is called or returns."""

    what: str
    caller: str
    room: str
    function: str

    def __str__(self) -> str:
        arrow = "->" if self.what == "call" else "<-"
        return f"{self.caller:>12} {arrow} {self.room:<12} {self.function}"


def room_of(frame: FrameType | None) -> str | None:
    """Return the room of the code of a frame; None if it is that of another package."""
    if frame is None:
        return OUTSIDE
    module = str(frame.f_globals.get("__name__", ""))
    if module == __name__:
        return PROGRAM
    return module.split(".")[1] if module.startswith(PACKAGE) else None


class Recorder:
    """Notes each move between `start` and `stop`."""

    def __init__(self) -> None:
        self.moves: list[Move] = []
        self._until: Callable[[object], bool] = bool

    def start(self, until: Callable[[object], bool] = lambda value: False) -> None:
        """Begin anew; stop by itself when a function returns what `until` is about."""
        self.moves = []
        self._until = until
        sys.setprofile(self._profile)

    def stop(self) -> list[Move]:
        sys.setprofile(None)
        return self.moves

    def _profile(self, frame: FrameType, event: str, value: Any) -> None:
        if event not in ("call", "return"):
            return
        room = room_of(frame)
        if room is None or room == PROGRAM:
            return
        back = frame.f_back
        while (caller := room_of(back)) is None:
            assert back is not None
            back = back.f_back
        if caller != room:
            module = frame.f_globals["__name__"].removeprefix(PACKAGE)
            function = f"{module}: {frame.f_code.co_qualname}"
            self.moves.append(Move(event, caller, room, function))
        if event == "return" and self._until(value):
            self.stop()


recorder = Recorder()


@service
class Sums:
    async def add(self, left: int, right: int) -> int: ...
    async def take(self, numbers: Rx[int]) -> int: ...


WATCHED = 7
"""The value that is followed; the others prepare its way."""


class SumsHere:
    """The handler, whose methods could wait."""

    def __init__(self) -> None:
        self.taken = trio.Event()

    async def add(self, left: int, right: int) -> int:
        if left == WATCHED:
            recorder.stop()
        await trio.lowlevel.checkpoint()
        return left + right

    async def take(self, numbers: Rx[int]) -> int:
        total = 0
        while (number := await numbers.recv()) != WATCHED:
            total += number
        recorder.stop()
        self.taken.set()
        return total


async def quiet() -> None:
    """Wait until both ends have nothing left to do."""
    await wait_all_tasks_blocked(0.02)


async def follow_argument(sums: Sums) -> list[Move]:
    await sums.add(1, 1)  # for the first time, methods are compiled
    await sums.add(2, 2)
    await quiet()
    recorder.start()
    await sums.add(WATCHED, 3)
    return recorder.moves


async def follow_item(sums: Sums, handler: SumsHere) -> list[Move]:
    tx, rx = channel[int]()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sums.take, rx)
        await tx.send(1)
        await tx.send(2)
        await quiet()
        recorder.start()
        await tx.send(WATCHED)
        await handler.taken.wait()
        tx.close()
    return recorder.moves


async def follow_url(url: str) -> list[Move]:
    task = trio.lowlevel.current_task()

    def is_link_here(value: object) -> bool:
        return isinstance(value, Link) and trio.lowlevel.current_task() is task

    recorder.start(is_link_here)
    async with connect(url):
        return recorder.moves


async def follow_all() -> dict[str, list[Move]]:
    handler = SumsHere()
    async with trio.open_nursery() as nursery:
        server = await nursery.start(
            serve, "tcp://127.0.0.1:0", dispatcher(Sums, handler)
        )
        await quiet()
        found = {"URL": await follow_url(server.url)}
        async with connect(server.url) as session:
            sums = client(Sums, session.caller)
            found["argument"] = await follow_argument(sums)
            found["item"] = await follow_item(sums, handler)
        nursery.cancel_scope.cancel()
    return found


def moves() -> dict[str, list[Move]]:
    """Return the moves of each value, in their order."""
    return trio.run(follow_all)


def main() -> None:
    shown = sys.argv[1:]
    for name, found in moves().items():
        print(f"{name}: {len(found)} moves")
        if name in shown:
            print(*found, sep="\n")


if __name__ == "__main__":
    main()
