"""What is fuzzed, and what may become of an input: nothing but a declared error."""

from __future__ import annotations

import hashlib
import resource
import signal
import traceback
from collections.abc import Callable, Iterable
from types import FrameType, TracebackType
from typing import Final

import attrs

__all__ = ["MOST_BYTES", "Finding", "Guard", "Tally", "Target", "TooLong", "TooMuch"]

MOST_BYTES: Final = 64 * 1024 * 1024
"""Number of bytes that the memory of the process may grow by in one input."""


class TooLong(BaseException):
    """An input takes too long. No `Exception`, as decoders convert those."""


class TooMuch(Exception):
    """An input takes too much memory."""


@attrs.frozen
class Target:
    """Something that takes bytes of a peer.

    Attributes:
        name: its name, and that of the file with its corpus.
        check: takes one input; raises whatever is not right about the outcome.
        seeds: makes inputs to begin with.
        longest: length of the longest input, in bytes.
        parts_from: position at which the parts of an input begin (see `parts_of`); None
            for inputs without parts.
        kept: number of inputs that the repository keeps, at most.
        seconds: number of seconds of processor time that one input may take.
    """

    name: str
    check: Callable[[bytes], None]
    seeds: Callable[[], Iterable[bytes]]
    longest: int = 1024
    kept: int = 60
    parts_from: int | None = None
    seconds: float = 2.0


@attrs.frozen
class Finding:
    """An input that something undeclared came out of.

    Attributes:
        target: the name of the target.
        data: the input.
        kind: the error and its place; findings of one kind are most likely one fault.
        told: the traceback.
    """

    target: str
    data: bytes
    kind: str
    told: str = attrs.field(repr=False)

    @property
    def name(self) -> str:
        """The name of a file for the input."""
        return f"{self.target}-{hashlib.sha256(self.data).hexdigest()[:12]}.hex"


@attrs.define
class Tally:
    """What has come of fuzzing a target.

    Attributes:
        target: the name of the target.
        inputs: number of inputs that it was given.
        seconds: the time that this took.
        reached_before: number of places in the code that the inputs to begin with
            reach; each engine counts places in its own way.
        reached: number of places that all inputs reach.
        corpus: inputs that have reached something new.
        findings: the first input of each kind that something undeclared came out of.
    """

    target: str
    inputs: int = 0
    seconds: float = 0.0
    reached_before: int = 0
    reached: int = 0
    corpus: list[bytes] = attrs.field(factory=list)
    findings: list[Finding] = attrs.field(factory=list)


class Guard:
    """Gives inputs to a target, each with a bound on its time and its memory.

    A context manager, because it uses a timer of the process.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._number = 0
        self._seen = 0
        self._before: object = None

    def __enter__(self) -> Guard:
        self._before = signal.signal(signal.SIGVTALRM, self._look)
        # The timer counts processor time and not that of the clock, as the machine may
        # have other things to do. Two ticks in one input are too long.
        signal.setitimer(
            signal.ITIMER_VIRTUAL, self._target.seconds, self._target.seconds
        )
        return self

    def __exit__(self, *args: object) -> None:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, self._before)

    def _look(self, number: int, frame: FrameType | None) -> None:
        if self._seen == self._number:
            raise TooLong(f"more than {self._target.seconds} s of processor time")
        self._seen = self._number

    def check(self, data: bytes) -> Finding | None:
        """Return what is wrong about an input, or None."""
        self._number += 1
        try:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            self._target.check(data)
            grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
            if grown * 1024 > MOST_BYTES:
                raise TooMuch(f"{grown} KiB more in memory")
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            return Finding(
                self._target.name,
                data,
                _kind_of(error),
                "".join(traceback.format_exception(error, limit=-30)),
            )
        finally:
            self._number += 1
        return None


def _kind_of(error: BaseException) -> str:
    """Return the class of an error, and the last line of this project that it passed.

    Of a group, that of the first error.
    """
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__qualname__} at {_place_of(error.__traceback__)}"


def _place_of(raised: TracebackType | None) -> str:
    place = "no line"
    for frame, line in traceback.walk_tb(raised):
        file = frame.f_code.co_filename
        name = file.rpartition("/")[2]
        if ("roam_trio" in file or "/tests/" in file) and name != "checks.py":
            place = f"{name}:{line}"
    return place
