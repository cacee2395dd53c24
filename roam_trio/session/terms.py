"""The terms of a session, which apply to all of its connections."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, get_args

import attrs
import trio

from ..legible import legible
from ..limits import DEFAULT_LIMITS, Limits
from ..log_budget import begin_log_budget_of_session
from ..logs import forget_peer, note_peer
from ..metadata import NO_METADATA, Metadata, MetadataEntry, MetadataFlags
from ..peers import Peer
from ..quantities import check_count, check_seconds
from ..rpc.connection import AnySession, Connection
from ..rpc.failure_metadata import FailurePolicy, TellFailures
from ..rpc.limits_here import CURRENT_TERMS
from ..rpc.observer import Observer
from .bounds import Bounds
from .budgets import Budget
from .futile import Futile, FutileMessages

__all__ = [
    "CANCEL_GRACE",
    "LONGEST_POLL",
    "SessionTerms",
    "bounds_of",
    "check_busy_poll",
    "check_cancel_grace",
    "check_max_waiting",
    "check_tell_failures",
    "current_terms",
    "in_session",
    "said_in_handshake",
    "taken_from_handshake",
]

CANCEL_GRACE: Final = 1.0
"""Number of seconds that a cancelled call waits for the response, unless given."""

LONGEST_POLL: Final = 0.001
"""Number of seconds for which one look at a socket may hold up all other tasks."""

_EXTENSIONS: Final = "roam-trio"
_VERSION: Final = 1
_SAID: Final = MetadataEntry(_EXTENSIONS, _VERSION, MetadataFlags.NO_PROPAGATE.value)


_BY_DEFAULT: Final = Bounds.of_session(DEFAULT_LIMITS)


def bounds_of(limits: Limits) -> Bounds:
    """Return the bounds of a session; one object for all with the default limits."""
    return _BY_DEFAULT if limits is DEFAULT_LIMITS else Bounds.of_session(limits)


def _no_session() -> None:
    return None


def _no_handle(run: object) -> Connection:
    raise LookupError("there are no handles of connections without a session")


def _budget_of_limits(terms: SessionTerms) -> Budget:
    return Budget(bounds_of(terms.limits))


@attrs.define(kw_only=True, eq=False)
class SessionTerms:
    """The terms of a session, which all of its parts may read.

    There is one object for each session. It outlives the session, and refers to nothing
    that refers to the session.

    Attributes:
        limits: bounds on what the peer can make this side hold.
        strict: also refuse what peers of other implementations are known to do.
        peer: the peer; the conduit keeps its address current.
        observer: is told of events of the session.
        handle_of: returns a handle of a connection, of which it gets the
            `ConnectionRun`. The handle does not keep the connection alive.
        session: returns the session, or None if it is not set up yet, or if no
            references to it are left.
        deadlines: True if calls tell the peer how much time is left, and the handshake
            says that this side knows what roam_trio adds to the protocol.
        cancel_grace: number of seconds for which a cancelled call waits for the other
            side to stop; 0 means that it does not wait.
        max_waiting: number of calls that may wait for the peer to take them; None for
            any number.
        failure_policy: amount of information about failures of handlers for the
            caller; None if the peer has not said that it knows what roam_trio adds.
        kept_failures: exceptions of handlers in this process; see
            `Caller.kept_failures`.
        schemas: whether the schema of a service is sent to a peer that expects another.
        budget: counts what the peer makes this side hold.
        now: returns the time, in seconds.
    """

    limits: Limits
    strict: bool = False
    peer: Peer
    observer: Observer | None = None
    handle_of: Callable[[Any], Connection] = _no_handle
    session: Callable[[], AnySession | None] = _no_session
    deadlines: bool = True
    cancel_grace: float = CANCEL_GRACE
    max_waiting: int | None = None
    failure_policy: FailurePolicy | None = None
    kept_failures: Mapping[str, BaseException] | None = None
    schemas: bool = True
    budget: Budget = attrs.field(
        default=attrs.Factory(_budget_of_limits, takes_self=True)
    )
    now: Callable[[], float] = trio.current_time
    _futile: FutileMessages | None = attrs.field(default=None, init=False)

    def count_futile(self, kind: Futile, sent: int = 0) -> None:
        """Count a message of the peer's that brings no work.

        Args:
            kind: its kind.
            sent: see `FutileMessages.count`.

        Raises:
            LimitExceeded: too many of its kind have come.
        """
        self._futile_messages.count(kind, sent)

    def excuse_strays(self, number: int) -> None:
        """Do not count so many messages for what is not open: the peer may have sent
        them before it learns that this side has ended a channel or a connection."""
        self._futile_messages.excuse(number)

    @property
    def _futile_messages(self) -> FutileMessages:
        if self._futile is None:  # most sessions need none
            self._futile = FutileMessages(self.limits, self.now)
        return self._futile

    @property
    def peer_knows(self) -> bool:
        """True if the peer has said that it knows what roam_trio adds."""
        return self.failure_policy is not None

    def agree(self, *, peer_knows: bool) -> None:
        """Apply the result of the handshake.

        Args:
            peer_knows: True if the peer has said that it knows what roam_trio adds.
        """
        if not peer_knows:
            self.failure_policy = None


def check_busy_poll(
    instance: object, attribute: attrs.Attribute[float | None], value: float | None
) -> None:
    """Check a ``busy_poll=``; a validator of attrs.

    Raises:
        ValueError: it is not above 0, or above `LONGEST_POLL`.
        TypeError: it is not a number.
    """
    if value is not None:  # as it mostly is
        check_seconds("busy_poll", value)
        if value > LONGEST_POLL:
            raise ValueError(
                f"busy_poll: expected at most {LONGEST_POLL} seconds, since nothing "
                f"else runs meanwhile, got {value!r}"
            )


def check_cancel_grace(
    instance: object, attribute: attrs.Attribute[float], value: float
) -> None:
    """Check a ``cancel_grace=``; a validator of attrs.

    Raises:
        ValueError: it is negative or infinite.
        TypeError: it is not a number.
    """
    if value is not CANCEL_GRACE:  # as it mostly is
        check_seconds("cancel_grace", value, may_be_zero=True)


def check_max_waiting(
    instance: object, attribute: attrs.Attribute[int], value: int
) -> None:
    """Check a ``max_waiting=``; a validator of attrs.

    Raises:
        ValueError: it is negative or not whole.
        TypeError: it is not a number.
    """
    if value != 0:
        check_count("max_waiting", value)


def check_tell_failures(
    instance: object, attribute: attrs.Attribute[TellFailures], value: TellFailures
) -> None:
    """Check a ``tell_failures=``; a validator of attrs.

    Raises:
        ValueError: it is none of its words.
    """
    if value == "code":  # as it mostly is
        return
    words = get_args(TellFailures)
    if value not in words:
        expected = ", ".join(map(repr, words))
        raise ValueError(
            f"tell_failures: expected one of {expected}, got {legible(repr(value))}"
        )


class in_session:
    """Make the terms of a session known to a block, and to tasks that it starts.

    Their log records name the address of the peer, and count against the budget of the
    session.

    Args:
        terms: the terms.
    """

    __slots__ = ("_before", "_budget", "_noted", "_terms")

    def __init__(self, terms: SessionTerms) -> None:
        self._terms = terms

    def __enter__(self) -> None:
        self._budget = begin_log_budget_of_session(self._terms.limits)
        self._noted = note_peer(self._terms.peer)
        self._before = CURRENT_TERMS.set(self._terms)

    def __exit__(self, *args: object) -> None:
        CURRENT_TERMS.reset(self._before)
        forget_peer(self._noted)
        self._budget.__exit__()


def current_terms() -> SessionTerms | None:
    """Return the terms of the session to which the current task belongs; else None."""
    terms: SessionTerms | None = CURRENT_TERMS.get(None)
    return terms


def said_in_handshake(metadata: Metadata) -> Metadata:
    """Return the metadata of a handshake, which also says that this side knows what
    roam_trio adds to the protocol."""
    return Metadata((*metadata, _SAID))


def taken_from_handshake(metadata: Metadata) -> tuple[Metadata, bool]:
    """Return the metadata of the peer's handshake without what roam_trio has put into
    it, and whether the peer knows what roam_trio adds."""
    version = metadata.get(_EXTENSIONS)
    if version is None:
        return metadata, False
    # One object for all sessions without other metadata, as most are.
    rest = Metadata(e for e in metadata if e.key != _EXTENSIONS) or NO_METADATA
    return rest, isinstance(version, int) and version >= _VERSION
