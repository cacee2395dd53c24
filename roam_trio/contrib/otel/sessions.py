"""Measurements of sessions: what they do and hold now.

Readers of metrics ask in threads of their own. The figures are made in the run of trio
to which the sessions belong, a few sessions at a time, so that other tasks run in
between.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from time import monotonic
from typing import Final
from weakref import WeakSet

import attrs
import trio
from opentelemetry.metrics import CallbackOptions, Meter, Observation

from ...logs import Log
from ...rpc.connection import AnySession
from ...session.session import Session
from .names import ANSWERED, CALLED, CREDIT, QUEUED, RECEIVED, SENT, SESSIONS, UNSENT

__all__ = ["Figures", "Sessions"]

logger = Log("roam_trio.otel")

_PATIENCE: Final = 0.5
"""Number of seconds for which a reader waits for a run of trio that is busy."""

_FRESH: Final = 0.5
"""Number of seconds for which figures are not made again, because a reader asks for
each of its metrics."""

_AT_ONCE: Final = 32
"""Number of sessions that are looked at before other tasks run."""


@attrs.frozen
class Figures:
    """Sums over sessions.

    Attributes:
        sessions: number of sessions.
        calling: calls of this side that are in flight.
        answering: calls of peers that are being answered.
        credit: items that this side may still send, on all open channels.
        queued: items that have come and were not received.
        unsent: bytes that wait to be sent.
        sent: length of the payloads that were sent.
        received: length of the payloads that were received.
    """

    sessions: int = 0
    calling: int = 0
    answering: int = 0
    credit: int = 0
    queued: int = 0
    unsent: int = 0
    sent: int = 0
    received: int = 0

    def __add__(self, other: Figures) -> Figures:
        pairs = zip(attrs.astuple(self), attrs.astuple(other), strict=True)
        return Figures(*(left + right for left, right in pairs))

    @classmethod
    def of(cls, session: Session) -> Figures:
        """Return the figures of one session."""
        found = session.statistics()
        connections = found.connections
        channels = [each for one in connections for each in one.channels]
        return cls(
            sessions=1,
            calling=sum(len(one.calling) for one in connections),
            answering=sum(len(one.answering) for one in connections),
            credit=sum(one.credit or 0 for one in channels if one.direction == "out"),
            queued=sum(one.queued for one in channels),
            unsent=found.sent.unsent_bytes,
            sent=found.sent.payload_bytes,
            received=found.received.payload_bytes,
        )


_UNITS: Final = {
    SESSIONS: ("sessions", "{session}", "Open sessions."),
    CALLED: ("calling", "{call}", "Calls of this side that are in flight."),
    ANSWERED: ("answering", "{call}", "Calls of peers that are being answered."),
    CREDIT: ("credit", "{item}", "Items that this side may still send."),
    QUEUED: ("queued", "{item}", "Items that have come and were not received."),
    UNSENT: ("unsent", "By", "Bytes that wait to be sent."),
}
"""For each gauge: the attribute of `Figures`, the unit and the description."""

_TOTALS: Final = {
    SENT: ("sent", "By", "Length of the payloads that were sent."),
    RECEIVED: ("received", "By", "Length of the payloads that were received."),
}
"""The same for counters."""


@attrs.define(eq=False)
class _Run:
    """The sessions of one run of trio.

    Attributes:
        token: the run.
        sessions: its open sessions.
        ended: the bytes of those that have closed.
        figures: those that were made last, of both.
        at: when that was, by the clock of `monotonic`.
        made: set when the figures that a reader has asked for are there; None if none
            has asked since.
    """

    token: trio.lowlevel.TrioToken
    sessions: WeakSet[Session] = attrs.field(factory=lambda: WeakSet[Session]())
    ended: Figures = Figures()
    figures: Figures = Figures()
    at: float = -_FRESH
    made: threading.Event | None = None


class Sessions:
    """The open sessions that are measured.

    Args:
        meter: makes the instruments.
    """

    def __init__(self, meter: Meter) -> None:
        self._runs: dict[trio.lowlevel.TrioToken, _Run] = {}
        self._ended = Figures()
        """The bytes of runs that have no sessions any more."""
        self._moving = threading.Lock()
        for name, (field, unit, text) in _UNITS.items():
            meter.create_observable_gauge(name, [self._observer_of(field)], unit, text)
        for name, (field, unit, text) in _TOTALS.items():
            meter.create_observable_counter(
                name, [self._observer_of(field)], unit, text
            )

    def add(self, session: AnySession) -> None:
        """Measure a session from now on."""
        if isinstance(session, Session):
            token = trio.lowlevel.current_trio_token()
            self._runs.setdefault(token, _Run(token)).sessions.add(session)

    def remove(self, session: AnySession) -> None:
        """Measure a session no more; its bytes stay in the totals."""
        token = trio.lowlevel.current_trio_token()
        run = self._runs.get(token)
        if run is None or session not in run.sessions:
            return
        assert isinstance(session, Session), "as is every one that was added"
        run.sessions.discard(session)
        last = Figures.of(session)
        # To what the figures of the run are made of, so that bytes which these had
        # already are not counted twice until they are made again.
        run.ended += Figures(sent=last.sent, received=last.received)
        if not run.sessions:
            self._forget(run)

    def _observer_of(
        self, field: str
    ) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def observe(options: CallbackOptions) -> Iterator[Observation]:
            yield Observation(getattr(self.figures(), field))

        return observe

    def figures(self) -> Figures:
        """Return the figures of now; in another thread, of a moment ago at most.

        There it waits for a run of trio that is busy, but not for long. If the run does
        not answer, the figures are those from before.
        """
        with self._moving:
            total, runs = self._ended, [*self._runs.values()]
        for run in runs:
            if run.token is _here():
                run.figures = sum(map(Figures.of, [*run.sessions]), run.ended)
            elif monotonic() - run.at >= _FRESH:
                self._ask(run)
            total += run.figures
        return total

    def _forget(self, run: _Run) -> None:
        """Keep no more of a run than the bytes of its sessions."""
        with self._moving:
            if self._runs.pop(run.token, None) is not None:
                self._ended += run.ended

    def _ask(self, run: _Run) -> None:
        """Have the figures of a run made by a task of it, and wait for them."""
        made = run.made
        if made is None:
            made = run.made = threading.Event()
            try:
                run.token.run_sync_soon(self._begin_to_make, run, made)
            except trio.RunFinishedError:
                run.figures = run.ended
                self._forget(run)
                return
        if not made.wait(_PATIENCE):
            run.at = monotonic()  # or the reader would wait for each of its metrics

    def _begin_to_make(self, run: _Run, made: threading.Event) -> None:
        try:
            trio.lowlevel.spawn_system_task(self._make, run, made)
        except RuntimeError:  # the run is about to end, and takes no more tasks
            run.made = None
            made.set()

    async def _make(self, run: _Run, made: threading.Event) -> None:
        total = run.ended
        try:
            for number, session in enumerate([*run.sessions], start=1):
                total += Figures.of(session)
                if number % _AT_ONCE == 0:
                    await trio.lowlevel.checkpoint()
            run.figures = total
        except Exception as error:
            # In a system task, it would end the run of trio.
            logger.failure(error, "sessions were not measured")
        finally:
            run.at, run.made = monotonic(), None
            made.set()


def _here() -> trio.lowlevel.TrioToken | None:
    try:
        return trio.lowlevel.current_trio_token()
    except RuntimeError:
        return None
