"""Measurements of a process: peak memory, and numbers of objects, files and tasks."""

from __future__ import annotations

import gc
import os
import resource
import sys
from pathlib import Path

import msgspec
import trio

from roam_trio import u64
from roam_trio.session.connection_run import ConnectionRun
from roam_trio.session.workers import Workers

__all__ = ["KIB", "MIB", "Memory", "State", "memory_since_last_time", "state_now"]

KIB = 1024
MIB = 1024 * KIB

_STATUS = Path("/proc/self/status")
_CLEAR_REFS = Path("/proc/self/clear_refs")
_FILES = Path("/proc/self/fd")


class Memory(msgspec.Struct, frozen=True):
    """What a process holds in memory.

    Attributes:
        peak: the most that was resident, in bytes, since the last time it was asked.
        now: what is resident now, in bytes.
        blocks: how many small objects are allocated now.
    """

    peak: u64
    now: u64
    blocks: u64


class State(msgspec.Struct, frozen=True):
    """What a process holds besides.

    Attributes:
        connections: the connections that are open, and what they hold, as `repr` tells.
        tasks: how many tasks live, without those that wait for the next call.
        files: how many file descriptors are open; 0 where that cannot be told.
    """

    connections: list[str]
    tasks: u64
    files: u64


def memory_since_last_time() -> Memory:
    """Collect what is garbage, measure, and start a new peak.

    Where the system has /proc, the peak is read there: what getrusage calls the peak
    of a process that was just started is that of the process that started it, if that
    was higher, and can never be lowered again.
    """
    gc.collect()
    if _CLEAR_REFS.exists():
        status = _STATUS.read_text("ascii")
        measured = Memory(
            _kilobytes("VmHWM", status),
            _kilobytes("VmRSS", status),
            sys.getallocatedblocks(),
        )
        _CLEAR_REFS.write_text("5", "ascii")
        return measured
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak *= 1 if sys.platform == "darwin" else KIB
    return Memory(peak, peak, sys.getallocatedblocks())


def _kilobytes(name: str, status: str) -> int:
    _, _, rest = status.partition(f"{name}:")
    return int(rest.split(maxsplit=1)[0]) * KIB


def state_now() -> State:
    """Collect what is garbage, and look."""
    gc.collect()
    connections: list[str] = []
    tasks = trio.lowlevel.current_statistics().tasks_living
    for found in gc.get_objects():
        if type(found) is ConnectionRun and found.port.ended_because is None:
            connections.append(repr(found))
        elif type(found) is Workers:
            # They stay for the next calls, for a while, and so does what ends them.
            tasks -= len(found.idle) + found._is_trimming
    return State(
        sorted(connections),
        tasks,
        len(os.listdir(_FILES)) if _FILES.exists() else 0,
    )
