"""The steps of the demo."""

from __future__ import annotations

import time
from collections.abc import Sequence

import attrs

from ..endpoints.connect import connect
from ..limits import Limits
from .calls import call_at_once, call_one_by_one, cancel_calls, fail_calls
from .display import Display
from .errors import WrongAnswer, root_cause
from .process import ServerProcess
from .results import Results
from .service import Tallies, WordCounter
from .streaming import stream_texts
from .texts import Text

__all__ = ["Plan", "run_demo", "run_steps"]

# Short, so that a hanging server does not delay the end.
LIMITS = Limits(close_seconds=1.0)


@attrs.frozen(kw_only=True)
class Plan:
    """Plan of the demo.

    Attributes:
        texts: the texts to stream, in this order.
        rounds: number of times to stream them.
        calls: number of calls one at a time, and number of concurrent calls.
        at_once: number of concurrent calls in flight.
        endings: number of calls that fail, and number of calls that are cancelled.
    """

    texts: Sequence[Text]
    rounds: int
    calls: int
    at_once: int = 64
    endings: int = 20

    @property
    def bytes(self) -> int | None:
        """Number of bytes to stream, if known."""
        total = 0
        for text in self.texts:
            if text.size is None:
                return None
            total += text.size
        return total * self.rounds


async def run_demo(plan: Plan, display: Display) -> Results:
    """Start a server process, carry out the plan, and end the process.

    Raises:
        DemoError: a step failed.
    """
    start = time.perf_counter()
    display.begin("starting a server process")
    try:
        async with (
            ServerProcess() as server,
            connect(server.url, WordCounter, limits=LIMITS) as client,
        ):
            start_seconds = time.perf_counter() - start
            display.finish()
            return await run_steps(client, plan, display, start_seconds)
    except Exception as error:
        cause = root_cause(error)
        try:
            if cause is None:
                raise
            raise cause from error
        finally:
            del cause  # or the error and this frame would hold each other


async def run_steps(
    client: WordCounter, plan: Plan, display: Display, start_seconds: float
) -> Results:
    """Carry out the plan with the server of `client`."""
    display.begin("streaming texts", plan.bytes)
    texts = [*plan.texts] * plan.rounds
    streamed = await stream_texts(client, texts, display.advance)
    display.finish()

    display.begin("calling, one call at a time", plan.calls)
    called = await call_one_by_one(client, plan.calls, display.advance)
    display.finish()

    display.begin(f"calling, {plan.at_once} calls in flight", plan.calls)
    together = await call_at_once(client, plan.calls, plan.at_once, display.advance)
    display.finish()

    display.begin("failing, and cancelling")
    failed = await fail_calls(client, plan.endings)
    cancelled = await cancel_calls(client, plan.endings)
    tallies = await client.tallies()
    _check_tallies(plan, tallies)
    display.finish()

    return Results(
        start_seconds=start_seconds,
        streamed=streamed,
        called=called,
        called_at_once=together,
        failed=failed,
        cancelled=cancelled,
        tallies=tallies,
    )


def _check_tallies(plan: Plan, tallies: Tallies) -> None:
    # One call streams. One follows the failing calls, and one asks about each cancelled
    # call.
    calls = 1 + 2 * plan.calls + (plan.endings + 1) + 2 * plan.endings
    if tallies.calls != calls:
        raise WrongAnswer("calls that the server has answered", calls, tallies.calls)
    if tallies.at_once > plan.at_once:
        raise WrongAnswer("calls in flight", plan.at_once, tallies.at_once)
