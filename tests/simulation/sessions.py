"""Sessions and connections as both of their sides have them, and how they end."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence

import attrs
import trio

from roam_trio import (
    ConduitError,
    ConnectionHandle,
    LinkError,
    Session,
    SessionError,
    SessionProtocolError,
)
from roam_trio.links.resuming.tx import StableTxStatistics
from roam_trio.wire.envelope import MessageFamily
from roam_trio.wire.messages import Message
from tests.session.wire import LEFT, RIGHT, Watch

from .broken import Broken, require
from .stage import RESUME_SECONDS, Stage

__all__ = ["Joint", "Sitting", "WatchedFamily", "run_side"]


class WatchedFamily(MessageFamily):
    """The messages of one side of a session, each of which is looked at."""

    def __init__(self, sitting: Sitting, side: int) -> None:
        self.is_over = False
        self.sitting = sitting
        self.side = side

    def encode(self, message: Message) -> list[bytes | memoryview]:
        self._look_at(message)
        return super().encode(message)

    def encode_frame(self, message: Message) -> bytes | list[bytes | memoryview]:
        self._look_at(message)
        return super().encode_frame(message)

    def encode_all(
        self, messages: Sequence[Message]
    ) -> Sequence[list[bytes | memoryview]]:
        for message in messages:
            self._look_at(message)
        return super().encode_all(messages)

    def _look_at(self, message: Message) -> None:
        if self.is_over:
            raise Broken("a message of a session that has ended", message)
        self.sitting.on_sent(self.side, message)


@attrs.define(eq=False)
class Sitting:
    """A session of a client's, as both sides have it.

    A server may have begun it more than once: a client whose first link breaks before
    the answer of the server comes begins again.

    Attributes:
        number: its number among all.
        stage: what all share.
        sessions: both sides, once they are set up.
        scopes: those of the tasks that run both sides.
        roots: both sides of the root connection.
        at_work: number of tasks that run either side.
        why: what was done that may end it.
        lost_at: when its link was first disturbed, if it has not been well since.
        watch: looks at what passes.
    """

    number: int
    stage: Stage
    sessions: list[Session | None] = attrs.Factory(lambda: [None, None])
    scopes: list[trio.CancelScope] = attrs.Factory(
        lambda: [trio.CancelScope(), trio.CancelScope()]
    )
    roots: Joint = attrs.field(init=False)
    at_work: int = 0
    why: list[str] = attrs.Factory(list[str])
    lost_at: float = math.inf
    watch: Watch = attrs.Factory(Watch)

    def __attrs_post_init__(self) -> None:
        self.roots = Joint((self,))

    @property
    def disturbances(self) -> list[str]:
        """What was done that may end it by now."""
        is_given_up = trio.current_time() - self.lost_at >= RESUME_SECONDS
        return [*self.why, *["given up"] * is_given_up]

    @property
    def near(self) -> Session | None:
        """The client's session, while it is open."""
        return self._open(LEFT)

    @property
    def far(self) -> Session | None:
        """The server's session, while it is open."""
        return self._open(RIGHT)

    def _open(self, side: int) -> Session | None:
        session = self.sessions[side]
        is_open = session is not None and session.ended_because is None
        return session if is_open else None

    @property
    def both(self) -> list[Session]:
        """The sides that are open."""
        return [one for one in (self.near, self.far) if one is not None]

    @property
    def is_set_up(self) -> bool:
        """True if both sides have been set up."""
        return None not in self.sessions

    @property
    def has_link(self) -> bool:
        """True if both sides are open, and take their link for whole."""
        sent = [session._run.tx.statistics() for session in self.both]
        lost = [
            one
            for one in sent
            if isinstance(one, StableTxStatistics) and not one.is_attached
        ]
        return len(sent) == 2 and not lost

    @property
    def has_worked(self) -> bool:
        """True if the server has received more than the handshake of the session."""
        far = self.far
        return far is not None and far._run.rx.statistics().payloads > 1

    def started(self, side: int, session: Session, scope: trio.CancelScope) -> None:
        """Note that a side is set up."""
        self.sessions[side] = session
        self.scopes[side] = scope
        self.roots.ends[side] = session.root
        _ = session.root.caller
        self.stage.note("session", self.number, side)

    def on_sent(self, side: int, message: Message) -> None:
        """Look at a message that a side sends."""
        self.stage.figures["messages"] += 1
        try:
            self.watch.see(side, message)
        except (AssertionError, KeyError) as error:
            self.stage.broke(Broken("a message out of place", repr(error)))

    def on_ended(self, session: Session) -> None:
        """Look at the end of a side."""
        because = session.ended_because
        self.stage.note("session ends", self.number, type(because).__name__)
        require(because is not None, "a session has ended for no reason")
        require(
            not isinstance(because, SessionProtocolError),
            "peers that keep the rules cannot agree",
            repr(because),
        )
        require(
            self.disturbances,
            "a session has ended as nothing explains",
            f"session {self.number}: {because!r}",
        )


@attrs.define(eq=False)
class Joint:
    """A connection, as both sides have it.

    Attributes:
        way: every session on its way: also that of the proxy.
        ends: both sides, once it is open.
        is_closed: whether either side was told to close it.
    """

    way: tuple[Sitting, ...]
    ends: list[ConnectionHandle | None] = attrs.Factory(lambda: [None, None])
    is_closed: bool = False

    @property
    def disturbances(self) -> list[str]:
        """What was done that may end it by now."""
        closed = ["closed"] if self.is_closed else []
        return closed + [why for one in self.way for why in one.disturbances]

    @property
    def is_proxied(self) -> bool:
        """True if a proxy is on its way."""
        return len(self.way) > 1


async def run_side(run: Callable[..., Awaitable[None]], family: WatchedFamily) -> None:
    """Run one side of a session to its end, and look at how it has ended.

    Args:
        run: the method of a builder.
        family: what its conduit carries.
    """
    sitting, side = family.sitting, family.side
    status = _Status(side, sitting)
    sitting.at_work += 1
    try:
        with status.scope:
            await run(sitting.stage.worker, task_status=status)
    except (SessionError, LinkError, ConduitError) as error:
        sitting.stage.note("no session", sitting.number, side, type(error).__name__)
        require(sitting.disturbances, "a session cannot be set up", repr(error))
    else:
        assert status.session is not None
        sitting.on_ended(status.session)
    finally:
        sitting.at_work -= 1
        family.is_over = True


class _Status(trio.TaskStatus[Session]):
    """Is told of a session that is set up."""

    def __init__(self, side: int, sitting: Sitting) -> None:
        self.session: Session | None = None
        self.scope = trio.CancelScope()
        self._side = side
        self._sitting = sitting

    def started(self, value: Session) -> None:
        self.session = value
        self._sitting.started(self._side, value, self.scope)
