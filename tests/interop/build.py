"""Builds a program in Rust, once for each state of its sources.

The build happens in a folder of the user's cache, with the sources copied there, so
that nothing it makes is left in the tree. What programs depend on is compiled once.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from . import signatures

__all__ = ["CannotBuild", "build", "build_peer"]

PEER = Path(__file__).parent / "rust_peer"
KEPT_SECONDS = 7 * 24 * 3600.0


class CannotBuild(Exception):
    """There is no program, and the text says why."""


def build_peer() -> Path:
    """The executable of the peer that the interop tests talk with.

    Raises:
        CannotBuild: there is no cargo, or it has failed.
    """
    return build(PEER, {Path("src", "generated.rs"): signatures.rust_source()})


def build(project: Path, generated: Mapping[Path, str] | None = None) -> Path:
    """The executable of a project, which has the name of its folder.

    ROAM_TRIO_CACHE names the folder to build in; else one in the user's cache is.

    Args:
        project: the folder with Cargo.toml.
        generated: sources that are not in the folder, by their paths in it.

    Raises:
        CannotBuild: there is no cargo, or it has failed.
    """
    sources = {**_sources(project), **(generated or {})}
    folder = _cache()
    executable = folder / f"{project.name}-{_hash(sources)}"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        # Two runs of the tests at once: the later one finds what the first has built.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if executable.exists():
            os.utime(executable)
        else:
            _build(sources, folder / project.name, executable)
    return executable


def _sources(project: Path) -> dict[Path, str]:
    paths = (project / "Cargo.toml", *sorted(project.glob("src/**/*.rs")))
    return {path.relative_to(project): path.read_text("utf-8") for path in paths}


def _hash(sources: dict[Path, str]) -> str:
    hashed = hashlib.blake2b(digest_size=8)
    for path, text in sources.items():
        hashed.update(f"{path.as_posix()}\0{text}\0".encode())
    return hashed.hexdigest()


def _cache() -> Path:
    chosen = os.environ.get("ROAM_TRIO_CACHE")
    if chosen:
        return Path(chosen)
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "roam_trio"


def _build(sources: dict[Path, str], project: Path, executable: Path) -> None:
    cargo = shutil.which("cargo")
    if cargo is None:
        raise CannotBuild("cargo was not found; it builds the programs in Rust")
    shutil.rmtree(project / "src", ignore_errors=True)
    for path, text in sources.items():
        target = project / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, "utf-8")
    built = executable.parent / "target"
    command = [cargo, "build", "--quiet", "--target-dir", str(built)]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True)
    if done.returncode:
        raise CannotBuild(f"cargo build failed in {project}:\n{done.stderr[-10_000:]}")
    _forget_old(executable.parent, project.name)
    # Renamed into its place, for another run may begin to use it at any time.
    copy = executable.with_suffix(".new")
    shutil.copy(built / "debug" / project.name, copy)
    copy.rename(executable)


def _forget_old(folder: Path, name: str) -> None:
    for old in folder.glob(f"{name}-*"):
        if time.time() - old.stat().st_mtime > KEPT_SECONDS:
            old.unlink()
