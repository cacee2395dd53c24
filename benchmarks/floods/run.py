"""Runs one flood: a server, an honest client and a flooder, each in its own process."""

from __future__ import annotations

import queue
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import msgspec

from .honest import Counted
from .kinds import NEEDS_RESUME
from .outcome import Outcome

__all__ = ["Stuck", "flood", "reason_in"]

_PATIENCE: Final = 60.0
"""Seconds after which a process that says nothing is taken to be stuck."""

_SETTLING: Final = 0.5
"""Seconds between the first honest calls and the look at the memory when idle."""

_LEFT: Final = "the peer has closed the link"


class Stuck(Exception):
    """A process has ended, or says nothing."""


class _Process:
    """A process, the lines that it prints, and how to tell it something."""

    def __init__(self, module: str, *arguments: str) -> None:
        self._name = module
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"benchmarks.floods.{module}", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line.strip())
        self._lines.put(None)

    def line(self, patience: float = _PATIENCE) -> str:
        """Return the next line.

        Raises:
            Stuck: there is none.
        """
        try:
            line = self._lines.get(timeout=patience)
        except queue.Empty:
            line = None
        if line is None:
            raise Stuck(f"the {self._name} says nothing")
        return line

    def lines(self) -> Iterator[str]:
        """Return the lines that are there."""
        while not self._lines.empty():
            line = self._lines.get()
            if line is None:
                raise Stuck(f"the {self._name} has ended")
            yield line

    def tell(self) -> None:
        """Send a line."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    @property
    def pid(self) -> int:
        return self._process.pid

    def end(self) -> None:
        """End it, for good."""
        self._process.kill()
        self._process.wait()
        self._reader.join()  # it reads to the end, and not from a closed file
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()


@contextmanager
def _process(module: str, *arguments: str) -> Iterator[_Process]:
    process = _Process(module, *arguments)
    try:
        yield process
    finally:
        process.end()


def _resident(server: _Process) -> int:
    """Return the memory of the server in bytes, and begin a new peak."""
    Path(f"/proc/{server.pid}/clear_refs").write_text("5", encoding="ascii")
    return _bytes_in(server, "VmRSS")


def _peak(server: _Process) -> int:
    return _bytes_in(server, "VmHWM")


def _bytes_in(server: _Process, name: str) -> int:
    text = Path(f"/proc/{server.pid}/status").read_text(encoding="ascii")
    _, _, rest = text.partition(f"{name}:")
    return int(rest.split(maxsplit=1)[0]) * 1024


def flood(
    name: str | None,
    seconds: float,
    *,
    until_ended: bool = False,
    patience: float = _PATIENCE,
) -> Outcome:
    """Flood a server of its own for some seconds, and return what that has cost.

    Args:
        name: the flood; None for none, to see what the machine does without.
        seconds: how long it is flooded, at least.
        until_ended: go on until the server has ended a session of the flooder.
        patience: number of seconds that the processes may say nothing.

    Raises:
        Stuck: a process has ended, or says nothing.
    """
    options = ["--resume"] if name in NEEDS_RESUME else []
    with ExitStack() as stack:
        server = stack.enter_context(_process("server", *options))
        url = server.line(patience)
        honest = stack.enter_context(_process("honest", url, str(server.pid), *options))
        honest.line(patience)
        time.sleep(_SETTLING)
        idle = _resident(server)
        if name is not None:
            stack.enter_context(_process("flooder", url, name)).line(patience)
        honest.tell()
        time.sleep(seconds)
        ends = Counter([reason_in(server.line(patience))] if until_ended else [])
        honest.tell()
        counted = msgspec.json.decode(honest.line(patience), type=Counted)
        memory = _peak(server) - idle
        ends.update(reason_in(line) for line in server.lines())
    del ends[_LEFT]
    return Outcome(name or "none", memory, counted, ends)


def reason_in(line: str) -> str:
    """Return the limit because of which a session has ended, or the reason in words."""
    if _LEFT in line:
        return _LEFT
    limit = re.search(r"\(limit: (\w+)[;)]", line)
    return limit[1] if limit else line.partition(" (peer: ")[0]
