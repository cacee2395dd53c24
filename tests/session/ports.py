"""A port of no connection: parts of a connection are made with it, and without trio."""

from __future__ import annotations

from typing import Any

from roam_trio import Limits, Tx, u8
from roam_trio.codec import ChannelPlan
from roam_trio.codec.plans import rpc_plan
from roam_trio.schema.shape import ChannelShape
from roam_trio.session.outbox import Outbox
from roam_trio.session.port import Port, SessionPort
from roam_trio.wire.messages import Message

__all__ = ["PortOfNobody", "plan_of", "session_port"]


class _Listening(Outbox):
    """An outbox that only lists what is pushed."""

    def __init__(self) -> None:
        self.pushed: list[Message] = []
        self.failures: list[BaseException] = []
        self.fail = self.failures.append

    def push(self, message: Message, *, last: bool = False) -> None:
        self.pushed.append(message)


def session_port(limits: Limits | None = None, **options: Any) -> SessionPort:
    """What the connections of a session share, if there is no session."""
    given: dict[str, Any] = {
        "outbox": _Listening(),
        "limits": limits or Limits(),
        "token": None,
        "now": lambda: 0.0,
        "start_soon": _fail,
        "on_unused": _fail,
        "on_quiet": _fail,
        "close": _fail,
    }
    return SessionPort(**{**given, **options})


class PortOfNobody(Port):
    """A port of connection 3, which lists what goes out."""

    def __init__(self, limits: Limits | None = None) -> None:
        super().__init__(3, session_port(limits))

    @property
    def pushed(self) -> list[Message]:
        """What has been pushed, in order."""
        assert isinstance(self.outbox, _Listening)
        return self.outbox.pushed

    @property
    def failures(self) -> list[BaseException]:
        """What the session would have ended with."""
        assert isinstance(self.outbox, _Listening)
        return self.outbox.failures


def _fail(*args: object) -> None:
    raise AssertionError("nobody is told here")


def plan_of(credit: int) -> ChannelPlan:
    """The plan of a channel of `u8` that begins with so much credit."""
    items = rpc_plan(u8)
    return ChannelPlan(ChannelShape("tx", items.shape, credit, Tx), items)
