"""Everything that can grow has a row with its bound in docs/architecture.md.

The attributes come from the source: those that are a dict, a list or another collection
to begin with, or by their annotation; and functions that cache results.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import attrs

from roam_trio import Limits

ROOT: Final = Path(__file__).parents[1]
PAGE: Final = ROOT / "docs" / "architecture.md"

ROOMS: Final = (
    "wire",
    "links",
    "conduits",
    "transports",
    "rpc",
    "service",
    "session",
    "endpoints",
)
"""The rooms that a peer's bytes pass, or what becomes of them; others hold types."""

COLLECTIONS: Final = frozenset(
    (
        *("bytearray", "deque", "dict", "list", "set"),
        *("ChainMap", "Counter", "OrderedDict", "defaultdict", "FillableBytes"),
        *("MutableMapping", "MutableSequence", "MutableSet", "SimpleQueue"),
        *("WeakKeyDictionary", "WeakSet", "WeakValueDictionary", "ParkingLot"),
    )
)
LITERALS: Final = (ast.Dict, ast.DictComp, ast.List, ast.ListComp, ast.Set, ast.SetComp)

WHERE_FROM: Final = re.compile(r"^(trio\.lowlevel|collections|queue|weakref)\.")

HEADING: Final = "### Collections, and their bounds"


class Held(NamedTuple):
    """Something that can grow.

    Attributes:
        module: the path of its module.
        name: its class and its attribute, or a function that caches.
    """

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.name} in {self.module}"


class Row(NamedTuple):
    """A row of the table."""

    held: tuple[Held, ...]
    bound: str


# ------------------------------------------------------------ the source


def all_held() -> set[Held]:
    """Return everything in the package that can grow."""
    package = ROOT / "roam_trio"
    paths = [*package.glob("*.py")]
    for room in ROOMS:
        paths += (package / room).rglob("*.py")
    return {
        Held(str(path.relative_to(ROOT)), name)
        for path in paths
        for name in collections_in(path.read_text("utf-8"))
    }


def collections_in(source: str) -> set[str]:
    """Return the names of the collections in the source of a module."""
    found: set[str] = set()
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            found.update(f"{node.name}.{name}" for name in attributes_of(node))
        elif isinstance(node, ast.FunctionDef) and any(
            map(caches, node.decorator_list)
        ):
            found.add(f"{node.name}()")
    for node in tree.body:
        found.update(name for name, value in assigned(node) if starts_empty(value))
    return found


def attributes_of(cls: ast.ClassDef) -> Iterator[str]:
    """Yield the attributes of a class that are collections."""
    for node in cls.body:
        if isinstance(node, ast.AnnAssign) and is_collection(node):
            yield from named(node.target)
    for node in ast.walk(cls):
        if isinstance(node, ast.Assign) and makes_collection(node.value):
            for target in node.targets:
                yield from named(target, of="self")
        elif isinstance(node, ast.AnnAssign) and is_collection(node):
            yield from named(node.target, of="self")


def named(target: ast.expr, of: str | None = None) -> Iterator[str]:
    """Yield the names that are assigned to; with `of`, attributes of that name."""
    match target:
        case ast.Name(name) if of is None:
            yield name
        case ast.Attribute(ast.Name(owner), name) if owner == of:
            yield name
        case ast.Tuple(targets):
            for each in targets:
                yield from named(each, of)


def assigned(node: ast.stmt) -> Iterator[tuple[str, ast.expr | None]]:
    match node:
        case ast.Assign(targets, value):
            for target in targets:
                for name in named(target):
                    yield name, value
        case ast.AnnAssign(target, _, value):
            for name in named(target):
                yield name, value


def starts_empty(value: ast.expr | None) -> bool:
    """Return True for a collection of a module that is filled later; those that are
    not empty are constants.
    """
    match value:
        case ast.Dict(keys=items) | ast.List(elts=items):
            return not items
        case ast.Call(args=[]):
            return makes_collection(value)
    return False


def is_collection(node: ast.AnnAssign) -> bool:
    names = {
        word
        for part in ast.walk(node.annotation)
        for word in re.findall(r"\w+", name_of(part))
    }
    is_class_variable = names & {"ClassVar", "Callable"}
    if node.value is not None and makes_collection(node.value):
        return True
    return bool(names & COLLECTIONS) and not is_class_variable


