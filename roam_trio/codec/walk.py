"""A walk over a value that keeps its path, to describe errors."""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar, assert_never

from ..errors import CodecError
from ..schema.shape import IntShape, Shape, TupleShape, levels
from ..schema.sizes import MAX_ZERO_SIZED, Sizes

__all__ = [
    "BYTES_A_VISIT",
    "MAX_VISITS",
    "MIN_VISITS",
    "SMALL",
    "Exhausted",
    "KeyStep",
    "Problem",
    "Walk",
    "expected",
    "explaining",
    "raised",
    "raised_without_values",
    "range_of",
    "text_of",
    "theirs",
    "tuple_steps",
]

Error = TypeVar("Error", bound=CodecError)
T = TypeVar("T")

MAX_VISITS: Final = 10_000
"""Maximum number of parts of a refused value that are visited to find the error. A walk
takes up to two hundred times as long as a compiled codec, so without this bound a peer
could block all other sessions with a few wrong payloads.
"""

MIN_VISITS: Final = 2000
"""The same for payloads of less than `SMALL` bytes. For longer ones it depends on the
size.
"""

SMALL: Final = 12 * 1024
"""Size below which walking takes no longer than decoding larger payloads."""

BYTES_A_VISIT: Final = 100
"""Number of bytes per visit. Decoding this many bytes of the fastest types, such as
lists of texts, takes about half as long as a visit.
"""

MAX_TEXT = 60
MAX_STEPS = 24


class Problem(Exception):
    """An error in a value; the walk has its place.

    Args:
        text: the problem, for the owner of the value.
        without_values: the same without any part of the value.
    """

    def __init__(self, text: str, without_values: str | None = None) -> None:
        super().__init__(text)
        self.without_values = text if without_values is None else without_values


class KeyStep(NamedTuple):
    """The step to the value of a key.

    Attributes:
        key: the key, which is a part of the value.
        place: number of keys before it.
    """

    key: object
    place: int


class Exhausted(Exception):
    """The maximum number of parts was visited."""


Step: TypeAlias = str | int | KeyStep
"""A step to a part: a text, or the index of an item."""


class Walk:
    """A walk over a value, with its present path.

    Args:
        root: the shape of the value.
        visits: maximum number of parts to visit. If it is bounded, correct numbers are
            skipped many at a time.
    """

    def __init__(self, root: Shape, visits: float = math.inf) -> None:
        self.root = root
        self.levels = levels(root)
        self.sizes = Sizes(root)
        # Formatted only for an error, because formatting takes longer than most visits.
        self.steps: list[Step] = []
        self.visits_left: float = visits
        self.is_hurried = visits < math.inf

    def visit(self) -> None:
        """Count a visited part.

        Raises:
            Exhausted: the maximum is exceeded.
        """
        self.visits_left -= 1
        if self.visits_left < 0:
            raise Exhausted

    def within(self, step: Step, visit: Callable[..., T], *args: Any) -> T:
        # Not undone on an error, so that the steps lead to the error.
        self.steps.append(step)
        result = visit(*args)
        self.steps.pop()
        return result

    def path(self, *, values: bool = True) -> str:
        steps = self.steps
        if len(steps) > MAX_STEPS:
            half = MAX_STEPS // 2
            steps = [*steps[:half], "…", *steps[-half:]]
        return "$" + "".join(_text_of_step(step, values=values) for step in steps)

    def argument(self) -> str:
        """Return the name of the present argument, if the root is an argument tuple."""
        if isinstance(self.root, TupleShape) and self.root.labels and self.steps:
            return f"argument {_text_of_step(self.steps[0], values=False)[1:]!r}: "
        return ""

    def check_zero_sized(self, item: float, count: int) -> None:
        if item == 0 and count > MAX_ZERO_SIZED:
            raise Problem(
                f"expected at most {MAX_ZERO_SIZED} items without bytes, got {count}"
            )


def explaining(kind: type[Error], walk: Walk, run: Callable[[], T]) -> T:
    """Run a walk; convert any exception to the codec error, with the place."""
    try:
        return run()
    except (MemoryError, Exhausted):
        raise
    except Problem as problem:
        raise _error(kind, walk, problem) from problem.__cause__
    except RecursionError as cause:
        deep = "nested too deeply for the recursion limit of the interpreter"
        raise _error(kind, walk, Problem(deep)) from cause
    except Exception as cause:
        unexpected = Problem(raised(cause), raised_without_values(cause))
        raise _error(kind, walk, unexpected) from cause


def _error(kind: type[Error], walk: Walk, problem: Problem) -> Error:
    argument, place = walk.argument(), walk.path(values=False)
    without_values = f"{argument}{problem.without_values} - at {place}"
    return kind(f"{argument}{problem}", walk.path(), without_values=without_values)


def raised(cause: Exception) -> str:
    return f"{type(cause).__name__}: {cause}"


def raised_without_values(cause: BaseException) -> str:
    """As `raised`, but with a text only if it is a literal in the program: others may
    quote the value.
    """
    traceback = cause.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    texts = () if traceback is None else traceback.tb_frame.f_code.co_consts
    text = str(cause)
    name = type(cause).__name__
    is_literal = any(each == text for each in texts)
    return f"{name}: {text}" if text and is_literal else name


def theirs(what: str, call: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """Call user code; its exception is the reason to refuse the value."""
    try:
        return call(*args, **kwargs)
    except (MemoryError, RecursionError, Problem):
        raise
    except Exception as cause:
        without_values = f"{what}: {raised_without_values(cause)}"
        raise Problem(f"{what}: {raised(cause)}", without_values) from cause


def expected(what: str, value: object) -> Problem:
    kind = "None" if value is None else _class_name(value)
    return Problem(
        f"expected {what}, got {text_of(value)}", f"expected {what}, got {kind}"
    )


def text_of(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return repr(value)
    kind = _class_name(value)
    if type(value) in (str, bytes, bytearray, list, tuple):
        # A whole repr could be large.
        value = value[: MAX_TEXT + 1]
    try:
        text = repr(value)
    except Exception as error:
        text = f"<repr raised {type(error).__name__}>"
    if len(text) > MAX_TEXT:
        text = f"{text[:MAX_TEXT]}…"
    return text if type(value) is int else f"{text} ({kind})"


def _class_name(value: object) -> str:
    """Return the class of a value, with its module if it has the name of a built-in
    type.
    """
    cls = type(value)
    name = cls.__qualname__
    if cls.__module__ != "builtins" and hasattr(builtins, name):
        return f"{cls.__module__}.{name}"
    return name


def range_of(shape: IntShape) -> str:
    return f"{shape.name} ({shape.minimum} to {shape.maximum})"


def tuple_steps(shape: TupleShape) -> list[str]:
    if shape.labels is not None:
        return [f".{label}" for label in shape.labels]
    return [f"[{index}]" for index in range(len(shape.items))]


def _text_of_step(step: Step, *, values: bool) -> str:
    match step:
        case str():
            return step
        case int():
            return f"[{step}]"
        case KeyStep(key, place):
            return f"[{text_of_key(key)}]" if values else f".values()[{place}]"
        case _:
            assert_never(step)


def text_of_key(key: object) -> str:
    return text_of(key) if isinstance(key, int) else text_of(key).rpartition(" (")[0]
