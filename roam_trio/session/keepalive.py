"""Keepalive: noticing that a peer has died and its link has not, or that a session is
of no use to anybody."""

from __future__ import annotations

import math
from typing import Any, Final, Protocol, TypeAlias

import attrs

from ..conduits.base import ConduitRx, ConduitTx
from ..errors import LimitExceeded, SessionIoError
from ..failures import text_of
from ..links.base import RxStatistics, TxStatistics
from ..logs import Log
from ..wire.ids import ConnectionId
from ..wire.messages import Message, Ping
from .outbox import Outbox
from .timers import Timers

__all__ = ["SERVER_KEEPALIVE", "Keepalive", "SessionKeepaliveConfig"]

logger = Log("roam_trio.session")


@attrs.frozen(kw_only=True)
class SessionKeepaliveConfig:
    """Times of Pings and Pongs, in seconds.

    Something is in flight while a call has no response, a channel is open, or a
    connection is being opened, in either direction. Any message of the peer's shows
    that the peer is alive, as a Pong does.

    Attributes:
        ping_interval: how long the peer may say nothing while something is in flight,
            before a Ping is sent; noticed at most one interval late.
        pong_timeout: how long its Pong may take while something is in flight; then the
            peer is taken for dead, and the session ends. A conduit that can get another
            link does so instead.
        idle_interval: how long the peer may say nothing while nothing is in flight,
            before a Ping is sent. Its Pong may take as long as nothing is in flight,
            because some peers do not read then. The Ping keeps the connection known to
            the routers on its way, and lets the system find out that it is broken.
        while_idle: do as if something were always in flight. Then `idle_interval` does
            not matter, and peers must also read while they are idle.
    """

    ping_interval: float = attrs.field(default=30.0, validator=attrs.validators.gt(0))
    pong_timeout: float = attrs.field(default=10.0, validator=attrs.validators.gt(0))
    idle_interval: float = attrs.field(default=300.0, validator=attrs.validators.gt(0))
    while_idle: bool = False


SERVER_KEEPALIVE: Final = SessionKeepaliveConfig()
"""The keepalive of a server, unless it is told another."""

_IDLE_CHECKS: Final = 8
"""Number of checks in `Limits.idle_seconds`: the end comes at most one of them late."""


@attrs.frozen
class Watching:
    """The reasons for which sessions are watched; those of a server share one object.

    Attributes:
        config: when to ping; None for never.
        idle_seconds: see `Limits.idle_seconds`.
        timers: checks the sessions when they are due.
    """

    config: SessionKeepaliveConfig | None
    idle_seconds: float
    timers: Timers

    @property
    def is_needed(self) -> bool:
        """True if there is anything to watch sessions for."""
        return self.config is not None or self.idle_seconds < math.inf


class Activity(Protocol):
    """The interface of `Connections` for keepalive."""

    @property
    def is_working(self) -> bool:
        """True if something is in flight; see `SessionKeepaliveConfig`."""
        ...


class Watched(Protocol):
    """The interface of a `SessionRun` for keepalive.

    One reference to it takes less memory than one to each of its parts.
    """

    @property
    def outbox(self) -> Outbox:
        """Sends Pings, and ends the session."""
        ...

    @property
    def rx(self) -> ConduitRx[Message]:
        """Counts the messages of the peer."""
        ...

    @property
    def tx(self) -> ConduitTx[Message]:
        """Counts the messages that wait to be written."""
        ...

    @property
    def connections(self) -> Activity | None:
        """Tells whether something is in flight."""
        ...


_Moving: TypeAlias = tuple[int, int]
"""The number of bytes that have arrived of a payload, and the number of payloads and of
parts of payloads that were written, or -1 if none waits."""


def _moving(received: RxStatistics, sent: TxStatistics) -> _Moving | None:
    """Describe what is on its way in parts; None for nothing."""
    unsent = sent.unsent_payloads
    if not received.begun and not unsent:
        return None
    written = sent.payloads - unsent + sent.parts
    return received.begun, written if unsent else -1


def _is_progress(before: _Moving | None, now: _Moving | None) -> bool:
    """Return True if payloads on their way show that the peer is alive.

    A written payload, or a part of one, does so only if others waited all the time: the
    system also takes some payloads for a peer that is gone.
    """
    if now is None:
        return False
    begun, written = before or (0, -1)
    has_written = -1 not in (written, now[1]) and now[1] != written
    return has_written or now[0] not in (0, begun)


