"""Checks that trio runs, where a program enters this library."""

from __future__ import annotations

import sys

import trio

__all__ = ["check_trio_runs"]


def check_trio_runs(what: str) -> None:
    """Refuse to go on outside of trio, where its own error does not say what to do.

    Args:
        what: the operation, as it starts the text of the error.

    Raises:
        RuntimeError: no trio runs in this thread.
    """
    try:
        trio.lowlevel.current_task()
    except RuntimeError:
        how = "start the program with trio.run(main)"
        if _asyncio_runs():
            how += ", not with asyncio.run(main())"
        raise RuntimeError(
            f"{what} needs trio, which does not run here: {how}"
        ) from None


def _asyncio_runs() -> bool:
    asyncio = sys.modules.get("asyncio")
    if asyncio is None:
        return False
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
