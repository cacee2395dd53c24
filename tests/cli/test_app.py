"""The command line: its commands, its exit codes, and doing without the extra."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner, Result

from roam_trio import __main__ as program
from roam_trio.cli.app import app
from roam_trio.demo import run
from roam_trio.demo.errors import WrongAnswer


def invoke(*args: str | Path) -> Result:
    return CliRunner().invoke(app, [str(arg) for arg in args])


def test_demo_reports_on_files(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_text("a line\n" * 10)
    result = invoke("demo", path, path, "--calls", "7", "--rounds", "2")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "40 lines, 80 words in" in result.stdout
    assert "7 one at a time" in result.stdout
    assert "76 calls answered" in result.stdout


def test_demo_streams_the_shipped_texts_by_default() -> None:
    result = invoke("demo", "--calls", "1", "--rounds", "1")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "276 lines, 2,554 words in" in result.stdout


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "No such file or directory"),
        (b"\0\1\2", "not a text: there is a zero byte in it"),
        (b"a line\n" * 20_000 + b"\xff", "not a text in UTF-8"),
    ],
    ids=["missing", "binary", "binary at its end"],
)
def test_bad_file_is_told_in_one_line(
    tmp_path: Path, content: bytes | None, problem: str
) -> None:
    path = tmp_path / "text"
    if content is not None:
        path.write_bytes(content)
    result = invoke("demo", path)
    assert result.exit_code == 2
    assert result.stderr == f"roam_trio demo: {path}: {problem}\n"


def test_bad_file_is_found_before_anything_is_started(tmp_path: Path) -> None:
    good = tmp_path / "text"
    good.write_text("a line\n")
    assert invoke("demo", good, tmp_path / "nothing").stdout == ""


def test_wrong_answer_fails_the_demo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail_calls(client: object, calls: int) -> None:
        raise WrongAnswer("a count", 1, 2)

    monkeypatch.setattr(run, "fail_calls", fail_calls)
    path = tmp_path / "text"
    path.write_text("a line\n")
    result = invoke("demo", path, "--calls", "1")
    assert result.exit_code == 1
    assert result.stderr == "roam_trio demo: a count: expected 1, got 2\n"
    assert "measured" not in result.stdout


def test_help_leaves_out_the_servers_command() -> None:
    result = invoke("--help")
    assert result.exit_code == 0
    assert "demo" in result.stdout
    assert "demo-server" not in result.stdout


def _texts_of(command: Any) -> Iterator[str]:
    """Every text that the help of a command is made of."""
    yield inspect.cleandoc(command.help or "")
    for parameter in command.params:
        if parameter.help:
            yield parameter.help


def _words(text: str) -> str:
    """A text as it is whatever width it is broken to, with borders left out."""
    return "".join(char for char in text if not char.isspace() and char not in "│|")


@pytest.mark.parametrize("name", ["demo", "rust", "import"])
def test_help_shows_its_texts_as_they_are_written(name: str) -> None:
    command: Any = get_command(app)
    shown = _words(invoke(name, "--help").stdout)
    texts = list(_texts_of(command.commands[name]))
    assert len(texts) >= 2
    for text in texts:
        assert _words(text) in shown


def test_help_of_import_names_the_attribute() -> None:
    assert "#[roam::service]" in invoke("import", "--help").stdout


def test_program_is_the_command_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["roam_trio", "demo", "--help"])
    with pytest.raises(SystemExit) as caught:
        program.main()
    assert caught.value.code in (0, None)
    assert "Usage:" in capsys.readouterr().out


def test_closed_standard_streams_are_the_null_device(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def read_and_write() -> None:
        assert sys.stdin.read() == ""
        for stream in (sys.stdout, sys.stderr):
            print("nobody sees it", file=stream)

    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    monkeypatch.setattr("roam_trio.cli.app.app", read_and_write)
    with pytest.raises(SystemExit) as caught:
        program.main()
    assert caught.value.code is None
    numbers = [each.fileno() for each in (sys.stdin, sys.stdout, sys.stderr)]
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        sys.stdin = sys.stdout = sys.stderr = None  # type: ignore[assignment]
    assert told == [], "as the end of the program frees them"
    for number in numbers:
        os.close(number)


def test_control_c_before_the_command_ends_the_program_quietly(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("roam_trio.cli.app.app", interrupted)
    with pytest.raises(SystemExit) as caught:
        program.main()
    assert caught.value.code == 130


@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_program_without_the_extra_says_how_to_install_it(missing: str) -> None:
    code = (
        f"import sys, runpy; sys.modules[{missing!r}] = None;"
        "runpy.run_module('roam_trio', run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        "the command line needs typer and rich; install roam_trio with the extra "
        "'cli': in a checkout, python -m pip install '.[cli]'"
    ]


NEED_THE_EXTRA = ("roam_trio.cli", "roam_trio.demo", "roam_trio.__main__")


def test_library_does_without_the_extra() -> None:
    code = f"""if True:
        import importlib, pkgutil, sys
        sys.modules["typer"] = sys.modules["rich"] = None
        import roam_trio
        names = [
            module.name
            for module in pkgutil.walk_packages(roam_trio.__path__, "roam_trio.")
            if not module.name.startswith({NEED_THE_EXTRA!r})
        ]
        for name in names:
            importlib.import_module(name)
        print(len(names))
    """
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60
    )
    assert done.stderr == ""
    assert int(done.stdout) > 30
