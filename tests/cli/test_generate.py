"""The commands that generate sources: what they write, and what they say instead."""

from __future__ import annotations

import subprocess
import sys
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


def test_typescript_is_printed_with_its_runtime() -> None:
    result = invoke("typescript", "examples.callback:Board", "examples.adder:Adder")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "export class BoardClient {" in result.stdout
    assert "  add(left: number, right: number, options: " in result.stdout
    assert "export class Session {" in result.stdout


def test_service_that_typescript_cannot_have_is_told_in_one_line() -> None:
    result = invoke("typescript", "examples.adder:nothing")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("roam_trio typescript: examples.adder:nothing: ")
    assert result.stderr.count("\n") == 1


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
            "examples.adder: expected a module and a name in it, as in "
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


RUST = """\
#[roam::service]
pub trait Adder {
    async fn add(&self, left: u32, right: u32) -> u32;
}
"""


def test_python_is_printed_and_written_to_a_file(tmp_path: Path) -> None:
    source, output = tmp_path / "adder.rs", tmp_path / "adder.py"
    source.write_text(RUST)
    printed = invoke("import", source)
    assert (printed.exit_code, printed.stderr) == (0, "")
    assert (
        "    async def add(self, left: u32, right: u32) -> u32: ...\n" in printed.stdout
    )
    written = invoke("import", source, "--output", output)
    assert (written.exit_code, written.stdout, written.stderr) == (0, "", "")
    assert output.read_bytes() == printed.stdout_bytes


def test_what_has_no_counterpart_in_python_is_told_by_its_place(tmp_path: Path) -> None:
    source, output = tmp_path / "adder.rs", tmp_path / "adder.py"
    source.write_text(
        RUST.replace("left: u32", "left: Duration").replace("-> u32", "-> X")
    )
    result = invoke("import", source, "--output", output)
    assert (result.exit_code, result.stdout, output.exists()) == (1, "", False)
    first, second = result.stderr.splitlines()
    assert first.startswith(
        f"roam_trio import: {source}:3:31: Duration has no signature"
    )
    assert second.startswith(f"roam_trio import: {source}:3:56: X is not known here")


def test_what_is_left_out_is_told(tmp_path: Path) -> None:
    source = tmp_path / "adder.rs"
    source.write_text(f"{RUST}#[derive(Facet)] struct A {{ a: Duration }}\n")
    result = invoke("import", source)
    assert result.exit_code == 0
    assert result.stderr.startswith(
        f"roam_trio import: left out: {source}:5:32: Duration"
    )


def test_attribute_that_renames_for_other_formats_is_told(tmp_path: Path) -> None:
    source = tmp_path / "adder.rs"
    source.write_text(
        f"{RUST}#[derive(Facet)]\n"
        'struct A { #[facet(rename = "B")] a: u8, #[serde(skip)] c: u8 }\n'
    )
    result = invoke("import", source)
    assert result.exit_code == 0
    assert "a: u8" in result.stdout
    renamed, skipped = result.stderr.splitlines()
    assert renamed.startswith(
        f"roam_trio import: note: {source}:6:12: #[facet(rename)]"
    )
    assert "which has the names of the source, and so has the class here" in renamed
    assert skipped.startswith(f"roam_trio import: note: {source}:6:")
    assert "no attribute of serde counts for roam" in skipped


@pytest.mark.parametrize(
    ("content", "problem"),
    [(None, "No such file or directory"), (b"\xff", "not a text in UTF-8")],
    ids=["missing", "binary"],
)
def test_file_that_cannot_be_read_is_told_in_one_line(
    tmp_path: Path, content: bytes | None, problem: str
) -> None:
    source = tmp_path / "adder.rs"
    if content is not None:
        source.write_bytes(content)
    result = invoke("import", source)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"roam_trio import: {source}: {problem}\n"


def test_import_says_what_to_install_without_the_grammar(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("roam_trio.cli.generate.GRAMMAR", ("tree_sitter", "missing_x"))
    result = invoke("import", tmp_path / "adder.rs")
    assert result.exit_code == 1
    assert result.stderr == (
        "roam_trio import: install roam_trio with the extras 'cli' and 'rust': "
        "in a checkout, python -m pip install '.[cli,rust]'\n"
    )


def test_rust_is_written_without_the_grammar() -> None:
    program = (
        "import sys; sys.modules.update(tree_sitter=None, tree_sitter_rust=None); "
        "from roam_trio.cli.app import app; app(['rust', 'examples.adder:Adder'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "pub trait Adder {" in done.stdout
