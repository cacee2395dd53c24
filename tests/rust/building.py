"""Builds sources in Rust with the published crates, and asks what they make of them.

All sources become modules of one program, so that they are built in one go.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from benchmarks.cargo import build
from roam_trio.codegen.rust.names import snake

__all__ = ["Question", "Source", "ask", "program_of"]

PROJECT = Path(__file__).parent / "rust_cases"


class Source(NamedTuple):
    """A module in Rust, and the names of the services in it."""

    text: str
    services: tuple[str, ...]


class Question(NamedTuple):
    """A value of an argument, or of a result, to be decoded and encoded again."""

    method: str
    argument: int | None
    value: bytes


def program_of(sources: Mapping[str, Source]) -> Path:
    """The program that has these sources as its modules.

    Raises:
        CannotBuild: there is no cargo, or it refuses them; the text says why.
    """
    folder = Path("src", "cases")
    modules = {folder / f"{name}.rs": each.text for name, each in sources.items()}
    return build(PROJECT, {folder / "mod.rs": _listing(sources), **modules})


def ask(
    program: Path, questions: Iterable[Question] = ()
) -> tuple[dict[str, int], list[str]]:
    """What the program makes of its services.

    Returns:
        the ids of the methods, each by ``case Service.method``, and the answers:
        bytes in hexadecimal digits, or an error.
    """
    ids = _ids(_talk(program, ""))
    numbers = {name: number for number, name in enumerate(ids)}
    lines = [
        f"{numbers[each.method]} "
        f"{'-' if each.argument is None else each.argument} {each.value.hex()}\n"
        for each in questions
    ]
    _, _, answers = _talk(program, "".join(lines)).partition("\n\n")
    return ids, answers.splitlines()


def _ids(text: str) -> dict[str, int]:
    listed, _, _ = text.partition("\n\n")
    found: dict[str, int] = {}
    for line in listed.splitlines():
        name, _, id = line.rpartition(" ")
        found[name] = int(id)
    return found


def _talk(program: Path, text: str) -> str:
    done = subprocess.run(
        [program], input=text, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _listing(sources: Mapping[str, Source]) -> str:
    services = [
        f'        ("{name}", {name}::{snake(service)}_service_descriptor()),\n'
        for name, source in sources.items()
        for service in source.services
    ]
    return (
        "#![allow(dead_code, unused_imports)]\n\n"
        + "".join(f"mod {name};\n" for name in sources)
        + "\npub fn all() -> Vec<(&'static str, "
        + "&'static roam::session::ServiceDescriptor)> {\n    vec![\n"
        + "".join(services)
        + "    ]\n}\n"
    )
