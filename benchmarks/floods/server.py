"""The server that is flooded, a process of its own; `run` starts it.

    python -m benchmarks.floods.server [--resume]

It prints its URL, and then a line for each session that ends and for each client that
it turns away, with the reason. It ends with its input.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

import trio

from roam_trio import Observer, dispatcher, serve

from .files import allow_many_files
from .service import NAME, Target, TargetHandler

__all__: list[str] = []


class _Formatting(logging.Handler):
    """Makes the text of each record, as a program does, but keeps none."""

    def emit(self, record: logging.LogRecord) -> None:
        self.format(record)


class _Telling(Observer):
    """Prints why sessions end."""

    def session_closed(self, session: Any, because: BaseException) -> None:
        _say(because)

    def client_turned_away(self, peer: Any, because: BaseException) -> None:
        _say(because)


def _say(because: BaseException) -> None:
    print(" ".join(str(because).split()), flush=True)


async def _serve_until_input_ends(*, resume: bool) -> None:
    offered = {NAME: dispatcher(Target, TargetHandler())}

    async def listen(task_status: trio.TaskStatus[Any]) -> None:
        await serve(
            "tcp://127.0.0.1:0",
            offered,
            resume=resume,
            observer=_Telling(),
            task_status=task_status,
        )

    async with trio.open_nursery() as nursery:
        server = await nursery.start(listen)
        print(server.url, flush=True)
        await trio.to_thread.run_sync(sys.stdin.read, abandon_on_cancel=True)
        nursery.cancel_scope.cancel()


def _main() -> None:
    allow_many_files()
    log = logging.getLogger("roam_trio")
    log.addHandler(_Formatting())
    log.propagate = False
    trio.run(lambda: _serve_until_input_ends(resume="--resume" in sys.argv))


if __name__ == "__main__":
    _main()
