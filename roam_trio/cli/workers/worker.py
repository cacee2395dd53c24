"""The program of a worker."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import trio

from ...links.resuming.siblings import Siblings
from ..exits import Exit
from ..log_format import begin_log
from ..server_options import handlers_at
from ..serving_until_signal import started
from ..until_signal import STOP_SIGNALS, die_of_the_next_signal
from .job import Job
from .parent import READY

__all__ = ["run_worker", "serve_job"]


async def run_worker(text: str) -> Exit:
    """Serve until a signal comes or the parent is gone, and drain.

    Args:
        text: the job.
    """
    job = Job.of_text(text)
    begin_log(*job.log)
    with trio.open_signal_receiver(*STOP_SIGNALS) as signals:
        async with trio.open_nursery() as nursery:
            stop = trio.Event()
            nursery.start_soon(_stop_on, signals, stop)
            await serve_job(job, stop)
            nursery.cancel_scope.cancel()
    return Exit.DONE


async def _stop_on(signals: AsyncIterator[int], stop: trio.Event) -> None:
    await anext(signals)
    die_of_the_next_signal()
    stop.set()


async def serve_job(job: Job, stop: trio.Event) -> None:
    """Serve until told to stop, and drain.

    Args:
        job: the job.
        stop: tells it, and so does the end of the parent.
    """
    options: dict[str, Any] = {"memory": job.memory}
    if job.serving.resume:
        options["resume"] = Siblings(*job.siblings)
    serve = job.serving.serve(handlers_at(job.handlers), **options)
    with socket.socket(fileno=job.control) as control:
        control.setblocking(False)
        async with trio.open_nursery() as nursery:
            server = await started(nursery, serve)
            while job.ends:
                os.close(
                    job.ends.pop()
                )  # or the parent would not see that none are taken
            control.send(READY)
            nursery.start_soon(_stop_without_parent, control, stop)
            await stop.wait()
            await server.shutdown(job.serving.grace)
            nursery.cancel_scope.cancel()


async def _stop_without_parent(control: socket.socket, stop: trio.Event) -> None:
    await trio.lowlevel.wait_readable(control)
    with suppress(ConnectionError):
        control.recv(1)  # nothing is sent, so this is the end
    stop.set()
