"""The commands that generate sources: what they write, and what they say instead."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from roam_trio.cli.app import app


def invoke(*args: str | Path) -> Result:
    return CliRunner().invoke(app, [str(arg) for arg in args])


def test_rust_is_printed() -> None:
    result = invoke("rust", "examples.callback:Board", "examples.adder:Adder")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "pub trait Board {" in result.stdout
    assert "    async fn add(&self, left: u32, right: u32) -> u32;\n" in result.stdout


def test_rust_is_written_to_a_file(tmp_path: Path) -> None:
    output = tmp_path / "adder.rs"
    result = invoke("rust", "examples.adder:Adder", "--output", output)
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "")
    assert output.read_bytes() == invoke("rust", "examples.adder:Adder").stdout_bytes


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (
            "examples.adder",
            "examples.adder: expected a module and a service in it, as in "
            "examples.adder:Adder",
        ),
        (
            "examples.subtracter:Subtracter",
            "examples.subtracter: there is no such module; the current directory is "
            "searched first",
        ),
        (
            "examples.adder:Subtracter",
            "examples.adder:Subtracter: module 'examples.adder' has no attribute "
            "'Subtracter'",
        ),
        (
            "examples.adder:AdderImpl",
            "examples.adder:AdderImpl: expected a class decorated with "
            "@roam_trio.service, got <class 'examples.adder.AdderImpl'>",
        ),
        (
            "tests.cli.unwritable:Cloning",
            "Cloning.clone: what the service macro of roam makes has a method 'clone' "
            "already; rename the method",
        ),
    ],
    ids=["no service", "no module", "no class", "undecorated", "no counterpart"],
)
def test_service_that_cannot_be_written_is_told_in_one_line(
    given: str, problem: str
) -> None:
    result = invoke("rust", given)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"roam_trio rust: {problem}\n"


def test_faults_of_the_module_are_shown_in_full() -> None:
    result = invoke("rust", "tests.cli.faulty:Service")
    assert isinstance(result.exception, ModuleNotFoundError)
    assert result.exception.name == "nowhere_to_be_found"


def test_file_that_cannot_be_written_is_told_in_one_line(tmp_path: Path) -> None:
    result = invoke("rust", "examples.adder:Adder", "-o", tmp_path / "none" / "a.rs")
    assert result.exit_code == 1
    assert result.stderr.endswith("a.rs: No such file or directory\n")
