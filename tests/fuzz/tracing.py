"""Fuzzing without atheris: mutated inputs, and the lines of code that they reach."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Final

import roam_trio

from .by_parts import changed, vocabulary
from .target import Finding, Guard, Tally, Target

__all__ = ["Arc", "fuzz", "mutated", "traced"]

_PACKAGE: Final = str(Path(roam_trio.__file__).parent)

_NUMBERS: Final = (
    *(bytes((number,)) for number in (0, 1, 2, 3, 7, 8, 127, 128, 255)),
    b"\xff\x7f",
    b"\xff\xff\x03",
    b"\xff\xff\xff\xff\x0f",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    b"\x80" * 9 + b"\x02",
    b"\xff\xff\xff\xff",
    b"\x00\x00\x00\x80",
)
"""Varints and lengths at the bounds of their types."""

Arc = tuple[CodeType, int, int]


def traced(
    function: Callable[[bytes], Any], data: bytes
) -> tuple[set[Arc], BaseException | None]:
    """Call a function, and return the arcs between lines of the package that it takes,
    and the exception that it raises.
    """
    arcs: set[Arc] = set()

    def on_call(frame: FrameType, event: str, arg: object) -> Any:
        code = frame.f_code
        file = code.co_filename
        if not file.startswith(_PACKAGE) and not file.startswith("<roam_trio "):
            return None
        last = 0

        def on_line(frame: FrameType, event: str, arg: object) -> Any:
            nonlocal last
            if event == "line":
                arcs.add((code, last, frame.f_lineno))
                last = frame.f_lineno
            return on_line

        return on_line

    before = sys.gettrace()
    sys.settrace(on_call)
    try:
        function(data)
    except Exception as error:
        return arcs, error
    finally:
        sys.settrace(before)
    return arcs, None


def mutated(chance: random.Random, corpus: Sequence[bytes], longest: int) -> bytes:
    """Return a new input: one of the corpus with a few changes."""
    data = bytearray(_choice(chance, corpus))
    for _ in range(1 << chance.randrange(4)):
        at = chance.randrange(len(data) + 1)
        end = min(len(data), at + 1 + chance.randrange(8))
        match chance.randrange(7):
            case 0 if data:
                data[at % len(data)] ^= 1 << chance.randrange(8)
            case 1 if data:
                data[at % len(data)] = chance.randrange(256)
            case 2:
                del data[at:end]
            case 3:
                data[at:at] = chance.randbytes(end - at + 1)
            case 4:
                data[at:at] = data[at:end] * chance.choice((1, 2, 20))
            case 5:
                data[at:end] = chance.choice(_NUMBERS)
            case _:
                other = chance.choice(corpus)
                data[at:end] = other[chance.randrange(len(other) + 1) :]
    return bytes(data[:longest])


def _choice(chance: random.Random, corpus: Sequence[bytes]) -> bytes:
    """Return an input to go on from: often one of the last."""
    return chance.choice(corpus[-8:] if chance.random() < 0.5 else corpus)


def fuzz(
    target: Target,
    corpus: Sequence[bytes],
    *,
    seconds: float,
    most: int,
    seed: int = 0,
) -> Tally:
    """Give a target inputs until the time or their number is used up.

    Args:
        target: takes the inputs.
        corpus: the inputs to begin with, at least one.
        seconds: number of seconds to spend.
        most: number of inputs.
        seed: decides on all changes.
    """
    tally = Tally(target.name)
    chance = random.Random(seed)
    reached: set[Arc] = set()
    kinds: set[str] = set()
    began = time.monotonic()

    def give(data: bytes) -> None:
        found: list[Finding | None] = []
        arcs, _ = traced(lambda data: found.append(guard.check(data)), data)
        tally.inputs += 1
        if not arcs <= reached:
            reached.update(arcs)
            tally.corpus.append(data)
        (finding,) = found
        if finding is not None and finding.kind not in kinds:
            kinds.add(finding.kind)
            tally.findings.append(finding)

    words = vocabulary(corpus, target.parts_from or 0)

    def mutate(inputs: Sequence[bytes]) -> bytes:
        if target.parts_from is None or chance.random() < 0.2:
            return mutated(chance, inputs, target.longest)
        made = changed(
            _choice(chance, inputs),
            target.parts_from,
            words,
            chance,
            lambda part: mutated(chance, [part], len(part) + 8),
        )
        return made[: target.longest]

    with Guard(target) as guard:
        for data in corpus:
            give(data)
        tally.reached_before = len(reached)
        while tally.inputs < most and time.monotonic() - began < seconds:
            give(mutate(tally.corpus or corpus))
    tally.reached = len(reached)
    tally.seconds = time.monotonic() - began
    return tally
