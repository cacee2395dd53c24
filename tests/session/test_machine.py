"""Two sessions and whatever can be done to them, in any order.

A state machine drives both, and the link between them, which delivers and is cut when
told to. Rules that follow each other happen at one and the same moment, or with some
steps of trio's between them, or after everything has come to rest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import trio
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from roam_trio import Parity
from tests.guest import Guest

from .wire import LEFT, RIGHT
from .world import Call, Decision, End, Held, Opening, Operation, World

which = st.integers(0, 99)
"""Picks one of whatever there is."""

sides = st.sampled_from([LEFT, RIGHT])

REST, ARRIVALS = -1, -2

steps = st.sampled_from([None, 0, 1, 2, 4, 8, ARRIVALS, ARRIVALS, REST, REST, REST])
"""Number of steps follow. With None the next rule happens at the same moment; with
ARRIVALS, what is under way arrives at that moment; with REST, everything is delivered
and answered first."""


def seldom(one_in: int) -> st.SearchStrategy[bool]:
    """True once in so many times; hypothesis likes the ends of a range too much."""
    return st.integers(1, one_in).map(lambda number: number == one_in // 2 + 1)


def there_are(name: str) -> Callable[[TwoSessions], bool]:
    """Return True if there is something to pick from."""
    return lambda self: bool(getattr(self.world, name))


class TwoSessions(RuleBasedStateMachine):
    """The rules. `World` knows what they do, and what has to hold."""

    def __init__(self) -> None:
        super().__init__()
        self.guest = Guest()
        self.together: list[Callable[[], object]] = []
        self.is_fine = False

    @initialize(buffer=st.sampled_from([1, 2, 16]), strict=st.booleans())
    def begin(self, buffer: int, strict: bool) -> None:
        self.world = World(self.guest.nursery, buffer, strict=strict)
        self.guest.run(self.world.begin)

    def act(
        self, then: int | None, action: Callable[..., object], *args: object
    ) -> None:
        """Do it, together with what was to be done at the same moment."""
        self.is_fine = False
        self.together.append(lambda: action(*args))
        if then is not None:
            self.guest.run(lambda: self.act_and_go_on(then))

    async def act_and_go_on(self, count: int) -> None:
        for action in self.together:
            action()
        self.together.clear()
        if count == ARRIVALS:
            for side in (LEFT, RIGHT):
                self.world.deliver(side, 16)
            count = 1
        if count == REST:
            await self.world.settle()
            self.world.check_agreement()
        for _ in range(count):
            await trio.lowlevel.checkpoint()

    def pick(
        self,
        then: int | None,
        name: str,
        number: int,
        action: Callable[..., object],
        *args: object,
    ) -> None:
        """Act on one of several things, if there are any by then."""

        def act() -> None:
            things: Sequence[object] = getattr(self.world, name)
            if things:
                action(things[number % len(things)], *args)

        self.act(then, act)

    # ------------------------------------------------------------ the link

    @rule(side=sides, count=st.integers(1, 4), then=steps)
    def deliver(self, side: int, count: int, then: int | None) -> None:
        self.act(then, self.world.deliver, side, count)

    @rule(really=seldom(20), then=steps)
    def cut(self, really: bool, then: int | None) -> None:
        if really:
            self.act(then, self.world.cut)

    @rule(really=seldom(20), side=sides, grace=st.sampled_from([0, 9]), then=steps)
    def shut_down(
        self, really: bool, side: int, grace: float, then: int | None
    ) -> None:
        if really:
            self.act(then, self.world.shut_down, side, grace)

    # ------------------------------------------------------------ connections

    @rule(side=sides, parity=st.sampled_from([None, *Parity]), then=steps)
    def open(self, side: int, parity: Parity | None, then: int | None) -> None:
        self.act(then, self.world.open, side, parity)

    @precondition(lambda self: len(self.world.opens) < 8)
    @rule(side=sides)
    def open_and_accept(self, side: int) -> None:
        self.act(REST, self.world.open, side, None)
        self.pick(REST, "decisions", -1, Decision.tell, "accept")

    @precondition(there_are("openings"))
    @rule(number=which, then=steps)
    def cancel_opening(self, number: int, then: int | None) -> None:
        self.pick(then, "openings", number, Opening.cancel)

    @precondition(there_are("decisions"))
    @rule(
        number=which,
        how=st.sampled_from(["accept", "accept", "reject", "fail"]),
        then=steps,
    )
    def decide(self, number: int, how: str, then: int | None) -> None:
        self.pick(then, "decisions", number, Decision.tell, how)

    @rule(number=which, really=seldom(4), then=steps)
    def close(self, number: int, really: bool, then: int | None) -> None:
        if really:
            self.pick(then, "opens", number, self.world.close_connection)

    @rule(number=which, really=seldom(6), then=steps)
    def give_up(self, number: int, really: bool, then: int | None) -> None:
        if really:
            self.pick(then, "opens", number, self.world.give_up)

    # ------------------------------------------------------------ calls

    @rule(number=which, then=steps)
    def call(self, number: int, then: int | None) -> None:
        self.pick(then, "opens", number, self.world.call, "hold")

    @rule(number=which, then=steps)
    def call_with_channels(self, number: int, then: int | None) -> None:
        self.pick(then, "opens", number, self.world.call, "stream")

    @rule(number=which, then=steps)
    def call_with_channels_without_credit(self, number: int, then: int | None) -> None:
        self.pick(then, "opens", number, self.world.call, "lockstep")

    @precondition(there_are("running"))
    @rule(number=which, then=steps)
    def cancel_call(self, number: int, then: int | None) -> None:
        self.pick(then, "running", number, Call.cancel)

    @precondition(there_are("held"))
    @rule(number=which, how=st.sampled_from(["return", "return", "fail"]), then=steps)
    def end_handler(self, number: int, how: str, then: int | None) -> None:
        self.pick(then, "held", number, Held.tell, how)

    # ------------------------------------------------------------ channels

    @precondition(there_are("ends"))
    @rule(number=which, then=steps)
    def send_or_receive(self, number: int, then: int | None) -> None:
        self.pick(then, "ends", number, self.world.move)

    @precondition(there_are("ends"))
    @rule(then=steps)
    def send_and_receive_everywhere(self, then: int | None) -> None:
        self.act(then, self.world.move_all)

    @precondition(there_are("operations"))
    @rule(number=which, then=steps)
    def cancel_operation(self, number: int, then: int | None) -> None:
        self.pick(then, "operations", number, Operation.cancel)

    @precondition(there_are("ends"))
    @rule(number=which, then=steps)
    def grant(self, number: int, then: int | None) -> None:
        self.pick(then, "ends", number, End.grant)

    @precondition(there_are("ends"))
    @rule(number=which, then=steps)
    def finish_channel(self, number: int, then: int | None) -> None:
        self.pick(then, "ends", number, End.finish)

    @precondition(there_are("ends"))
    @rule(number=which, then=steps)
    def drop_channel(self, number: int, then: int | None) -> None:
        self.pick(then, "ends", number, self.world.drop)

    # ------------------------------------------------------------ what has to hold

    @invariant()
    def nothing_is_wrong(self) -> None:
        self.world.check()
        self.is_fine = True

    def teardown(self) -> None:
        try:
            if self.is_fine:
                self.act(0, self.world.check)
                self.guest.run(self.world.finish)
        finally:
            self.guest.end()
            self.world.close()


@pytest.mark.rule(
    "connection.open",
    "connection.close",
    "connection.parity",
    "rpc.request.id-allocation",
    "rpc.response.one-per-request",
    "rpc.channel.item",
)
def test_two_sessions_agree_whatever_happens() -> None:
    run_state_machine_as_test(
        TwoSessions, settings=settings(max_examples=40, stateful_step_count=60)
    )


@pytest.mark.slow
def test_two_sessions_agree_for_long() -> None:
    run_state_machine_as_test(
        TwoSessions, settings=settings(max_examples=500, stateful_step_count=120)
    )
