"""Verbs in processes of their own: piped, and in a pseudo-terminal."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["ROOT", "Terminal", "piped", "served", "start"]

ROOT = Path(__file__).parent.parent.parent
PROGRAM = [sys.executable, "-m", "roam_trio"]


def _environment(**more: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "COLUMNS")}
    return {**kept, "PYTHONPATH": str(ROOT), "TERM": "xterm", **more}


def start(*args: object, **options: Any) -> subprocess.Popen[bytes]:
    """Start a verb with pipes."""
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    command = [*PROGRAM, *map(str, args)]
    return subprocess.Popen(command, env=_environment(), **{**pipes, **options})


def piped(*args: object, stdin: str = "", code: int = 0) -> tuple[str, str]:
    """Run a verb with pipes, and return what it writes to both."""
    process = start(*args)
    out, err = process.communicate(stdin.encode(), timeout=60)
    assert process.returncode == code, err.decode()
    return out.decode(), err.decode()


@contextmanager
def served(*options: object) -> Iterator[str]:
    """Serve the shop in a process, and yield its URL."""
    handlers = ("tests.cli.shop:handlers", "--listen", "tcp://127.0.0.1:0")
    quiet = ("--grace", 0, "--log-level", "error")
    with start("serve", *handlers, *quiet, *options, stderr=None) as server:
        assert server.stdout is not None
        try:
            yield json.loads(server.stdout.readline())["url"]
        finally:
            server.terminate()
            assert server.wait(30) == 0


class Terminal:
    """A verb in a pseudo-terminal of its own.

    Attributes:
        shown: everything that it has written so far.
    """

    def __init__(self, *args: object, **environment: str) -> None:
        self._master, slave = pty.openpty()
        self.shown = ""
        self._process = subprocess.Popen(
            [*PROGRAM, *map(str, args)],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=_environment(COLUMNS="120", LINES="40", **environment),
            start_new_session=True,
            preexec_fn=_take_terminal,
        )
        os.close(slave)

    def until(self, text: str) -> None:
        """Read until it has written a text."""
        while text not in self.shown:
            assert self._read(), f"{text!r} has not come: {self.shown!r}"

    def type(self, text: str) -> None:
        """Write to it, as a user does; ``\\x03`` is Control-C."""
        os.write(self._master, text.encode())

    def end(self) -> int:
        """Read to its end, and return its exit code."""
        while self._read():
            pass
        os.close(self._master)
        return self._process.wait(30)

    def _read(self) -> bool:
        try:
            data = os.read(self._master, 65536)
        except OSError:  # as Linux says that nothing has it open any more
            return False
        self.shown += data.decode().replace("\r\n", "\n")
        return bool(data)


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
