"""A process that runs one side of one implementation; `processes` starts it.

    python -m benchmarks.worker server NAME
    python -m benchmarks.worker client NAME ADDRESS PID_OF_SERVER

It talks in lines of JSON. The server prints a `Started`. The client reads an `Order`
per line and prints a `Done` for each. Either ends when its standard input does.
"""

from __future__ import annotations

import os
import sys
import threading
from functools import partial

import msgspec

from .adapters import Adapter, load
from .busy import find_flood
from .results import Contestant
from .scales import find_scaled
from .stopwatch import Done, Stopwatch
from .works import Work, find_work

__all__ = ["Order", "Started", "main"]


class Started(msgspec.Struct):
    """A server is up.

    Attributes:
        address: where, for its own client.
        contestant: what it is made of, and what it can do.
    """

    address: str
    contestant: Contestant


class Order(msgspec.Struct):
    """What a client is to do: so many steps of a work."""

    work: str
    count: int


def _serve(adapter: Adapter) -> None:
    def started(address: str) -> None:
        about = Contestant(
            adapter.versions(),
            None if adapter.only is None else list(adapter.only),
            dict(adapter.lacks),
            dict(adapter.remarks),
        )
        _say(Started(address, about))
        threading.Thread(target=_end_with_input, daemon=True).start()

    adapter.serve(started)


def _end_with_input() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


def _obey(adapter: Adapter, address: str, server: int) -> None:
    for line in sys.stdin.buffer:
        order = msgspec.json.decode(line, type=Order)
        watch = Stopwatch(server)
        work = _find(order.work)
        connect = partial(adapter.connect, address)
        adapter.run(partial(work.measure, connect, order.count, watch))
        _say(watch.done())


def _find(name: str) -> Work:
    return find_scaled(name) or find_flood(name) or find_work(name)


def _allow_many_files() -> None:
    """As many open files, and so connections, as the system lets a process have."""
    if sys.platform != "win32":
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _say(message: Started | Done) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(message) + b"\n")
    sys.stdout.buffer.flush()


def main(arguments: list[str]) -> None:
    """Run one side, as the command line says."""
    _allow_many_files()
    match arguments:
        case ["server", name]:
            _serve(load(name))
        case ["client", name, address, server]:
            _obey(load(name), address, int(server))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
