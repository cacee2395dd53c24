"""No frame holds the error that it raises, and leaves both to the garbage collector."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MODULES = sorted((ROOT / "roam_trio").rglob("*.py"))


def held(source: str) -> list[str]:
    """Return the line and the name of each variable that is raised and not deleted.

    The traceback of an error refers to the frame, and the variable in the frame to the
    error. Python deletes the variable of an ``except`` clause itself.
    """
    return sorted(_held_in(ast.parse(source), frozenset()))


def _held_in(node: ast.AST, deleted: frozenset[str]) -> Iterator[str]:
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            deleted = frozenset()
        case ast.Try(finalbody=[_, *_]):
            names = frozenset(
                target.id
                for statement in ast.walk(ast.Module(node.finalbody, []))
                if isinstance(statement, ast.Delete)
                for target in statement.targets
                if isinstance(target, ast.Name)
            )
            for each in (*node.body, *node.handlers, *node.orelse):
                yield from _held_in(each, deleted | names)
            for each in node.finalbody:
                yield from _held_in(each, deleted)
            return
        case ast.ExceptHandler(name=str(name)):
            deleted |= {name}
        case ast.Raise(exc=ast.Name(id=name)) if (
            name not in deleted and not name.lstrip("_")[0].isupper()
        ):
            yield f"{node.lineno}: {name}"
    for child in ast.iter_child_nodes(node):
        yield from _held_in(child, deleted)


def test_what_is_held_is_found() -> None:
    source = """
def raises(error, other):
    try:
        raise error
    except ValueError as caught:
        raise caught
    finally:
        del other
    raise other

def deletes(error):
    try:
        raise error
    finally:
        del error
    raise NotImplementedError
"""
    assert held(source) == ["4: error", "9: other"]


@pytest.mark.parametrize(
    "module", MODULES, ids=lambda path: str(path.relative_to(ROOT / "roam_trio"))
)
def test_no_frame_holds_the_error_that_it_raises(module: Path) -> None:
    assert held(module.read_text(encoding="utf-8")) == []
