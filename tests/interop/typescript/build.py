"""Builds the peer in TypeScript, once for each state of its sources.

As `benchmarks.cargo` does for Rust: in a folder of the user's cache, so that nothing it
makes is left in the tree. What it depends on is installed once.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

from benchmarks.cargo import CannotBuild, cache_folder, forget_old, hash_of
from roam_trio import Health, Reflection, describe
from roam_trio.codegen.typescript import write_typescript

from ..services import Absent, Faults, Streams, Values, Waiting

__all__ = ["PEER", "SERVICES", "build_peer", "compiler", "installed"]

PEER = Path(__file__).parent.parent / "ts_peer"

SERVICES = [Values, Faults, Streams, Waiting, Absent, Health, Reflection]


def build_peer() -> Path:
    """Return the executable of the peer.

    Raises:
        CannotBuild: there is no node, or a step has failed.
    """
    sources = {
        path.relative_to(PEER): path.read_text("utf-8")
        for path in (PEER / "tsconfig.json", *sorted((PEER / "src").glob("*.ts")))
    }
    generated = write_typescript([describe(each) for each in SERVICES])
    sources[Path("src", "generated.ts")] = generated
    packages = installed()
    folder = cache_folder() / f"ts_peer-{packages.name}-{hash_of(sources)}"
    with (cache_folder() / "typescript-lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "ts_peer").exists():
            compile_in(folder, sources, packages)
            # Written last: its presence says that the build is complete.
            _write_executable(folder)
        os.utime(folder)
        forget_old(cache_folder(), "ts_peer")
    return folder / "ts_peer"


def _write_executable(folder: Path) -> None:
    executable = folder / "ts_peer"
    main = folder / "out" / "main.js"
    executable.write_text(f'#!/bin/sh\nexec node "{main}" "$@"\n', "utf-8")
    executable.chmod(0o755)


def compile_in(folder: Path, sources: dict[Path, str], packages: Path) -> None:
    """Compile sources in a folder, with the installed packages.

    Raises:
        CannotBuild: they have errors.
    """
    shutil.rmtree(folder, ignore_errors=True)
    for path, text in sources.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, "utf-8")
    (folder / "node_modules").symlink_to(packages / "node_modules")
    (folder / "package.json").write_text('{"type": "module"}\n', "utf-8")
    _run([str(compiler(packages)), "-p", "."], folder)


def compiler(packages: Path) -> Path:
    """Return the compiler of TypeScript."""
    return packages / "node_modules" / ".bin" / "tsc"


def installed() -> Path:
    """Return the folder in which the packages of `package.json` are installed.

    Raises:
        CannotBuild: there is no node or npm, or it has failed.
    """
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            raise CannotBuild(f"{program} was not found; the TypeScript peer needs it")
    text = (PEER / "package.json").read_text("utf-8")
    folder = cache_folder() / f"npm-{hash_of({Path('package.json'): text})}"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            (folder / "package.json").write_text(text, "utf-8")
            options = [
                "--no-package-lock",
                "--no-audit",
                "--no-fund",
                "--ignore-scripts",
            ]
            _run(["npm", "install", *options], folder)
            (folder / "complete").touch()
    return folder


def _run(command: list[str], folder: Path) -> None:
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    if done.returncode:
        said = (done.stdout + done.stderr)[-10_000:]
        raise CannotBuild(f"{Path(command[0]).name} has failed\n{said}")