def makes_collection(value: ast.expr) -> bool:
    match value:
        case ast.BoolOp(values=values):
            return any(map(makes_collection, values))
        case ast.Call(func=func, keywords=keywords):
            name = name_of(func)
            if name == "trio.open_memory_channel":
                return True
            if name in ("attrs.field", "field"):
                return any(
                    word.arg == "factory" and name_of(word.value) in COLLECTIONS
                    for word in keywords
                )
            return WHERE_FROM.sub("", name) in COLLECTIONS
    return isinstance(value, LITERALS)


def caches(decorator: ast.expr) -> bool:
    called = decorator.func if isinstance(decorator, ast.Call) else decorator
    return name_of(called).removeprefix("functools.") in ("cache", "lru_cache")


def name_of(node: ast.AST) -> str:
    """Return a dotted name, also of a generic class; empty for anything else."""
    match node:
        case ast.Name(name):
            return name
        case ast.Attribute(owner, name):
            return f"{name_of(owner)}.{name}"
        case ast.Subscript(value):
            return name_of(value)
    return ""


# ------------------------------------------------------------ the page


def rows() -> list[Row]:
    """Return the rows of the table."""
    found: list[Row] = []
    for line in PAGE.read_text("utf-8").partition(HEADING)[2].splitlines():
        if line.startswith("## "):
            break
        if line.startswith("| `"):
            module, names, _, bound = (cell.strip() for cell in line.split("|")[1:-1])
            held = (
                Held(module.strip("`"), name) for name in re.findall("`(.*?)`", names)
            )
            found.append(Row(tuple(held), bound))
    return found


def test_everything_that_can_grow_has_a_row_with_its_bound() -> None:
    missing = all_held() - {held for row in rows() for held in row.held}
    told = "\n".join(
        f"{held}\n    | `{held.module}` | `{held.name}` | what it holds | bound |"
        for held in sorted(missing)
    )
    assert not missing, (
        "These collections have no row in the table of docs/architecture.md below "
        f'"{HEADING}". Can a peer make one grow? Then give it a bound that does not '
        "depend on the peer (a field of `Limits` whose name the error tells), test "
        "what happens beyond it, and name the field in the row. Otherwise the row "
        f"gives the reason why it cannot grow.\n{told}"
    )


def test_every_row_is_of_something_that_is_there() -> None:
    held = [held for row in rows() for held in row.held]
    gone = set(held) - all_held()
    assert not gone, f"remove from docs/architecture.md: {sorted(map(str, gone))}"
    assert len(held) == len(set(held)), "something has two rows"


def test_every_row_says_what_bounds_it() -> None:
    limits = {field.name for field in attrs.fields(Limits)}
    for row in rows():
        assert row.bound, f"what bounds {row.held[0]}?"
        for name in re.findall(r"`Limits\.(\w+)`", row.bound):
            assert name in limits, f"Limits has no {name}: {row}"


def test_page_names_every_limit() -> None:
    told = set(re.findall(r"`Limits\.(\w+)`", PAGE.read_text("utf-8")))
    limits = {field.name for field in attrs.fields(Limits)}
    assert not told - limits
    assert not limits - told - {"warn_after"}, "add them to docs/architecture.md"


# ------------------------------------------------------------ the search itself

SOURCE: Final = """
from functools import cache, lru_cache
SEEN: dict[int, str] = {}
_LATER = set()
FIXED = {1: "a"}
NUMBER = 3

@cache
def cached(key): ...
@lru_cache(maxsize=3)
def few(key): ...
def plain(key): ...

class Holder:
    count: int = 0
    kinds: ClassVar[dict[str, int]] = {}
    parts: list[int] = attrs.field(factory=list)
    def __init__(self, given, limit: int) -> None:
        self.plain = 1
        self.later: dict[int, str] | None = None
        self.given = given
        self.call: Callable[[list[int]], None] = given
        self.buffer = bytearray()
        self.a, self.b = trio.open_memory_channel[int](0)
        self.queue = collections.deque()
        self.mapping = given or {}
        self.made = given.set(3)
        other.there = []
"""


def test_search_finds_what_can_grow() -> None:
    assert collections_in(SOURCE) == {
        "SEEN",
        "_LATER",
        "cached()",
        "few()",
        *(
            f"Holder.{name}"
            for name in ("kinds", "parts", "later", "buffer", "a", "b", "mapping")
        ),
        "Holder.queue",
    }
