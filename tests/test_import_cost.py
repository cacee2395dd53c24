"""The modules that `import roam_trio` imports besides trio, and their cost."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

BELOW = "trio, attrs, blake3, msgspec, msgspec.msgpack, typing_extensions"
"""What the package cannot do without, with all that these import themselves."""

AT_ONCE = {"dataclasses", "ipaddress", "urllib"}
"""Modules of other projects that the package imports at once, and BELOW do not, or not
under each release of Python."""

LATER = {
    "import roam_trio": {
        "cli",
        "codegen",
        "conduits",
        "demo",
        "endpoints",
        "hash",
        "links",
        "lowlevel",
        "service.description",
        "service.dynamic",
        "service.remote",
        "service.reserved",
        "session",
        "testing",
        "transports",
    },
    "from roam_trio import connect, serve": {
        "conduits.stable",
        "endpoints.proxying",
        "endpoints.serving",
        "endpoints.spawn",
        "links.child",
        "links.local",
        "links.resuming.resuming",
        "links.stdio",
        "links.tcp",
        "links.tls",
        "links.websocket",
        "lowlevel",
        "session.proxy",
        "testing",
        "transports.local",
        "transports.memory",
        "transports.stdio",
        "transports.tcp",
        "transports.tls",
        "transports.websocket",
    },
}
"""Modules and rooms that a program does not yet need after a statement: definitions of
services need no sessions, and a connection by TCP needs no TLS."""

ATTRS_CLASSES = 110
STRUCTS = 25
"""Numbers of classes whose methods are generated and compiled during the import, each
for a fifth of a millisecond or so."""

TIMES_TRIO = 2
"""How much longer the import may take than that of trio, which it contains; 1.4 when
this was written."""

_IMPORTED = f"""
import sys, {BELOW}
before = set(sys.modules)
{{statement}}
print(*set(sys.modules) - before)
"""

_GENERATED = """
import sys, roam_trio.endpoints.connect, roam_trio.endpoints.serve
classes = {
    value
    for name, module in list(sys.modules.items()) if name.startswith("roam_trio")
    for value in vars(module).values() if isinstance(value, type)
    if value.__module__.startswith("roam_trio")
}
print(sum("__attrs_attrs__" in vars(each) for each in classes))
print(sum(hasattr(each, "__struct_fields__") for each in classes))
"""

_SECONDS = """
import time
start = time.process_time()
import {module}
print(time.process_time() - start)
"""


def printed(program: str, *options: str, pycache: Path | None = None) -> list[str]:
    """Return the words that an interpreter of its own prints."""
    environment = dict(os.environ)
    if pycache is not None:
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        environment["PYTHONPYCACHEPREFIX"] = str(pycache)
    done = subprocess.run(
        [sys.executable, *options, "-c", program],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.split()


@pytest.mark.parametrize("statement", LATER)
def test_a_statement_imports_nothing_that_is_not_needed_at_once(statement: str) -> None:
    imported = set(printed(_IMPORTED.format(statement=statement)))
    packages = {name.partition(".")[0] for name in imported} - {"roam_trio"}
    assert {name.lstrip("_") for name in packages} <= AT_ONCE
    assert {
        name
        for name in imported
        for later in LATER[statement]
        if f"{name}.".startswith(f"roam_trio.{later}.")
    } == set()


@pytest.mark.parametrize("later", sorted(set.union(*LATER.values())))
def test_each_part_that_is_left_for_later_is_there(later: str) -> None:
    path = Path(__file__).parent.parent.joinpath("roam_trio", *later.split("."))
    assert path.is_dir() or path.with_suffix(".py").exists()


def test_few_classes_have_their_methods_generated() -> None:
    attrs_classes, structs = map(int, printed(_GENERATED))
    assert 20 < attrs_classes <= ATTRS_CLASSES
    assert 10 < structs <= STRUCTS


def test_the_import_takes_little_longer_than_that_of_trio(tmp_path: Path) -> None:
    for module in ("trio", "roam_trio"):
        printed(f"import {module}", pycache=tmp_path)
    trio, roam_trio = float("inf"), float("inf")
    # Each is least when nothing else runs; one that is too slow stays so.
    for _ in range(15):
        trio = min(trio, _seconds("trio", tmp_path))
        roam_trio = min(roam_trio, _seconds("roam_trio", tmp_path))
        if roam_trio <= TIMES_TRIO * trio:
            return
    pytest.fail(f"import roam_trio takes {roam_trio:.3f} s, and trio {trio:.3f} s")


def _seconds(module: str, pycache: Path) -> float:
    (seconds,) = printed(_SECONDS.format(module=module), pycache=pycache)
    return float(seconds)
