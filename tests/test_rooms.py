"""Which part of the package may import which, read from the imports themselves."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = "roam_trio"

ROOMS = (
    ("quantities", "running", "failures", "kept_errors"),
    ("legible",),
    ("metadata",),
    ("errors", "peers"),
    ("limits", "tracebacks"),
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
    ("columns",),
    ("service", "session"),
    ("hash",),
    ("endpoints",),
    ("testing",),
    ("codegen",),
    ("demo",),
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


def test_columns_are_reached_through_their_door_by_those_that_encode_and_decode() -> (
    None
):
    reached = {
        (module, target)
        for module, targets in IMPORTS.items()
        for target in targets
        if room(target) == "columns" and room(module) != "columns"
    }
    door = f"{PACKAGE}.columns"
    assert reached == {
        (f"{PACKAGE}.service.descriptor", door),
        (f"{PACKAGE}.service.dispatcher", door),
        (f"{PACKAGE}.session.proxy", door),
    }


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
