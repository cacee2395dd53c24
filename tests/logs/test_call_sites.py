"""Every module logs by `roam_trio.logs`, and puts no text into the message itself."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import roam_trio

PACKAGE = Path(roam_trio.__file__).parent
LOGS = PACKAGE / "logs.py"
SETS_UP = PACKAGE / "cli" / "log_format.py"
"""Sets up logging for a program that is a server, and logs nothing."""
WARNS = PACKAGE / "contrib" / "asyncio" / "unclosed.py"
"""Warns of what a program has not closed, and knows no texts of peers."""
MODULES = sorted(set(PACKAGE.rglob("*.py")) - {LOGS, SETS_UP, WARNS})
METHODS = {"debug", "info", "warning", "error", "exception", "failure"}

IDS = [str(path.relative_to(PACKAGE)) for path in MODULES]


def wrong(tree: ast.Module) -> Iterator[str]:
    """What a module does about logging that it must not."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                for name in names:
                    if name.name.split(".")[0] in ("logging", "warnings"):
                        yield f"{node.lineno}: imports {name.name}"
            case ast.ImportFrom(module="logging" | "warnings" | "logging.handlers"):
                yield f"{node.lineno}: imports from {node.module}"
            case ast.Assign(targets=[ast.Name(id="logger")], value=value):
                if not _is_log(value):
                    yield f"{node.lineno}: logger is no Log"
            case ast.Call(func=ast.Attribute(value=ast.Name(id="logger")) as method):
                yield from _wrong_call(node, method.attr)
            case ast.Name(id="logger", ctx=ast.Load()):
                if not _is_called_on(tree, node):
                    yield f"{node.lineno}: logger is handed on"


def _is_log(value: ast.expr) -> bool:
    match value:
        case ast.Call(func=ast.Name(id="Log"), args=[ast.Constant(value=str())]):
            return True
    return False


def _wrong_call(call: ast.Call, method: str) -> Iterator[str]:
    if method not in METHODS:
        yield f"{call.lineno}: logger has no {method}"
        return
    # The first of `failure` is the exception.
    match call.args[method == "failure" :]:
        case [ast.Constant(value=str(message)), *args]:
            if message.replace("%%", "").count("%") != len(args):
                yield f"{call.lineno}: {len(args)} arguments for {message!r}"
        case _:
            yield f"{call.lineno}: the message is no literal"


def _is_called_on(tree: ast.Module, name: ast.Name) -> bool:
    return any(
        isinstance(node, ast.Attribute) and node.value is name
        for node in ast.walk(tree)
    )


@pytest.mark.parametrize("path", MODULES, ids=IDS)
def test_a_module_logs_by_log_alone(path: Path) -> None:
    assert list(wrong(ast.parse(path.read_text(encoding="utf-8")))) == []


@pytest.mark.parametrize(
    "source",
    [
        "import logging",
        "import logging.handlers",
        "from logging import getLogger",
        "import warnings",
        "logger = getLogger('x')",
        "logger.warning(f'a client said {text}')",
        "logger.warning('a client said ' + text)",
        "logger.warning('a client said %s' % text)",
        "logger.warning('a client said %s')",
        "logger.failure(error, f'a client said {text}')",
        "logger.log(30, 'it is late')",
        "function(logger)",
    ],
)
def test_what_goes_around_log_is_found(source: str) -> None:
    assert list(wrong(ast.parse(source)))


def test_what_goes_through_log_is_not_found() -> None:
    source = "logger = Log('x')\nlogger.error('%s: 100%%', name, exc_info=error)"
    source += "\nlogger.failure(error, '%s failed', name)"
    assert list(wrong(ast.parse(source))) == []
