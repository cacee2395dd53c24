"""The inputs that are kept, and the fuzzer itself."""

from __future__ import annotations

import itertools
import random
import subprocess
import sys
from collections.abc import Callable
from math import inf
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.fuzz import __main__ as command
from tests.fuzz import target as bounds

from .by_parts import changed, vocabulary
from .corpus import DIRECTORY, kept, read_inputs, reduced, write_inputs
from .decoders import DECODERS
from .parts import joined_parts, parts_of
from .sessions import SESSIONS
from .target import Guard, Target
from .tracing import fuzz, mutated, traced


def check_kept(target: Target) -> None:
    """Check every input that is kept for a target."""
    inputs = kept(target)
    assert inputs, f"nothing is kept for {target.name}"
    with Guard(target) as guard:
        for data in inputs:
            finding = guard.check(data)
            assert finding is None, f"{data.hex()}: {finding.kind}\n{finding.told}"


def test_kept_inputs_of_decoders() -> None:
    for target in DECODERS:
        check_kept(target)


@pytest.mark.parametrize("target", SESSIONS, ids=lambda target: target.name)
def test_kept_inputs_of(target: Target) -> None:
    check_kept(target)


def test_every_corpus_has_a_target() -> None:
    names = {target.name for target in (*DECODERS, *SESSIONS)}
    assert {path.name.split(".")[0] for path in DIRECTORY.iterdir()} == names


# ------------------------------------------------------------ the fuzzer


def test_package_is_imported_only_after_atheris() -> None:
    code = (
        "import sys\n"
        "from tests.fuzz import __main__\n"
        "sys.exit(any(name.startswith('roam_trio') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


ROOT = Path(__file__).parents[2]

MOST = 12_000

PLANTED = """
def planted(data):
    if data[:1] == b"\\x7f":
        if data[1:2] == b"R":
            return 1 // 0
"""


def target_of(check: Callable[[bytes], Any], **options: Any) -> Target:
    return Target("planted", check, lambda: [b"abc"], **options)


def planted() -> Target:
    """Return a target with a fault behind two bytes, which passes as generated code."""
    names: dict[str, Any] = {}
    exec(compile(PLANTED, "<roam_trio planted>", "exec"), names)
    return target_of(names["planted"], longest=8)


def test_coverage_leads_to_a_planted_fault() -> None:
    tally = fuzz(planted(), [b"abc"], seconds=inf, most=MOST)
    (finding,) = tally.findings
    assert finding.data[:2] == b"\x7fR"
    assert finding.kind == "ZeroDivisionError at <roam_trio planted>:5"
    assert tally.reached_before < tally.reached
    assert tally.inputs == MOST
    assert [data[:1] for data in tally.corpus] == [b"a", b"\x7f", b"\x7f"]


def test_chance_alone_does_not_lead_there() -> None:
    chance = random.Random(0)
    inputs = [mutated(chance, [b"abc"], 8) for _ in range(MOST)]
    assert not any(data[:2] == b"\x7fR" for data in inputs)


def test_input_that_takes_too_long_is_found() -> None:
    def endless(data: bytes) -> None:
        try:
            while True:
                pass
        except Exception:
            pass

    with Guard(target_of(endless, seconds=0.02)) as guard:
        finding = guard.check(b"")
    assert finding is not None
    assert finding.kind.startswith("TooLong at ")


def test_input_that_takes_too_much_memory_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    peaks = iter((1000, 2000, 3000, 3001 + bounds.MOST_BYTES // 1024))

    def usage(who: int) -> SimpleNamespace:
        return SimpleNamespace(ru_maxrss=next(peaks))

    monkeypatch.setattr(bounds.resource, "getrusage", usage)
    with Guard(target_of(len)) as guard:
        assert guard.check(b"") is None
        finding = guard.check(b"")
    assert finding is not None
    assert finding.kind.startswith("TooMuch at target.py:")


def test_fault_in_a_group_is_named_by_itself() -> None:
    def fail(data: bytes) -> None:
        try:
            raise KeyError
        except KeyError as error:
            raise BaseExceptionGroup("", [ExceptionGroup("", [error])]) from None

    with Guard(target_of(fail)) as guard:
        finding = guard.check(b"")
    assert finding is not None
    assert finding.kind.startswith("KeyError at test_fuzz.py:")


def test_reduced_corpus_reaches_as_much() -> None:
    target = planted()
    failing = b"\x7fR"
    inputs = [b"", b"a", b"aa", b"\x7f", b"\x7f\x7f", failing]
    assert traced(target.check, failing)[1] is not None
    assert reduced(target, inputs) == [b"\x7f"]
    assert reduced(target, inputs[:3]) == [b""]


def test_inputs_are_written_and_read(tmp_path: Path) -> None:
    path = tmp_path / "inputs.hex"
    write_inputs(path, [b"long", b"", b"\xff", b""])
    assert path.read_text() == "\nff\n6c6f6e67\n"
    assert read_inputs(path) == [b"", b"\xff", b"long"]


def test_parts_are_joined_and_divided() -> None:
    for sizes in itertools.permutations((0, 1, 254, 255, 3000), 3):
        parts = [bytes(size) for size in sizes]
        assert parts_of(joined_parts(parts)) == parts


def test_parts_are_repeated_moved_and_renumbered() -> None:
    chance = random.Random(1)
    start = b"\x08" + joined_parts([b"\0\7\1one", b"\0\7\3two"])
    made = [
        parts_of(changed(start, 1, [b"word"], chance, bytes.upper)[1:])
        for _ in range(300)
    ]
    for wanted in (
        [b"\0\7\1one"],
        [b"\0\7\3two", b"\0\7\1one"],
        [b"\0\7\1one", b"\0\7\3two", b"\0\7\1one"],
        [b"\0\7\1one", b"\0\7\3two", b"word"],
        [b"\0\7\1ONE", b"\0\7\3two"],
    ):
        assert wanted in made
    assert any(
        len(parts) == 2 and parts[1][:2] == b"\0\7" != parts[1][2] for parts in made
    )
    assert vocabulary([start], 1) == [b"\0\7\1one", b"\0\7\3two"]


def test_mutations_keep_to_the_longest() -> None:
    chance = random.Random(1)
    made = {mutated(chance, [b"", b"abcdef"], 8) for _ in range(2000)}
    assert max(map(len, made)) == 8
    assert len(made) > 1000


def test_command_writes_what_it_finds_and_replays_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*arguments: str) -> int:
        monkeypatch.setattr("sys.argv", ["fuzz", *arguments, "--engine", "tracing"])
        return command.main()

    target = target_of(lambda data: 1 // (len(data) - 3))
    monkeypatch.setattr(command, "_chosen", lambda names: [target])
    assert run("--inputs", "20", "--found", str(tmp_path)) == 1
    told = capsys.readouterr()
    assert "20 inputs in " in told.out
    assert "ZeroDivisionError at test_fuzz.py:" in told.err
    assert "input: 616263\n" in told.err
    (written,) = tmp_path.iterdir()
    assert written.read_text("ascii").endswith("\n616263\n")
    assert run("--replay", str(written)) == 1
    assert capsys.readouterr().out == "1 findings\n"


def test_command_names_the_targets_if_there_is_no_such_one() -> None:
    with pytest.raises(SystemExit, match="no target wires; there are: messages, "):
        command._chosen("wires")
    assert command._chosen("hello?,decoders")[1:] == [
        target for target in DECODERS if target.name != "hellos"
    ]
