"""A terminal with a shell, in which a test types what a page says."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import subprocess
import termios
import time
from collections.abc import Callable, Mapping
from pathlib import Path

__all__ = ["Terminal"]

_PROMPT = "\x1e$ "
"""With a character that no program prints."""

_PATIENCE = 60.0
"""Seconds after which a program is taken to hang."""


class Terminal:
    """A shell in a pseudo-terminal of its own, which shows no escape sequences.

    Attributes:
        shown: everything on the terminal so far, prompts and commands included.
    """

    def __init__(self, directory: Path, environment: Mapping[str, str]) -> None:
        self._master, slave = pty.openpty()
        self._raw = ""
        self._process = subprocess.Popen(
            ["bash", "--norc", "--noprofile", "--noediting", "-i"],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=directory,
            env={**environment, "PS1": _PROMPT, "TERM": "dumb", "COLUMNS": "80"},
            start_new_session=True,
            preexec_fn=_take_terminal,
        )
        os.close(slave)
        self.wait_for_prompt()

    @property
    def shown(self) -> str:
        return self._raw.removesuffix(_PROMPT).replace(_PROMPT, "$ ")

    @property
    def is_idle(self) -> bool:
        return self._raw.endswith(_PROMPT)

    def type(self, command: str) -> None:
        self.wait_for_prompt()
        start = len(self._raw)
        os.write(self._master, command.encode() + b"\n")
        self._read_until(lambda: "\n" in self._raw[start:])

    def interrupt(self) -> None:
        """Press Control-C, and wait for the end of the program."""
        os.write(self._master, b"\x03")
        self.wait_for_prompt()

    def wait_for_prompt(self) -> None:
        self._read_until(lambda: self.is_idle)

    def wait_for(self, line: str) -> None:
        """Wait for text below the last prompt, or for the next prompt."""
        self._read_until(
            lambda: line in self._raw[self._raw.rfind(_PROMPT) :] or self.is_idle
        )

    def close(self) -> None:
        if not self.is_idle:
            self.interrupt()
        os.write(self._master, b"exit\n")
        self._process.wait(_PATIENCE)
        os.close(self._master)

    def _read_until(self, done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _PATIENCE
        while not done():
            left = max(0.0, deadline - time.monotonic())
            ready, _, _ = select.select([self._master], [], [], left)
            assert ready, f"nothing more has come: {self.shown}"
            data = os.read(self._master, 65536)
            self._raw += data.decode().replace("\r\n", "\n")


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
