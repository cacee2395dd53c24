"""Names of attributes and metrics are those of the registry of the conventions."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any, Final

import roam_trio.contrib.otel
from roam_trio.contrib.otel import names

from .recorded import REGISTRY

PACKAGE: Final = Path(roam_trio.contrib.otel.__file__).parent
DATA: Final[dict[str, Any]] = json.loads(REGISTRY.read_text(encoding="utf-8"))

DROPPED: Final = re.compile(
    r"rpc\.(system|service|response\.status_code|grpc\..*|client\.duration)|net\.peer\..*"
)


def values(kind: str) -> set[str]:
    """The dotted names in the module of names that are of the package or not."""
    found = {
        value
        for value in _texts({name: getattr(names, name) for name in names.__all__})
        if re.fullmatch(r"[a-z_]+\.[a-z_.]+", value)
    }
    own = {name for name in found if name.startswith("roam.")}
    return own if kind == "own" else found - own


def _texts(value: Any) -> set[str]:
    if isinstance(value, dict):
        return set().union(*map(_texts, value.values()))
    return {value} if isinstance(value, str) else set()


def test_every_name_of_the_conventions_is_stable_in_the_registry() -> None:
    assert DATA["version"] == "1.45.0"
    stable = {*DATA["attributes"]["stable"], *DATA["metrics"]["stable"]}
    assert values("conventions") <= stable
    assert "rpc.status_code" in stable
    assert "rpc.response.status_code" in DATA["attributes"]["deprecated"]


def test_names_of_the_package_are_in_no_space_of_the_registry() -> None:
    known = {name for kind in ("attributes", "metrics") for name in _all(DATA[kind])}
    assert values("own")
    assert not {name for name in known if name.startswith("roam.")}


def _all(kinds: dict[str, list[str]]) -> list[str]:
    return [name for names in kinds.values() for name in names]


def test_no_module_has_a_name_that_the_conventions_have_dropped() -> None:
    for path in PACKAGE.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert not DROPPED.fullmatch(node.value), (path.name, node.value)


def test_names_stand_in_the_module_of_names_alone() -> None:
    for path in set(PACKAGE.glob("*.py")) - {PACKAGE / "names.py"}:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert node.value not in _all(DATA["attributes"]), path.name