class Keepalive:
    """Watches one session: pings its peer, and ends it if it is idle for too long.

    One Ping at a time is unanswered; nonces are 1, 2, 3, … Nothing is done here when a
    message of a connection comes: each check compares the number of messages with that
    of the last check.

    Args:
        watching: what to watch for.
        session: the session; it has connections.
    """

    # An idle session of a server holds one of these.
    __slots__ = (
        "_active_at",
        "_asked_at",
        "_heard_at",
        "_moving",
        "_nonce",
        "_session",
        "_watching",
        "due",
        "messages",
    )

    def __init__(self, watching: Watching, session: Watched) -> None:
        self._watching = watching
        self._session: Watched | None = session
        self._nonce = 0
        self._asked_at: float | None = None  # None if no Ping is unanswered
        self._heard_at = now = watching.timers.now()
        self._active_at = now  # infinite while something is in flight
        self._moving: _Moving | None = None
        self.messages = session.rx.statistics().payloads
        """Number of messages of the peer's, as of the last check. Those that are no
        sign of activity, such as Ping, are added when they come.
        """
        self.due = self._next_check(now, is_expected=True)
        watching.timers.add(self)

    @property
    def is_over(self) -> bool:
        """True if the session has ended."""
        return self._session is None

    def stop(self) -> None:
        """Watch the session no longer, and let go of it."""
        self._session = None
        self._watching.timers.forget(self)

    def __lt__(self, other: Any) -> bool:
        return bool(self.due < other.due)

    def on_pong(self, nonce: int) -> None:
        """Handle a Pong; ignore one with another nonce."""
        if nonce == self._nonce and self._asked_at is not None:
            self._asked_at = None
            self._heard_at = self._watching.timers.now()

    def check(self, now: float) -> None:
        """Ping the peer, or end the session, if that is due; see `Timed`."""
        session = self._session
        assert session is not None, "who is over is not checked"
        try:
            self._check(session, now)
        except Exception as error:  # out of a conduit of somebody else's
            logger.failure(error, "a conduit has failed otherwise than conduits do")
            session.outbox.fail(
                SessionIoError(f"the conduit has failed: {text_of(error)}")
            )

    def _check(self, session: Watched, now: float) -> None:
        assert session.connections is not None, "it is set up"
        is_working = session.connections.is_working
        received = session.rx.statistics()
        before, self._moving = self._moving, _moving(received, session.tx.statistics())
        if received.payloads != self.messages:
            self.messages = received.payloads
            self._asked_at = None
            self._heard_at = now
            self._active_at = math.inf if is_working else now
        elif _is_progress(before, self._moving):
            # The Ping, or its Pong, may have to wait behind a long payload.
            if self._asked_at is not None:
                self._asked_at = now
            self._heard_at = now
            self._active_at = math.inf if is_working else now
        elif is_working:
            self._active_at = math.inf
        elif self._active_at == math.inf:
            self._active_at = now  # or a little earlier
        elif now >= self._active_at + self._watching.idle_seconds:
            session.outbox.fail(_idle_for(self._watching.idle_seconds))
            return
        config = self._watching.config
        is_expected = is_working or (config is not None and config.while_idle)
        if config is not None:
            self._keep_alive(session, config, now, is_expected=is_expected)
        self.due = self._next_check(now, is_expected=is_expected)

    def _keep_alive(
        self,
        session: Watched,
        config: SessionKeepaliveConfig,
        now: float,
        *,
        is_expected: bool,
    ) -> None:
        if self._asked_at is None:
            interval = config.ping_interval if is_expected else config.idle_interval
            if now >= self._heard_at + interval:
                # A Ping that finds no room counts too: a peer that does not read is
                # dead.
                self._nonce += 1
                self._asked_at = now
                session.outbox.push(Ping(ConnectionId.ROOT, self._nonce))
        elif not is_expected:
            # The time for the Pong begins when something is in flight again.
            self._asked_at = now
        elif now >= self._asked_at + config.pong_timeout:
            if session.outbox.doubt():
                self._asked_at = now  # another link may bring the answer
            else:
                session.outbox.fail(_dead_after(config.pong_timeout))

    def _next_check(self, now: float, *, is_expected: bool) -> float:
        """Return the time of the next check.

        Something may be in flight by then that is not now.
        """
        idle_seconds, config = self._watching.idle_seconds, self._watching.config
        due = math.inf
        if idle_seconds < math.inf:
            due = min(self._active_at + idle_seconds, now + idle_seconds / _IDLE_CHECKS)
        if config is None:
            return due
        if self._asked_at is not None and is_expected:
            due = min(due, self._asked_at + config.pong_timeout)
        elif self._asked_at is None and not is_expected:
            due = min(due, self._heard_at + config.idle_interval)
        ping_at = self._heard_at + config.ping_interval
        return min(due, ping_at if ping_at > now else now + config.ping_interval)

    def __repr__(self) -> str:
        asked = "no Ping" if self._asked_at is None else f"Ping {self._nonce}"
        return f"<Keepalive: {asked} unanswered, due at {self.due}>"


def _dead_after(seconds: float) -> SessionIoError:
    return SessionIoError(
        f"the peer is taken for dead: it has not answered a Ping for {seconds} s "
        "(keepalive: pong_timeout)"
    )


def _idle_for(seconds: float) -> LimitExceeded:
    told = f"nothing was in flight, and no message came, for {seconds} s"
    return LimitExceeded("idle_seconds", told)
