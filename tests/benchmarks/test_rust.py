"""The server in Rust: its sources are in step, and it is built when it can be."""

from __future__ import annotations

import os
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.adapters import RUST, why_missing
from benchmarks.adapters.rust import PROJECT, RustWorkplace, build_server
from benchmarks.cargo import build
from benchmarks.command import Effort, compare
from benchmarks.processes import Pair
from benchmarks.works import find_work
from roam_trio import describe
from roam_trio.codegen.rust import interface_of, write_rust

PEER = Path(__file__).parent.parent / "interop" / "rust_peer"

NO_EFFORT = Effort(1, 0.0, 0, 0.0, everywhere=False, extra_rounds=0, probes=0)

FAKE = """#!/bin/sh
echo "$@" >> "{folder}/orders"
for target; do [ "$before" = --target-dir ] && break; before=$target; done
mkdir -p "$target/debug" "$target/release"
echo debug > "$target/debug/project"
echo release > "$target/release/project"
"""
"""A cargo that writes down what it is told, and builds programs named `project`."""

FAILING = """#!/bin/sh
echo 'error: no such crate' >&2
exit 101
"""

Install = Callable[[str | None], None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Puts a script, or nothing, in the place of cargo, with an empty cache."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("ROAM_TRIO_CACHE", str(tmp_path / "cache"))

    def install(script: str | None) -> None:
        if script is None:
            monkeypatch.setenv("PATH", str(folder))
            return
        monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
        cargo = folder / "cargo"
        cargo.write_text(script.replace("{folder}", str(folder)))
        cargo.chmod(0o755)

    return install


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The sources of a program."""
    folder = tmp_path / "project"
    (folder / "src").mkdir(parents=True)
    (folder / "Cargo.toml").write_text("[package]")
    (folder / "src" / "main.rs").write_text("fn main() {}")
    return folder


def test_trait_is_what_the_command_line_writes() -> None:
    written = (PROJECT / "src" / "services.rs").read_text("utf-8")
    assert written == write_rust(interface_of([describe(RustWorkplace)])), (
        "python -m roam_trio rust benchmarks.adapters.rust:RustWorkplace "
        "-o benchmarks/rust_server/src/services.rs"
    )


def test_crates_are_those_that_the_interop_tests_use() -> None:
    ours, theirs = pins(PROJECT), pins(PEER)
    assert ours == {crate: theirs[crate] for crate in ours}
    assert theirs.keys() - ours.keys() == {"roam-websocket", "tokio-tungstenite"}


def pins(project: Path) -> dict[str, str]:
    manifest = tomllib.loads((project / "Cargo.toml").read_text("utf-8"))
    return {
        crate: pin if isinstance(pin, str) else pin["version"]
        for crate, pin in manifest["dependencies"].items()
    }


def test_without_cargo_it_is_left_out_with_the_reason(install: Install) -> None:
    install(None)
    reason = "cargo was not found; it builds the programs in Rust"
    assert why_missing(RUST) == reason
    assert compare(NO_EFFORT, [RUST], []).missing == {RUST: reason}


def test_what_cargo_cannot_build_is_left_out_and_its_words_told(
    install: Install,
) -> None:
    install(FAILING)
    told: list[str] = []
    assert why_missing(RUST, told.append) == "cargo cannot build rust_server"
    assert told == [
        "building rust_server in Rust, which may take minutes",
        "error: no such crate\n",
    ]


def test_a_program_is_built_once_for_each_state_and_each_profile(
    install: Install, project: Path, tmp_path: Path
) -> None:
    install(FAKE)
    told: list[str] = []
    for _ in range(2):
        assert build(project, tell=told.append).read_text() == "debug\n"
        fast = build(project, release=True, tell=told.append)
        assert fast.read_text() == "release\n"
    assert len(told) == 2
    (project / "src" / "main.rs").write_text("fn main() { other() }")
    assert build(project, release=True, tell=told.append) != fast
    orders = (tmp_path / "bin" / "orders").read_text().splitlines()
    assert [order.endswith(" --release") for order in orders] == [False, True, True]


@pytest.mark.peers
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what runs")
def test_what_is_measured_as_the_server_is_the_program_in_rust() -> None:
    if reason := why_missing(RUST):
        pytest.skip(f"{RUST}: {reason}")
    with Pair(RUST) as pair:
        pair.measure(find_work("call"), 1)
        server, _ = pair.pids
        assert Path(f"/proc/{server}/exe").readlink() == build_server()
