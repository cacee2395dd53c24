"""A port of no connection: parts of a connection are made with it, and without trio."""

from __future__ import annotations

from math import inf
from types import SimpleNamespace
from typing import Any

import attrs

from roam_trio import Limits, Peer, Tx, u8
from roam_trio.codec import ChannelPlan
from roam_trio.codec.plans import rpc_plan
from roam_trio.schema.shape import ChannelShape
from roam_trio.session.outbox import Outbox
from roam_trio.session.port import Port, SessionPort
from roam_trio.session.terms import SessionTerms
from roam_trio.session.waits import Waits
from roam_trio.session.workers import Workers
from roam_trio.wire.messages import Message

__all__ = ["Listening", "PortOfNobody", "plan_of", "session_port"]


class Listening(Outbox):
    """An outbox that only lists what goes out."""

    def __init__(self) -> None:
        self.pushed: list[Message] = []
        self.failures: list[BaseException] = []
        self.fail = self.failures.append
        self.is_full = False
        self.error: Exception | None = None

    def has_room(self) -> bool:
        return not self.is_full

    def send_nowait(self, message: Message) -> None:
        assert not self.is_full
        if self.error is not None:
            raise self.error
        self.pushed.append(message)

    def push(self, message: Message, *, last: bool = False) -> None:
        self.pushed.append(message)

    @property
    def sent(self) -> int:
        return len(self.pushed)


def session_port(limits: Limits | None = None, **options: Any) -> SessionPort:
    """What the connections of a session share, if there is no session."""
    peer = Peer("memory", "nobody")
    strict = options.pop("strict", False)
    terms = SessionTerms(
        limits=limits or Limits(), strict=strict, peer=peer, now=lambda: 0.0
    )
    never = attrs.evolve(terms.limits, warn_after=inf)
    given: dict[str, Any] = {
        "outbox": Listening(),
        "terms": terms,
        "token": None,
        "now": lambda: 0.0,
        "workers": Workers(
            SimpleNamespace(start_soon=options.pop("start_soon", _fail)), terms.budget
        ),
        "waits": Waits(
            attrs.evolve(terms, limits=never), lambda: 0.0, SimpleNamespace()
        ),
        "owner": SimpleNamespace(on_unused=_fail, on_quiet=_fail, close=_fail),
    }
    return SessionPort(**{**given, **options})


class PortOfNobody(Port):
    """A port of connection 3, which lists what goes out."""

    def __init__(self, limits: Limits | None = None) -> None:
        super().__init__(3, session_port(limits))

    @property
    def way_out(self) -> Listening:
        """The outbox, as what it is."""
        assert isinstance(self.outbox, Listening)
        return self.outbox

    @property
    def pushed(self) -> list[Message]:
        """What has gone out, in order."""
        return self.way_out.pushed

    @property
    def failures(self) -> list[BaseException]:
        """What the session would have ended with."""
        return self.way_out.failures


def _fail(*args: object) -> None:
    raise AssertionError("nobody is told here")


def plan_of(credit: int) -> ChannelPlan:
    """The plan of a channel of `u8` that begins with so much credit."""
    items = rpc_plan(u8)
    return ChannelPlan(ChannelShape("tx", items.shape, credit, Tx), items)
