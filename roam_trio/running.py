"""Checks that trio runs, and that an object is used in its own run.

A session and everything made by it belong to one `trio.run`. A change from another run
would not be noticed, because it cannot wake the tasks of this one.
"""

from __future__ import annotations

import sys

import trio
from trio.lowlevel import TrioToken, current_trio_token

__all__ = ["check_run", "check_trio_runs"]


def check_trio_runs(what: str) -> None:
    """Raise an error outside of trio. trio's own error suggests no remedy.

    Args:
        what: the operation, with which the text of the error begins.

    Raises:
        RuntimeError: trio does not run in this thread.
    """
    try:
        trio.lowlevel.current_task()
    except RuntimeError:
        how = "start the program with trio.run(main)"
        if _asyncio_runs():
            how += (
                ", not with asyncio.run(main()); or use roam_trio.contrib.asyncio, "
                "which is for programs on asyncio"
            )
        raise RuntimeError(
            f"{what} needs trio, which does not run here: {how}"
        ) from None


def check_run(token: TrioToken | None, what: str) -> None:
    """Raise an error if an object is used outside its run of trio.

    Args:
        token: the run that the object belongs to; None if it belongs to none yet.
        what: the object, with which the text of the error begins.

    Raises:
        RuntimeError: the current run is another one, or there is none.
    """
    if token is None:
        return
    try:
        is_here = current_trio_token() is token
    except RuntimeError:
        is_here = False
    if not is_here:
        raise _in_another_run(token, what)


def _in_another_run(token: TrioToken, what: str) -> RuntimeError:
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
