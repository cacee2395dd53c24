"""Checks that trio runs, and that it is the run that something belongs to.

Sessions, and all that is made by them, live in one `trio.run`. What another run did to
them would never be noticed there, and tasks of one run cannot be woken from another.
"""

from __future__ import annotations

import sys

import trio
from trio.lowlevel import TrioToken, current_trio_token

__all__ = ["check_run", "check_trio_runs", "in_another_run"]


def check_trio_runs(what: str) -> None:
    """Refuse to go on outside of trio. The error of trio itself suggests no remedy.

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


def check_run(token: TrioToken | None, what: str) -> None:
    """Refuse to use something in another run of trio than its own.

    Args:
        token: the run that it belongs to; None if it belongs to none yet.
        what: what it is, as it starts the text of the error.

    Raises:
        RuntimeError: this is another run, or none.
    """
    if token is None:
        return
    try:
        is_here = current_trio_token() is token
    except RuntimeError:
        is_here = False
    if not is_here:
        raise in_another_run(token, what)


def in_another_run(token: TrioToken, what: str) -> RuntimeError:
    """Return the error of `check_run`, for callers that cannot afford the call."""
    try:
        token.run_sync_soon(_do_nothing)
    except trio.RunFinishedError:
        return RuntimeError(
            f"{what} belongs to a trio.run that is over: make another in this one, "
            "with connect() for example"
        )
    return RuntimeError(
        f"{what} belongs to another trio.run than this code: use it there, with "
        "trio.from_thread.run(..., trio_token=token), where `token` is what "
        "trio.lowlevel.current_trio_token() gave there; or make another in this one, "
        "with connect() for example"
    )


def _do_nothing() -> None:
    pass


def _asyncio_runs() -> bool:
    asyncio = sys.modules.get("asyncio")
    if asyncio is None:
        return False
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
