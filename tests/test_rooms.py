"""The order of imports between the parts of the package."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = "roam_trio"

ROOMS = (
    ("native",),
    (
        "effective_deadline",
        "extras",
        "quantities",
        "running",
        "failures",
        "kept_errors",
    ),
    ("legible",),
    ("metadata",),
    ("errors", "peers"),
    ("limits", "peer_identity", "tracebacks"),
    ("log_budget",),
    ("logs",),
    ("wire",),
    ("schema",),
    ("codec",),
    ("facet", "facet_postcard"),
    ("links",),
    ("conduits",),
    ("transports",),
    ("rpc",),
    ("service", "session"),
    ("hash",),
    ("endpoints",),
    ("testing",),
    ("codegen",),
    ("demo",),
    ("contrib",),
    ("cli",),
)
"""From the ground up. A room may import from those in rows above its own here."""

FLOOR = {room: number for number, row in enumerate(ROOMS) for room in row}

NAMED_AS_IN_RUST = {("roam_trio.session", "roam_trio.service.descriptor")}
"""The crate has the descriptors of services in its module `session`, too."""


def modules() -> dict[str, Path]:
    found = {}
    for path in sorted((ROOT / PACKAGE).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imported(module: str, path: Path) -> Iterator[str]:
    """Yield what a module imports from the package, `TYPE_CHECKING` included."""
    package = (
        module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    )
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name in MODULES)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            target = ".".join([*base, *([node.module] if node.module else [])])
            for name in node.names:
                inner = f"{target}.{name.name}"
                if inner in MODULES:
                    yield inner
                elif target in MODULES:
                    yield target


IMPORTS = {module: set(imported(module, path)) for module, path in MODULES.items()}


def room(module: str) -> str | None:
    """Return the room that a module is in; the package itself is in none."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] != "__main__" else None


def test_every_module_is_in_a_room() -> None:
    above = {None, "lowlevel"}
    assert {room(module) for module in MODULES} - above == set(FLOOR)


def test_the_page_on_the_architecture_has_every_room() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rooms = (ROOT / PACKAGE / room for room in FLOOR)
    paths = [
        f"`{PACKAGE}/{path.name}/" if path.is_dir() else f"`{PACKAGE}/{path.name}.py`"
        for path in rooms
    ]
    assert [path for path in paths if path not in page] == []


def test_imports_point_down() -> None:
    upwards = [
        f"{module} -> {target}"
        for module, targets in IMPORTS.items()
        for target in sorted(targets)
        if (here := room(module)) in FLOOR
        and (there := room(target)) in FLOOR
        and here != there
        and (module, target) not in NAMED_AS_IN_RUST
        and FLOOR[there] >= FLOOR[here]
    ]
    assert upwards == []


def test_nothing_below_imports_the_package_itself() -> None:
    above = {PACKAGE, f"{PACKAGE}.lowlevel", f"{PACKAGE}.__main__"}
    assert [
        module
        for module, targets in IMPORTS.items()
        if PACKAGE in targets
        and module not in above
        and room(module) not in ("cli", "demo", "codegen", "testing")
    ] == []


def circles() -> list[list[str]]:
    """Return the modules that reach themselves through their imports, in groups."""
    reach: dict[str, set[str]] = {}
    for module in IMPORTS:
        seen: set[str] = set()
        todo = [module]
        while todo:
            for target in IMPORTS[todo.pop()] - seen:
                seen.add(target)
                todo.append(target)
        reach[module] = seen
    groups = {
        frozenset(other for other in reach[module] if module in reach[other])
        for module in IMPORTS
        if module in reach[module]
    }
    return sorted(sorted(group) for group in groups)


def test_no_module_imports_itself_through_others() -> None:
    assert circles() == []


@pytest.mark.parametrize("module", sorted(MODULES))
def test_rooms_of_the_shells_are_imported_by_nobody_else(module: str) -> None:
    shells = {"cli", "demo"}
    if room(module) not in shells and module != f"{PACKAGE}.__main__":
        assert not {room(target) for target in IMPORTS[module]} & shells


MOST_ATTRIBUTES = 15
MOST_METHODS = 25

PLAIN_DATA = ("codegen", f"{PACKAGE}.wire.messages")
"""What converts source, and what has the fields that the protocol gives it."""


def classes() -> Iterator[tuple[str, ast.ClassDef]]:
    for module, path in MODULES.items():
        if room(module) not in PLAIN_DATA and module not in PLAIN_DATA:
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ClassDef):
                    yield f"{module}.{node.name}", node


def methods_of(cls: ast.ClassDef) -> dict[str, ast.AST]:
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name: node for node in cls.body if isinstance(node, functions)}


def attributes_of(cls: ast.ClassDef) -> set[str]:
    """Return the fields, the slots, and what methods assign to `self`."""
    found = set()
    for node in cls.body:
        match node:
            case ast.AnnAssign(target=ast.Name(id=name)):
                if "ClassVar" not in ast.unparse(node.annotation):
                    found.add(name)
            case ast.Assign(targets=[ast.Name(id="__slots__")], value=slots):
                names = ast.literal_eval(slots)
                found |= {names} if isinstance(names, str) else set(names)
    for method in methods_of(cls).values():
        for node in ast.walk(method):
            match node:
                case ast.Attribute(ast.Name("self"), name, ast.Store()):
                    found.add(name)
    return found


def too_large(cls: ast.ClassDef) -> str | None:
    """Say of what a class has too many; None if its docstring gives the reason."""
    for kind, count, most in (
        ("attributes", len(attributes_of(cls)), MOST_ATTRIBUTES),
        ("methods", len(methods_of(cls)), MOST_METHODS),
    ):
        if count > most and f"{kind}, as " not in (ast.get_docstring(cls) or ""):
            return f"{count} {kind}, at most {most}"
    return None


def test_classes_are_small_or_say_why_they_are_not() -> None:
    found = {name: problem for name, cls in classes() if (problem := too_large(cls))}
    assert found == {}


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("".join(f"    a{n}: int\n" for n in range(16)), "16 attributes, at most 15"),
        (f"    __slots__ = {tuple('abcdefghijklmnop')}", "16 attributes, at most 15"),
        (
            "    def f(self):\n"
            + "".join(f"        self.a{n} = {n}\n" for n in range(8))
            + "    async def g(self):\n"
            + "".join(f"        self.b{n}: int = {n}\n" for n in range(8)),
            "16 attributes, at most 15",
        ),
        (
            "".join(f"    async def f{n}(self): ...\n" for n in range(26)),
            "26 methods, at most 25",
        ),
        ("".join(f"    def f{n}(self): ...\n" for n in range(25)), None),
        ("".join(f"    a{n}: int\n" for n in range(15)), None),
        (
            '    """It has many attributes, as many are needed."""\n'
            + "".join(f"    a{n}: int\n" for n in range(16)),
            None,
        ),
    ],
)
def test_what_a_class_has_is_counted(body: str, problem: str | None) -> None:
    (cls,) = ast.parse(f"class C:\n{body}").body
    assert isinstance(cls, ast.ClassDef)
    assert too_large(cls) == problem
