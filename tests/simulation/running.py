"""Running scripts, and shrinking those that fail."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Protocol, TypeVar

import attrs

from .broken import Broken
from .determinism import run_in_order
from .progress import Progress
from .script import Script
from .world import World

__all__ = ["AnyWorld", "Result", "run", "shrink"]

T = TypeVar("T")


class AnyWorld(Protocol):
    """Follows a script."""

    @property
    def stage(self) -> Progress:
        """Has the log and the figures."""
        ...

    async def run(self) -> None:
        """Follow the script; raise what goes wrong."""
        ...


@attrs.frozen
class Result:
    """What has come of a script.

    Attributes:
        log: its events.
        figures: how much of what there was.
        error: what has gone wrong, if anything has.
    """

    log: list[tuple[object, ...]]
    figures: Counter[str]
    error: BaseException | None = None

    @property
    def kind(self) -> str | None:
        """The kind of the failure; None if all is well."""
        if self.error is None:
            return None
        if isinstance(self.error, Broken):
            return self.error.kind
        return type(self.error).__name__


def run(script: Script, make: Callable[[Script], AnyWorld] = World) -> Result:
    """Run a script. Never raises what goes wrong in it."""
    world = make(script)
    try:
        run_in_order(script.seed, world.run)
    except Exception as error:
        return Result(world.stage.log, world.stage.figures, error)
    return Result(world.stage.log, world.stage.figures)


def shrink(
    script: Script,
    make: Callable[[Script], AnyWorld] = World,
    *,
    most_runs: int = 500,
) -> Script:
    """Return a script with fewer steps, and plainer ones, that fails in the same way.

    Args:
        script: a script that fails.
        make: makes its world.
        most_runs: number of scripts to try.
    """
    kind = run(script, make).kind
    assert kind is not None, "only what fails can be shrunk"
    runs = itertools.count(1)

    def fails(candidate: Script) -> bool:
        return next(runs) <= most_runs and run(candidate, make).kind == kind

    before = None
    while script != before:
        before = script
        script = _with_fewest_steps(script, fails)
        for number in range(len(script.steps)):
            script = _with_plainer_step(script, number, fails)
        for setup in _plainer(script.setup):
            script = _either(attrs.evolve(script, setup=setup), script, fails)
    return script


Fails = Callable[[Script], bool]


def _either(plainer: Script, script: Script, fails: Fails) -> Script:
    return plainer if plainer != script and fails(plainer) else script


def _with_fewest_steps(script: Script, fails: Fails) -> Script:
    """Leave out ever smaller parts, as long as it fails without them."""
    size = len(script.steps)
    while size:
        start = 0
        while start < len(script.steps):
            fewer = script.steps[:start] + script.steps[start + size :]
            shorter = _either(attrs.evolve(script, steps=fewer), script, fails)
            start += size if shorter is script else 0
            script = shorter
        size //= 2
    return script


def _with_plainer_step(script: Script, number: int, fails: Fails) -> Script:
    """Set what a step tells to its default, where it fails all the same."""
    for name in _names_with_defaults(script.steps[number]):
        for plainer in _plainer_in(script.steps[number], name):
            steps = (*script.steps[:number], plainer, *script.steps[number + 1 :])
            script = _either(attrs.evolve(script, steps=steps), script, fails)
    return script


def _plainer_in(thing: Any, name: str) -> Iterator[Any]:
    """Yield `thing` with the default of an attribute, or with a plainer plan."""
    yield attrs.evolve(
        thing, **{name: getattr(attrs.fields(type(thing)), name).default}
    )
    if name == "plan":
        for plan in _plainer(thing.plan):
            yield attrs.evolve(thing, plan=plan)


def _plainer(thing: T) -> Iterator[T]:
    """Yield `thing` with the default of each attribute."""
    for name in _names_with_defaults(thing):
        yield next(_plainer_in(thing, name))


def _names_with_defaults(thing: Any) -> list[str]:
    fields = attrs.fields(type(thing))
    return [field.name for field in fields if field.default is not attrs.NOTHING]
