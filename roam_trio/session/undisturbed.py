"""The check that the current task is in its run and not cancelled, in few steps.

Each call and item makes it. The functions of trio take a coroutine and four calls, and
nearly always do nothing. The function here reads the same attributes of trio; if a
release of trio does not have them, trio's functions are called.
"""

from __future__ import annotations

from typing import Any

from trio.lowlevel import Task, TrioToken, current_task

__all__ = ["undisturbed_task"]


def undisturbed_task(token: TrioToken | None) -> Task | None:
    """Return the current task if it is in a run of trio, and nothing has cancelled it.

    `check_run` and `trio.lowlevel.checkpoint_if_cancelled` would then do nothing. If
    the result is None, they have to be called.

    Args:
        token: the run.
    """
    try:
        task: Any = current_task()
        runner = task._runner
        if (
            runner.trio_token is token
            and not task._cancel_status.effectively_cancelled
            and not runner.ki_pending
        ):
            found: Task = task
            return found
    except (RuntimeError, AttributeError):
        pass
    return None
