"""The server of a soak, a process of its own; `run` starts it.

    python -m benchmarks.soak.server

It listens twice: at the second URL it waits for clients that it has lost.
"""

from __future__ import annotations

import logging
from collections import Counter
from functools import partial

import trio

from roam_trio import Limits, dispatcher, serve

from .gauges import gauge
from .orders import Said, obey, say
from .service import Soaked, SoakedHandler

__all__ = ["RESUME_SECONDS"]

RESUME_SECONDS = 20.0
"""Number of seconds that the server waits for clients that it has lost."""


class _Counted(logging.Handler):
    """Counts records, and makes their text, but keeps none."""

    def __init__(self) -> None:
        super().__init__()
        self.done: Counter[str] = Counter()

    def emit(self, record: logging.LogRecord) -> None:
        self.done["log characters"] += len(self.format(record))
        self.done["log records"] += 1


async def _serve_until_input_ends(counted: _Counted) -> None:
    offered = {"soaked": dispatcher(Soaked, SoakedHandler())}
    lasting = partial(serve, resume=True, limits=Limits(resume_seconds=RESUME_SECONDS))

    async def answer(order: str) -> Said:
        assert order == "look"
        await trio.lowlevel.checkpoint()
        return Said(gauges=gauge(), done=dict(counted.done))

    async with trio.open_nursery() as nursery:
        plain = await nursery.start(serve, "tcp://127.0.0.1:0", offered)
        resuming = await nursery.start(lasting, "tcp://127.0.0.1:0", offered)
        say(Said(urls=[plain.url, resuming.url]))
        await obey(answer)
        nursery.cancel_scope.cancel()


def _main() -> None:
    counted = _Counted()
    log = logging.getLogger("roam_trio")
    log.addHandler(counted)
    log.propagate = False
    trio.run(_serve_until_input_ends, counted)


if __name__ == "__main__":
    _main()
