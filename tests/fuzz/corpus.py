"""The inputs that are kept: files for each target, a line in hex for each input.

``messages.hex`` has the inputs that reach most; ``--keep`` makes it anew. What was
found and is mended is in ``messages.found.hex``, and stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from .target import Target
from .tracing import Arc, traced

__all__ = ["DIRECTORY", "kept", "read_inputs", "reduced", "starts", "write_inputs"]

DIRECTORY: Final = Path(__file__).parent / "corpus"


def kept(target: Target) -> list[bytes]:
    """Return the inputs that are kept for a target."""
    paths = (DIRECTORY / f"{target.name}{end}" for end in (".hex", ".found.hex"))
    return [data for path in paths if path.exists() for data in read_inputs(path)]


def starts(target: Target) -> list[bytes]:
    """Return the inputs to begin with: those that are kept, and the seeds."""
    return list(dict.fromkeys((*kept(target), *target.seeds(), b"")))


def read_inputs(path: Path) -> list[bytes]:
    """Return the inputs in a file; a line that begins with ``#`` is a comment."""
    lines = path.read_text("ascii").splitlines()
    return [bytes.fromhex(line) for line in lines if not line.startswith("#")]


def write_inputs(path: Path, inputs: Iterable[bytes]) -> None:
    """Write a file that `read_inputs` reads, the shortest input first."""
    ordered = sorted(set(inputs), key=lambda data: (len(data), data))
    path.write_text("".join(f"{data.hex()}\n" for data in ordered), "ascii")


def reduced(target: Target, inputs: Sequence[bytes]) -> list[bytes]:
    """Return the inputs that reach most: first the one that reaches most, then the one
    that adds most to it, up to `Target.kept`. Inputs that are not right are left out.
    """
    reaches: dict[bytes, set[Arc]] = {}
    for data in sorted(set(inputs), key=lambda data: (len(data), data)):
        arcs, error = traced(target.check, data)
        if error is None:
            reaches[data] = arcs
    chosen: list[bytes] = []
    while reaches and len(chosen) < target.kept:
        best = max(reaches, key=lambda data: len(reaches[data]))
        new = reaches.pop(best)
        if not new:
            break
        chosen.append(best)
        for arcs in reaches.values():
            arcs -= new
    return chosen
