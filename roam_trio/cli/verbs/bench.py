"""`bench`: the rate and the times of calls."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from functools import partial
from typing import Annotated, Any

import attrs
import trio
import typer

from ...errors import Disconnected, HandlerFailed, RoamError, UserError
from ...service.description.model import ChannelType
from ..connecting import client_for, session_with
from ..described import Target, described_by
from ..exits import Exit, UsageError
from ..latencies import Latencies
from ..output import Output
from ..peer_options import AsJson, PeerOptions, Url, with_peer
from ..performing import perform
from ..requests import arguments_of

__all__ = ["command", "show_bench"]

_PERCENTS = (50, 90, 99, 99.9)


@with_peer
def command(
    url: Url,
    method: Annotated[
        str, typer.Argument(metavar="SERVICE.METHOD", help="The method.")
    ],
    peer: PeerOptions,
    arguments: Annotated[
        str, typer.Argument(metavar="[JSON]", help="The arguments, as for `call`.")
    ] = "{}",
    concurrency: Annotated[
        int,
        typer.Option(
            "--concurrency", "-c", min=1, help="Number of calls in flight at a time."
        ),
    ] = 16,
    duration: Annotated[
        float,
        typer.Option(metavar="SECONDS", min=0.0, help="How long to begin new calls."),
    ] = 5.0,
    count: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Number of calls, in place of a duration.",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Call a method again and again, and print the rate and the times of the calls.

    Times are in milliseconds. Exit codes: 1 if calls have failed with an error of the
    method, 3 if some were refused.
    """
    plan = Plan(concurrency, math.inf if count else duration, count)
    perform(
        "bench",
        partial(show_bench, url, method, peer, arguments, plan, as_json=as_json),
    )


@attrs.frozen
class Plan:
    """The work of a benchmark.

    Attributes:
        concurrency: number of calls in flight at a time.
        duration: number of seconds during which calls begin.
        count: number of calls; None for any number.
    """

    concurrency: int = 16
    duration: float = 5.0
    count: int | None = None

    def places(self) -> Iterator[int]:
        """Return an iterator with an element for each call."""
        return iter(itertools.count() if self.count is None else range(self.count))


@attrs.define
class _Outcome:
    """The results of calls.

    Attributes:
        times: the times of the calls that have returned.
        errors: number of failed calls by the class of their errors.
        is_refused: whether one has failed with an error that is not of the method.
    """

    times: Latencies = attrs.field(factory=Latencies)
    errors: Counter[str] = attrs.field(factory=Counter[str])
    is_refused: bool = False

    def add(self, error: RoamError) -> None:
        self.errors[type(error).__name__] += 1
        self.is_refused |= not isinstance(error, UserError | HandlerFailed)

    def code(self) -> Exit:
        if self.is_refused:
            return Exit.UNREACHED
        return Exit.FAILED if self.errors else Exit.DONE


async def show_bench(
    url: str,
    method: str,
    peer: PeerOptions,
    arguments: str,
    plan: Plan,
    *,
    as_json: bool = False,
) -> Exit:
    """Make the calls of a plan, and print their rate and times."""
    target, output, outcome = Target(method), Output(as_json=as_json), _Outcome()
    given = arguments_of(arguments, "the arguments")
    async with session_with(url, peer) as session:
        described = await described_by(session, peer)
        schema = target.method_of(target.schema(described))
        if any(isinstance(arg.type, ChannelType) for arg in schema.args):
            raise UsageError(f"{target}: expected a method without channels")
        async with client_for(session, target, described) as client:
            try:
                args = client.arguments(schema.name, given)
            except TypeError as error:
                raise UsageError(str(error)) from error
            call = partial(client.method(schema.name), **args)
            began = trio.current_time()
            await _make_calls(call, plan, outcome)
            seconds = trio.current_time() - began
    await _show(_figures(outcome, seconds), output)
    return outcome.code()


async def _make_calls(
    call: Callable[[], Coroutine[Any, Any, Any]], plan: Plan, outcome: _Outcome
) -> None:
    places, until = plan.places(), trio.current_time() + plan.duration

    async def work() -> None:
        for _ in places:
            began = trio.current_time()
            if began >= until:
                return
            try:
                await call()
            except Disconnected:
                raise
            except RoamError as error:
                outcome.add(error)
            else:
                outcome.times.add(trio.current_time() - began)

    async with trio.open_nursery() as nursery:
        for _ in range(plan.concurrency):
            nursery.start_soon(work)


def _figures(outcome: _Outcome, seconds: float) -> dict[str, Any]:
    times = outcome.times
    found = {f"p{percent}": times.percentile(percent) for percent in _PERCENTS}
    found = {"mean": times.mean(), **found, "most": times.most}
    return {
        "calls": times.count,
        "seconds": round(seconds, 3),
        "rate": round(times.count / seconds, 1) if seconds else 0.0,
        "milliseconds": {name: round(1000 * each, 3) for name, each in found.items()},
        "errors": dict(outcome.errors),
    }


async def _show(figures: dict[str, Any], output: Output) -> None:
    if not output.is_pretty:
        await output.value(figures)
        return
    calls, seconds, rate = figures["calls"], figures["seconds"], figures["rate"]
    await output.text(f"{calls:,} calls in {seconds:.1f} s: {rate:,.0f} a second")
    times = figures["milliseconds"]
    await output.table(
        [f"{name} ms" for name in times], [[f"{each:.3f}" for each in times.values()]]
    )
    for name, number in figures["errors"].items():
        await output.text(f"{number:,} failed: {name}")
