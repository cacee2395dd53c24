"""Following a page as its reader does: commands typed in terminals.

A block ```` ```console title="terminal 1" ```` has what that terminal shows. Its lines
with ``$`` are typed, and ``^C`` is Control-C. In terminal 2 run the programs that end
at once. The others go on, and the next step begins when they have printed what the page
shows. A line ``…`` stands for any number of lines.
"""

from __future__ import annotations

import os
import re
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from .pages import ROOT, steps_of
from .terminal import Terminal

__all__ = ["follow"]

_VARYING = [
    (re.compile(r"\bin \d+\.\d+s"), "in 0.00s"),  # of pytest
    (re.compile(r"(?<=\bid )[0-9a-f]{8}"), "0" * 8),  # of a failure
    (re.compile(r"[-0-9]{10} [0-9:]{8},\d+"), "2000-01-01 00:00:00,000"),  # of the log
    (re.compile(r"(?<=_ssl\.c:)\d+"), "0"),
    (re.compile(r"(?<=127\.0\.0\.1:)\d+"), "0"),
]


def follow(page: Path, directory: Path) -> Iterator[tuple[str, str, str]]:
    """Follow a page in a directory with its files.

    Yields:
        A terminal, the pattern of what it shows by the page, and what it has shown.
    """
    port = str(_free_port())
    for file in directory.iterdir():
        if file.suffix in (".py", ".sh"):
            file.write_text(file.read_text("utf-8").replace("7000", port))
    terminals: dict[str, Terminal] = {}
    expected: dict[str, str] = {}
    with ExitStack() as stack:
        for name, block in steps_of(page):
            if name not in terminals:
                terminals[name] = Terminal(directory, _environment(directory))
                stack.callback(terminals[name].close)
            _perform(terminals[name], block.replace("7000", port), name)
            expected[name] = expected.get(name, "") + block
        for name, terminal in terminals.items():
            if name != "terminal 1":
                terminal.wait_for_prompt()
    for name, terminal in terminals.items():
        yield name, _pattern(expected[name]), _without_what_varies(terminal.shown)


def _perform(terminal: Terminal, block: str, name: str) -> None:
    for line in block.splitlines():
        if line.startswith("$ "):
            terminal.type(line.removeprefix("$ "))
            continue
        if line.startswith("^C"):
            terminal.interrupt()
            line = line.removeprefix("^C")
        if line not in ("", "…"):
            terminal.wait_for(_known_part(line))
    if name == "terminal 2":
        terminal.wait_for_prompt()


def _known_part(line: str) -> str:
    """Return the longest part of a line that does not vary."""
    parts = [line]
    for varying, _ in _VARYING:
        parts = [each for part in parts for each in varying.split(part)]
    return max(parts, key=len)


def _pattern(block: str) -> str:
    text = re.escape(_without_what_varies(block))
    return text.replace(re.escape("…\n"), r"(?:.*\n)*?")


def _without_what_varies(text: str) -> str:
    for varying, instead in _VARYING:
        text = varying.sub(instead, text)
    return re.sub(r"^(\^C)?\n?| +$", "", text, flags=re.M)


def _environment(directory: Path) -> dict[str, str]:
    """Return one in which `python` and `roam-trio` are those of the tests."""
    programs = directory / ".programs"
    if not programs.exists():
        programs.mkdir()
        for name, start in {"python": "", "roam-trio": " -m roam_trio"}.items():
            script = programs / name
            script.write_text(f'#!/bin/sh\nexec "{sys.executable}"{start} "$@"\n')
            script.chmod(0o755)
    left_out = {"PYTEST_ADDOPTS", "PYTEST_CURRENT_TEST", "NO_COLOR"}
    kept = {k: v for k, v in os.environ.items() if k not in left_out}
    path = f"{programs}:{os.environ['PATH']}"
    return {**kept, "PATH": path, "PYTHONPATH": str(ROOT), "NO_COLOR": "1"}


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port
