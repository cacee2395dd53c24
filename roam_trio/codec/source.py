"""Generated source, built line by line, compiled once, and shown in tracebacks."""

from __future__ import annotations

import itertools
import keyword
import linecache
import re
import weakref
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import CodeType
from typing import Any, Final

__all__ = ["MAX_BLOCKS", "Function", "Module", "is_generated"]

MAX_BLOCKS: Final = 8
"""Maximum depth of nested blocks in a function; Python allows 20 loops."""

_numbers: Final = itertools.count(1)
_FILENAME: Final = "<roam_trio "


class Module:
    """The source of some functions, and the objects to which its names refer.

    Args:
        title: the name of the file in tracebacks.
    """

    def __init__(self, title: str) -> None:
        self._filename = f"{_FILENAME}{title} #{next(_numbers)}>"
        self._functions: list[Function] = []
        self._globals: dict[str, Any] = {}
        self._bound: dict[tuple[str, int], str] = {}
        self._candidates = _Candidates()
        self._reserved: set[str] = set()
        self._local_names: set[str] = set()

    def bind(self, hint: str, value: Any) -> str:
        """Return a global name for an object; the same object always gets the same
        name.
        """
        # The object is kept alive, so its id stays unique.
        name = self._bound.get((hint, id(value)))
        if name is None:
            name = self._candidates.next(hint, self._claim)
            self._bound[hint, id(value)] = name
            self._globals[name] = value
        return name

    def function(self, hint: str, *parameters: str) -> Function:
        """Return a new, empty function."""
        name = self._candidates.next(hint, self._claim)
        function = Function(self, name, parameters)
        self._functions.append(function)
        return function

    def claim_local(self, name: str) -> bool:
        """Return True if a function may use the name for a local variable."""
        if name in self._reserved:
            return False
        self._local_names.add(name)
        return True

    def _claim(self, name: str) -> bool:
        # A global must not be hidden by a local variable of any function.
        if name in self._reserved or name in self._local_names:
            return False
        self._reserved.add(name)
        return True

    def compile(self, name: str) -> Callable[..., Any]:
        """Compile everything, and return the function with this name."""
        source = "\n\n".join(str(function) for function in self._functions)
        code = compile(source, self._filename, "exec")
        # Without a modification time, linecache does not look for the file.
        linecache.cache[self._filename] = (
            len(source),
            None,
            source.splitlines(keepends=True),
            self._filename,
        )
        exec(code, self._globals)
        compiled: Callable[..., Any] = self._globals[name]
        # Peers can describe any number of types. A traceback keeps the function.
        weakref.finalize(compiled, _forget, self._filename).atexit = False
        return compiled


def _forget(filename: str) -> None:
    linecache.cache.pop(filename, None)


def is_generated(code: CodeType, title: str) -> bool:
    """Return True if code belongs to a module whose title begins with `words`."""
    return code.co_filename.startswith(f"{_FILENAME}{title} ")


class Function:
    """The lines of one function."""

    def __init__(self, module: Module, name: str, parameters: tuple[str, ...]) -> None:
        self.module = module
        self.name = name
        self._locals = set(filter(module.claim_local, parameters))
        self._candidates = _Candidates()
        self._lines = [f"def {name}({', '.join(parameters)}):"]
        self._depth = 1

    def line(self, text: str) -> None:
        self._lines.append("    " * self._depth + text)

    @contextmanager
    def block(self, head: str) -> Generator[None]:
        """Write a line such as ``if x is None:``, and indent the lines of the block."""
        self.line(head)
        self._depth += 1
        yield
        self._depth -= 1

    @property
    def depth(self) -> int:
        """Number of blocks around the next line."""
        return self._depth

    def local(self, hint: str) -> str:
        """Return a new local variable, with a name as close to the hint as possible."""
        name = self._candidates.next(hint, self._is_free)
        self._locals.add(name)
        return name

    def _is_free(self, name: str) -> bool:
        return name not in self._locals and self.module.claim_local(name)

    def __str__(self) -> str:
        return "\n".join(self._lines) + "\n"


def _identifier(hint: str) -> str:
    name = re.sub(r"\W+", "_", hint).strip("_")
    if not name.isidentifier() or keyword.iskeyword(name) or name in _BUILTINS:
        name = f"{name}_" if name.isidentifier() else f"x{name}"
    return name


# The built-in names that generated source uses.
_BUILTINS: Final = frozenset(
    each.__name__
    for each in (
        *(bytes, dict, frozenset, list, memoryview, set, str, tuple),
        *(id, len, range, zip),
    )
)


class _Candidates:
    """Candidate names for hints; never tries one twice, as thousands can be alike."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def next(self, hint: str, claim: Callable[[str], bool]) -> str:
        """Return the next name for a hint that can be claimed."""
        name = _identifier(hint)
        for number in itertools.count(self._numbers.get(name, 1)):
            candidate = name if number == 1 else f"{name}_{number}"
            if claim(candidate):
                self._numbers[name] = number + 1
                return candidate
        raise AssertionError  # pragma: no cover - there is always another candidate
