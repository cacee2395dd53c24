"""Builds a program in Rust, once for each state of its sources.

For the adapter with a server in Rust, and for the tests with programs of their own. The
build happens in a folder of the user's cache, with the sources copied there, so that
nothing it makes is left in the tree. What programs depend on is compiled once.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

__all__ = ["CannotBuild", "build", "cache_folder", "forget_old", "hash_of"]

KEPT_SECONDS = 7 * 24 * 3600.0


class CannotBuild(Exception):
    """There is no program: the first line of the text says why, the others what cargo
    has said."""


def build(
    project: Path,
    generated: Mapping[Path, str] | None = None,
    *,
    release: bool = False,
    tell: Callable[[str], None] | None = None,
) -> Path:
    """The executable of a project, which has the name of its folder.

    ROAM_TRIO_CACHE names the folder to build in; else one in the user's cache is.

    Args:
        project: the folder with Cargo.toml.
        generated: sources that are not in the folder, by their paths in it.
        release: whether it is built to be fast, which takes longer.
        tell: told when a build begins.

    Raises:
        CannotBuild: there is no cargo, or it has failed.
    """
    sources = {**_sources(project), **(generated or {})}
    folder = cache_folder()
    kind = "-release" if release else ""
    executable = folder / f"{project.name}{kind}-{hash_of(sources)}"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        # Two runs at once: the later one finds what the first has built.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if executable.exists():
            os.utime(executable)
            return executable
        cargo = _find_cargo()
        if tell is not None:
            tell(f"building {project.name} in Rust, which may take minutes")
        copied = folder / project.name
        _copy(sources, copied)
        built = _build(cargo, copied, folder / "target", release=release)
        forget_old(folder, project.name)
        # Renamed into its place, for another run may begin to use it at any time.
        shutil.copy(built, executable.with_suffix(".new"))
        executable.with_suffix(".new").rename(executable)
    return executable


def _sources(project: Path) -> dict[Path, str]:
    paths = (project / "Cargo.toml", *sorted(project.glob("src/**/*.rs")))
    return {path.relative_to(project): path.read_text("utf-8") for path in paths}


def hash_of(sources: Mapping[Path, str]) -> str:
    """Return a text that differs if sources differ."""
    hashed = hashlib.blake2b(digest_size=8)
    for path, text in sources.items():
        hashed.update(f"{path.as_posix()}\0{text}\0".encode())
    return hashed.hexdigest()


def cache_folder() -> Path:
    """Return the folder of the cache for what is built."""
    chosen = os.environ.get("ROAM_TRIO_CACHE")
    if chosen:
        return Path(chosen)
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "roam_trio"


def _find_cargo() -> str:
    cargo = shutil.which("cargo")
    if cargo is None:
        raise CannotBuild("cargo was not found; it builds the programs in Rust")
    return cargo


def _copy(sources: dict[Path, str], project: Path) -> None:
    shutil.rmtree(project / "src", ignore_errors=True)
    for path, text in sources.items():
        target = project / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, "utf-8")


def _build(cargo: str, project: Path, target: Path, *, release: bool) -> Path:
    command = [cargo, "build", "--quiet", "--target-dir", str(target)]
    if release:
        command.append("--release")
    done = subprocess.run(command, cwd=project, capture_output=True, text=True)
    if done.returncode:
        raise CannotBuild(f"cargo cannot build {project.name}\n{done.stderr[-10_000:]}")
    return target / ("release" if release else "debug") / project.name


def forget_old(folder: Path, name: str) -> None:
    """Remove what was built for a program and has not been used for days."""
    for old in folder.glob(f"{name}-*"):
        if time.time() - old.stat().st_mtime > KEPT_SECONDS:
            if old.is_dir():
                shutil.rmtree(old)
            else:
                old.unlink()
