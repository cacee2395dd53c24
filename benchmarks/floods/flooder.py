"""The flooder, a process of its own; `run` starts it.

    python -m benchmarks.floods.flooder URL FLOOD

It prints "begun", and does the flood again and again, until its input ends: it comes
back at once when its session has ended.
"""

from __future__ import annotations

import sys

import trio

from .files import allow_many_files
from .kinds import FLOODS

__all__: list[str] = []

_PAUSE = 0.02
"""Number of seconds after which it comes back."""


async def _run(url: str, name: str) -> None:
    flood = FLOODS[name]

    async def go_on() -> None:
        while True:
            try:
                await flood(url)
            except* (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
                pass
            await trio.sleep(_PAUSE)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(go_on)
        print("begun", flush=True)
        await trio.to_thread.run_sync(sys.stdin.read, abandon_on_cancel=True)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    allow_many_files()
    trio.run(_run, *sys.argv[1:])
