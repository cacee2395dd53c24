"""Builds sources in Rust with the published crates, and asks what they make of them.

All sources become modules of one program, which is built once for each state of them,
in a folder of the user's cache.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from roam_trio.rust.names import snake

__all__ = ["Question", "Source", "ask", "build"]

PROJECT = Path(__file__).parent / "crate"


class Source(NamedTuple):
    """A module in Rust, and the names of the services in it."""

    text: str
    services: tuple[str, ...]


class Question(NamedTuple):
    """A value of an argument, or of a result, to be decoded and encoded again."""

    method: str
    argument: int | None
    value: bytes


def build(sources: Mapping[str, Source]) -> Path:
    """The program that has these sources as its modules.

    Raises:
        AssertionError: cargo refuses them; the text says why.
    """
    cargo = shutil.which("cargo")
    assert cargo is not None
    files = {
        "Cargo.toml": (PROJECT / "Cargo.toml").read_text("utf-8"),
        "src/main.rs": (PROJECT / "src" / "main.rs").read_text("utf-8"),
        "src/cases/mod.rs": _listing(sources),
        **{f"src/cases/{name}.rs": each.text for name, each in sources.items()},
    }
    folder = _cache() / "generated"
    program = folder / f"generated-{_hash(files)}"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        # Two runs of the tests at once: the later one finds what the first has built.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not program.exists():
            _write(files, folder)
            target = Path(os.environ.get("CARGO_TARGET_DIR") or folder / "target")
            _run([cargo, "build", "--quiet", "--target-dir", str(target)], folder)
            shutil.copy(target / "debug" / "generated", program)
    return program


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


def _cache() -> Path:
    chosen = os.environ.get("ROAM_TRIO_CACHE")
    if chosen:
        return Path(chosen)
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "roam_trio"


def _hash(files: Mapping[str, str]) -> str:
    hashed = hashlib.blake2b(digest_size=8)
    for name, text in files.items():
        hashed.update(f"{name}\0{text}\0".encode())
    return hashed.hexdigest()


def _write(files: Mapping[str, str], folder: Path) -> None:
    shutil.rmtree(folder / "src", ignore_errors=True)
    for name, text in files.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, "utf-8")


def _run(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, f"cargo failed in {folder}:\n{done.stderr[-10_000:]}"
