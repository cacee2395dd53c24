"""A process that runs one side of one implementation; `processes` starts it.

    python -m benchmarks.worker server NAME
    python -m benchmarks.worker client NAME ADDRESS

It talks in lines of JSON. The server prints a `Started`. The client reads an `Order`
per line and prints a `Done` for each. Either ends when its standard input does.
"""

from __future__ import annotations

import os
import sys
import threading

import msgspec

from .adapters import Adapter, load
from .adapters.base import Client
from .works import find_work

__all__ = ["Done", "Order", "Started", "main"]

_WARM_UP = 10
"""Before its steps are timed, a client does this part of them: one in so many."""


class Started(msgspec.Struct):
    """A server is up.

    Attributes:
        address: where, for its own client.
        versions: of the packages it is made of.
    """

    address: str
    versions: dict[str, str]


class Order(msgspec.Struct):
    """What a client is to do: so many steps of a work."""

    work: str
    count: int


class Done(msgspec.Struct):
    """A client has done as ordered, and every answer was right.

    Attributes:
        seconds: what the steps took.
    """

    seconds: float


def _serve(adapter: Adapter) -> None:
    def started(address: str) -> None:
        _say(Started(address, adapter.versions()))
        threading.Thread(target=_end_with_input, daemon=True).start()

    adapter.serve(started)


def _end_with_input() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


def _obey(adapter: Adapter, address: str) -> None:
    for line in sys.stdin.buffer:
        order = msgspec.json.decode(line, type=Order)
        _say(Done(_carry_out(order, adapter, address)))


def _carry_out(order: Order, adapter: Adapter, address: str) -> float:
    work = find_work(order.work)

    async def use(client: Client) -> float:
        await work.measure(client, order.count // _WARM_UP + 1)
        return await work.measure(client, order.count)

    return adapter.run_client(address, use)


def _say(message: Started | Done) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(message) + b"\n")
    sys.stdout.buffer.flush()


def main(arguments: list[str]) -> None:
    """Run one side, as the command line says."""
    match arguments:
        case ["server", name]:
            _serve(load(name))
        case ["client", name, address]:
            _obey(load(name), address)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
