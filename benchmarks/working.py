"""Handlers whose calls take a given amount of processor time."""

from __future__ import annotations

import os
import time
from typing import Protocol

from roam_trio import dispatcher, service, u32

__all__ = ["Working", "handlers"]


@service
class Working(Protocol):
    """Work for a processor."""

    async def work(self, microseconds: u32) -> u32:
        """Use the processor for so long, and return the number of the process."""
        ...


class _WorkingImpl:
    async def work(self, microseconds: u32) -> u32:
        # Time of the processor and not of the clock: while another process runs, no
        # work is done.
        end = time.thread_time_ns() + microseconds * 1000
        while time.thread_time_ns() < end:
            pass
        return os.getpid()


handlers = dispatcher(Working, _WorkingImpl())
