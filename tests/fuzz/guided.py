"""Fuzzing with atheris, which compiles coverage into the code and makes better inputs.

libFuzzer, which is in it, ends its process. So each target has a process of its own,
forked from one that has imported and prepared everything.
"""

from __future__ import annotations

import json
import os
import random
import re
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import attrs

from .by_parts import changed, vocabulary
from .target import Finding, Guard, Tally, Target

__all__ = ["fuzz", "prepare"]

_STATUS = re.compile(r"^#(\d+)\s+(\w+)\s+cov: (\d+)", re.MULTILINE)


def prepare() -> Any:
    """Return atheris, which instruments what is imported from now on.

    Raises:
        ImportError: it is not installed.
    """
    import atheris

    atheris.instrument_imports(include=["roam_trio"]).__enter__()
    import roam_trio.codec.source as source

    def compiled(*given: Any) -> Any:
        return atheris.patch_code(compile(*given), True)

    # Codecs are not imported but generated.
    source.compile = compiled
    return atheris


def fuzz(
    atheris: Any,
    target: Target,
    corpus: Sequence[bytes],
    *,
    seconds: float,
    most: int,
    seed: int = 0,
) -> Tally:
    """As `tracing.fuzz`, in another process."""
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        inputs = directory / "inputs"
        inputs.mkdir()
        for number, data in enumerate(corpus):
            (inputs / f"start-{number}").write_bytes(data)
        options = [
            "fuzzing",
            f"-max_total_time={max(1, round(seconds))}",
            f"-runs={most}",
            f"-max_len={target.longest}",
            f"-seed={seed + 1}",
            "-timeout=600",  # the guard has its own
            f"-artifact_prefix={directory}/",
            "-rss_limit_mb=0",
            "-len_control=20",
            "-print_final_stats=1",
            str(inputs),
        ]
        began = time.monotonic()
        child = os.fork()
        if child == 0:
            _be_child(atheris, target, options, directory)
        _, status = os.waitpid(child, 0)
        log = (directory / "log").read_text("utf-8", "replace")
        tally = _tally(target, log, time.monotonic() - began)
        tally.corpus = [path.read_bytes() for path in inputs.iterdir()]
        tally.findings = _findings(directory / "findings")
        if os.waitstatus_to_exitcode(status) != 0:
            tally.findings.append(Finding(target.name, b"", "the process died", log))
        return tally


def _be_child(
    atheris: Any, target: Target, options: list[str], directory: Path
) -> None:
    log = os.open(directory / "log", os.O_CREAT | os.O_WRONLY)
    os.dup2(log, 1)
    os.dup2(log, 2)
    try:
        with (
            Guard(target) as guard,
            open(directory / "findings", "w", encoding="utf-8") as findings,
        ):
            mutator = _mutator(atheris, target)
            atheris.Setup(options, _noting(guard.check, findings), **mutator)
            atheris.Fuzz()
    except BaseException:
        sys.excepthook(*sys.exc_info())
    os._exit(1)


def _mutator(atheris: Any, target: Target) -> dict[str, Any]:
    """Return the option of atheris for inputs with parts."""
    start = target.parts_from
    if start is None:
        return {}
    words = vocabulary(target.seeds(), start)

    def mutate(data: bytes, longest: int, seed: int) -> bytes:
        chance = random.Random(seed)
        if chance.random() < 0.2:
            made: bytes = atheris.Mutate(data, longest)
            return made

        def change(part: bytes) -> bytes:
            return bytes(atheris.Mutate(part, len(part) + 8))

        return changed(data, start, words, chance, change)[:longest]

    return {"custom_mutator": mutate}


def _noting(
    check: Callable[[bytes], Finding | None], findings: Any
) -> Callable[[bytes], None]:
    kinds: set[str] = set()

    def give(data: bytes) -> None:
        finding = check(data)
        if finding is not None and finding.kind not in kinds:
            kinds.add(finding.kind)
            said = attrs.asdict(finding) | {"data": finding.data.hex()}
            findings.write(json.dumps(said) + "\n")
            findings.flush()

    return give


def _findings(path: Path) -> list[Finding]:
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    said = map(json.loads, lines)
    return [Finding(**each | {"data": bytes.fromhex(each["data"])}) for each in said]


def _tally(target: Target, log: str, seconds: float) -> Tally:
    tally = Tally(target.name, seconds=seconds)
    for number, word, covered in _STATUS.findall(log):
        tally.inputs, tally.reached = int(number), int(covered)
        if word == "INITED":
            tally.reached_before = tally.reached
    done = re.search(r"number_of_executed_units: (\d+)", log)
    if done:
        tally.inputs = int(done[1])
    return tally
