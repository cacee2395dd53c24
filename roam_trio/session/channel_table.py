"""The channels of one connection: one table of what each of them is, and what becomes
of a message that comes for it.

    announced  a call of the peer's has brought it, and no handler has bound it yet
    early      messages for it have come before it was bound: they are kept, within
               bounds. It may be announced too, or its call is only just coming
    bound      this side sends on it, or receives
    relayed    a proxy has joined it to a channel of another connection
    ended      remembered, within a bound: what still comes for it is dropped

Nothing here waits, and nothing needs a run of trio.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Protocol, TypeAlias

from ..errors import LimitExceeded, RemoteProtocolError
from ..limits import Limits
from ..wire.ids import ChannelId, Parity
from ..wire.messages import (
    ChannelClose,
    ChannelGrantCredit,
    ChannelItem,
    ChannelMessage,
    ChannelReset,
    joined,
)
from .budgets import CHANNEL_BYTES, Budget, EarlyMemory
from .held_messages import HeldMessages
from .statistics import ChannelStatistics

__all__ = [
    "ChannelTable",
    "Entry",
    "Event",
    "Phase",
    "ReceivingEnd",
    "Relay",
    "SendingEnd",
    "Step",
]


class Phase(enum.Enum):
    """Phases of a channel; see the module."""

    ANNOUNCED = "announced"
    EARLY = "early"
    BOUND = "bound"
    RELAYED = "relayed"
    ENDED = "ended"

    # That of `Enum` is Python code, and runs for every message a proxy relays.
    __hash__ = object.__hash__


class Event(enum.Enum):
    """Events that change the phase of a channel."""

    ANNOUNCE = "announced by a call of the peer's"
    KEEP = "sent a message that is kept"
    BIND = "bound"
    JOIN = "joined by a proxy"
    END = "ended"


_NEXT: Final[dict[tuple[Phase | None, Event], Phase]] = {
    (None, Event.ANNOUNCE): Phase.ANNOUNCED,
    (None, Event.KEEP): Phase.EARLY,
    (None, Event.BIND): Phase.BOUND,
    (None, Event.JOIN): Phase.RELAYED,
    (None, Event.END): Phase.ENDED,
    (Phase.ANNOUNCED, Event.KEEP): Phase.EARLY,
    (Phase.ANNOUNCED, Event.BIND): Phase.BOUND,
    (Phase.ANNOUNCED, Event.JOIN): Phase.RELAYED,
    (Phase.ANNOUNCED, Event.END): Phase.ENDED,
    (Phase.EARLY, Event.ANNOUNCE): Phase.EARLY,
    (Phase.EARLY, Event.KEEP): Phase.EARLY,
    (Phase.EARLY, Event.BIND): Phase.BOUND,
    (Phase.EARLY, Event.JOIN): Phase.RELAYED,
    (Phase.EARLY, Event.END): Phase.ENDED,
    (Phase.BOUND, Event.END): Phase.ENDED,
    (Phase.RELAYED, Event.END): Phase.ENDED,
    # An id is free again once its channel has ended.
    (Phase.ENDED, Event.ANNOUNCE): Phase.ANNOUNCED,
    # By a handler that takes up its channels after its response, or too late.
    (Phase.ENDED, Event.BIND): Phase.BOUND,
    (Phase.ENDED, Event.JOIN): Phase.RELAYED,
    # By both sides, or with its call and its connection.
    (Phase.ENDED, Event.END): Phase.ENDED,
}
"""All transitions. None is the phase of an unknown channel."""


class Step(enum.Enum):
    """Actions on a message for a channel."""

    DELIVER = "to the end that is bound"
    DELIVER_LAST = "to the end that is bound, and the channel has ended"
    RELAY = "to the proxy"
    KEEP = "until the channel is bound"
    DROP = "and count it"


_Steps: TypeAlias = dict[type[ChannelMessage], Step]

# In Python 3.11, looking a member up is a call; these are used for every message.
_KEEP, _DROP, _DELIVER_LAST = Step.KEEP, Step.DROP, Step.DELIVER_LAST

_KEEP_ALL: Final[_Steps] = {
    ChannelItem: Step.KEEP,
    ChannelGrantCredit: Step.KEEP,
    ChannelClose: Step.KEEP,
    ChannelReset: Step.KEEP,
}

_STEPS: Final[dict[Phase | None, _Steps]] = {
    # Credit is for what has been announced; all other is for one that has ended, and
    # been forgotten.
    None: {**_KEEP_ALL, ChannelGrantCredit: Step.DROP},
    Phase.ANNOUNCED: _KEEP_ALL,
    Phase.EARLY: _KEEP_ALL,
    Phase.RELAYED: dict.fromkeys(_KEEP_ALL, Step.RELAY),
    Phase.ENDED: dict.fromkeys(_KEEP_ALL, Step.DROP),
}

_STEPS_WHERE_THIS_SIDE_RECEIVES: Final[_Steps] = {
    ChannelItem: Step.DELIVER,
    ChannelGrantCredit: Step.DROP,
    ChannelClose: Step.DELIVER_LAST,
    ChannelReset: Step.DELIVER_LAST,
}

_STEPS_WHERE_THIS_SIDE_SENDS: Final[_Steps] = {
    ChannelItem: Step.DROP,
    ChannelGrantCredit: Step.DELIVER,
    ChannelClose: Step.DROP,
    ChannelReset: Step.DELIVER_LAST,
}


class _End(Protocol):
    @property
    def under_way(self) -> int:
        """Number of messages that the peer may still send before it learns that this
        side has ended the channel."""
        ...

    def on_reset(self) -> None:
        """Handle a reset by the other side."""
        ...

    def on_lost(self, because: BaseException) -> None:
        """Handle the end of the connection, or a failure of the call."""
        ...

    def statistics(self) -> ChannelStatistics:
        """Return what `Session.statistics` tells about it."""
        ...


class ReceivingEnd(_End, Protocol):
    """The end of a channel on which this side receives."""

    def on_item(self, item: bytes | memoryview) -> None:
        """Handle an item."""
        ...

    def on_items(self, items: Sequence[bytes | memoryview]) -> None:
        """Several items have come."""
        ...

    def on_close(self) -> None:
        """Handle a close by the sender."""
        ...


class SendingEnd(_End, Protocol):
    """The end of a channel on which this side sends."""

    def on_credit(self, additional: int) -> None:
        """Handle a grant of credit by the receiver."""
        ...


class Relay(Protocol):
    """Receives the messages of a channel that a proxy has joined to another."""

    def on_message(self, message: ChannelMessage) -> None:
        """Handle a message for the channel."""
        ...

    def on_answered(self) -> None:
        """Handle the end of the request that has brought the channel."""
        ...


class Entry:
    """One channel.

    Attributes:
        phase: what it is.
        incoming: where items go, if this side receives on it.
        outgoing: where credit goes, if this side sends on it.
        relay: where messages go, if it is relayed.
        kept: what came early, in order.
        is_brought: whether a call of the peer's has brought it.
    """

    __slots__ = ("incoming", "is_brought", "kept", "outgoing", "phase", "relay")

    def __init__(self, phase: Phase, *, is_brought: bool = False) -> None:
        self.phase = phase
        self.incoming: ReceivingEnd | None = None
        self.outgoing: SendingEnd | None = None
        self.relay: Relay | None = None
        self.kept: list[ChannelMessage] | None = None
        self.is_brought = is_brought


_ENDED = Entry(Phase.ENDED)  # one for all: many are remembered


class ChannelTable:
    """The channels of one connection.

    Args:
        limits: how much is kept, and for how many channels.
        strict: refuse items for channels that are not open, and channels that have not
            the parity of their caller.
        theirs: the parity of the peer.
        on_ended: called when a channel has ended.
        budget: counts the channels that calls of the peer have brought, and what comes
            early; None for no budget.
    """

    __slots__ = (
        "_brought",
        "_budget",
        "_ended",
        "_limits",
        "_on_ended",
        "_strict",
        "_theirs",
        "bound",
        "dropped",
        "entries",
        "held",
        "relayed",
    )

    def __init__(
        self,
        limits: Limits,
        theirs: Parity,
        on_ended: Callable[[], None],
        *,
        strict: bool = False,
        budget: Budget | None = None,
    ) -> None:
        self._limits = limits
        self._budget = budget
        self._strict = strict
        self._theirs = theirs
        self._on_ended = on_ended
        self.entries: dict[ChannelId, Entry] = {}
        """All of them. For `ConnectionRun`, which looks up where an item goes itself:
        a call less for each item."""
        self.held: HeldMessages | None = None
        """Counts the early messages; None before there was one."""
        self._ended: deque[ChannelId] | None = None  # in the order of their end
        self._brought = 0
        self.bound = 0
        """Number of channels on which this side sends or receives."""
        self.relayed = 0
        """Number of channels that proxies have joined."""
        self.dropped = 0
        """Number of messages that came too late, or against the direction."""

    @property
    def open(self) -> int:
        """Number of channels that are bound or relayed."""
        return self.bound + self.relayed

    @property
    def under_way(self) -> int:
        """Number of messages for bound channels that the peer may still send."""
        ends = (entry.incoming or entry.outgoing for entry in self.entries.values())
        return sum(end.under_way for end in ends if end is not None)

    # ------------------------------------------------------------ messages

    def decide(self, message: ChannelMessage) -> Step:
        """Return the action for a message, without performing it.

        Raises:
            RemoteProtocolError: it breaks a rule that this side enforces.
        """
        entry = self.entries.get(message.channel_id)
        if entry is None:
            steps = _STEPS[None]
        elif entry.incoming is not None:
            steps = _STEPS_WHERE_THIS_SIDE_RECEIVES
        elif entry.outgoing is not None:
            steps = _STEPS_WHERE_THIS_SIDE_SENDS
        else:
            steps = _STEPS[entry.phase]
        step = steps[type(message)]
        if self._strict and type(message) is ChannelItem:
            _check_item(message.channel_id, entry, step)
        return step

    def on_message(self, message: ChannelMessage) -> bool:
        """Deliver a message, keep it as early, or drop it as late.

        Returns:
            False if it was dropped.

        Raises:
            RemoteProtocolError: it breaks a rule that this side enforces.
            LimitExceeded: too much is kept already.
        """
        step = self.decide(message)
        if step is _KEEP:
            self._keep(message)
        elif step is _DROP:
            self.dropped += 1
            return False
        else:
            entry = self.entries[message.channel_id]
            if step is _DELIVER_LAST:  # an end may look whether others are open
                self.end(message.channel_id)
            _deliver(entry, message)
        return True

    def _keep(self, message: ChannelMessage) -> None:
        if self.held is None:
            memory = EarlyMemory(self._budget) if self._budget is not None else None
            why = "wait for channels that are not bound"
            self.held = HeldMessages(
                self._limits, "early_items", "early_bytes", why, memory
            )
        self.held.add(message)
        entry = self._change(message.channel_id, Event.KEEP)
        if entry.kept is None:
            entry.kept = []
        entry.kept.append(message)

    # ------------------------------------------------------------ phases

    def _change(self, channel_id: ChannelId, event: Event) -> Entry:
        """Move a channel to its next phase, and return its entry.

        Raises:
            RuntimeError: there is no such change, as `_NEXT` says.
        """
        entry = self.entries.get(channel_id)
        before = None if entry is None else entry.phase
        after = _NEXT.get((before, event))
        if after is None:
            what = "unknown" if before is None else before.value
            raise RuntimeError(
                f"channel {channel_id} is {what}: it cannot be {event.value}"
            )
        if after is Phase.ENDED:
            entry = self.entries[channel_id] = _ENDED
        elif entry is None or before is Phase.ENDED:
            entry = self.entries[channel_id] = Entry(after)
        else:
            entry.phase = after
        return entry

    def announce(self, channels: tuple[ChannelId, ...]) -> None:
        """Announce the channels of a call of the peer.

        Raises:
            RemoteProtocolError: one of them is open already.
            LimitExceeded: they are too many, or too large for the budget.
        """
        if self._brought + len(channels) > self._limits.channels:
            raise LimitExceeded("channels", "too many channels on one connection")
        for channel_id in channels:
            entry = self.entries.get(channel_id)
            if entry is not None and (
                entry.is_brought or (entry.phase, Event.ANNOUNCE) not in _NEXT
            ):
                raise RemoteProtocolError(
                    f"channel {channel_id} is open, and its id was used again"
                )
            if self._strict and not self._theirs.owns(channel_id):
                raise RemoteProtocolError(
                    f"channel {channel_id} has not the parity of its caller"
                )
            if self._budget is not None:
                self._budget.hold(CHANNEL_BYTES)
            self._change(channel_id, Event.ANNOUNCE).is_brought = True
            self._brought += 1

    def bind_incoming(self, channel_id: ChannelId, end: ReceivingEnd) -> None:
        """Bind a channel on which this side receives; `end` gets early messages, in
        order.

        Raises:
            RuntimeError: the channel is bound already, or relayed.
            RemoteProtocolError: what came early breaks a rule.
        """
        entry = self._change(channel_id, Event.BIND)
        entry.incoming = end
        self.bound += 1
        self._replay(entry)

    def bind_outgoing(self, channel_id: ChannelId, end: SendingEnd) -> None:
        """Bind a channel on which this side sends; otherwise as `bind_incoming`."""
        entry = self._change(channel_id, Event.BIND)
        entry.outgoing = end
        self.bound += 1
        self._replay(entry)

    def join(self, channel_id: ChannelId, relay: Relay) -> None:
        """Join a channel to another for a proxy; `relay` gets its messages.

        Raises:
            RuntimeError: the channel is bound, or relayed already.
        """
        entry = self._change(channel_id, Event.JOIN)
        entry.relay = relay
        self.relayed += 1
        self._replay(entry)

    def _replay(self, entry: Entry) -> None:
        for message in self._take(entry):
            self.on_message(message)

    def _take(self, entry: Entry) -> list[ChannelMessage]:
        """Return the early messages, and keep them no longer."""
        kept, entry.kept = entry.kept, None
        if kept is None:
            return []
        assert self.held is not None, "whatever is kept has been counted"
        for message in kept:
            self.held.remove(message)
        return kept

    # ------------------------------------------------------------ ends

    def end(self, channel_id: ChannelId) -> None:
        """End a channel: later messages for it are dropped."""
        self._end(channel_id)
        self._on_ended()

    def _end(self, channel_id: ChannelId) -> None:
        entry = self.entries.get(channel_id)
        self._change(channel_id, Event.END)
        if entry is _ENDED:
            return
        if entry is not None:
            self.bound -= entry.phase is Phase.BOUND
            self.relayed -= entry.phase is Phase.RELAYED
            if entry.is_brought:
                self._brought -= 1
                if self._budget is not None:
                    self._budget.give(CHANNEL_BYTES)
            self._take(entry)
        self._remember(channel_id)

    def _remember(self, channel_id: ChannelId) -> None:
        """Remember the end of a channel, and forget that of the oldest if need be."""
        if self._ended is None:
            self._ended = deque()
        self._ended.append(channel_id)
        if len(self._ended) > self._limits.channels:
            oldest = self._ended.popleft()
            if self.entries.get(oldest) is _ENDED:
                del self.entries[oldest]

    def answered(self, channels: Iterable[ChannelId]) -> None:
        """End the channels of an answered call that no handler has bound."""
        for channel_id in channels:
            entry = self.entries.get(channel_id)
            if entry is None or entry.phase in (Phase.ANNOUNCED, Phase.EARLY):
                self._end(channel_id)
            elif entry.relay is not None:
                entry.relay.on_answered()

    def lose(self, channels: Iterable[ChannelId], because: BaseException) -> None:
        """End channels of a call that no handler of the peer will bind."""
        for channel_id in channels:
            entry = self.entries.get(channel_id)
            self.end(channel_id)
            if entry is not None:
                end = entry.outgoing or entry.incoming
                if end is not None:
                    end.on_lost(because)

    def stop_relaying(self, channel_id: ChannelId) -> None:
        """Stop relaying a channel. Has no effect if it is not relayed."""
        if self.is_relayed(channel_id):
            self.end(channel_id)

    def is_relayed(self, channel_id: ChannelId) -> bool:
        """Return True if the channel is joined to one of another connection's."""
        entry = self.entries.get(channel_id)
        return entry is not None and entry.relay is not None

    def relayed_ids(self) -> list[ChannelId]:
        """Return the ids of the channels that proxies have joined."""
        return [number for number in self.entries if self.is_relayed(number)]

    def close(self, because: BaseException) -> None:
        """End all channels with the connection, and forget them."""
        self._on_ended = _do_nothing
        entries = tuple(self.entries.values())
        self.entries = {}
        for entry in entries:
            if entry.outgoing is not None:
                entry.outgoing.on_lost(because)
        for entry in entries:
            if entry.incoming is not None:
                entry.incoming.on_lost(because)
        for entry in entries:
            if entry.relay is not None:
                entry.relay.on_answered()
        if self.held is not None:
            self.held.clear()
        if self._budget is not None:
            self._budget.give(self._brought * CHANNEL_BYTES)
        self._ended = self.held = None
        self.bound = self.relayed = self._brought = 0

    def statistics(self) -> tuple[ChannelStatistics, ...]:
        """Return what is open: first where this side sends, then where it receives."""
        entries = self.entries.values()
        outgoing = [entry.outgoing for entry in entries if entry.outgoing is not None]
        incoming = [entry.incoming for entry in entries if entry.incoming is not None]
        relayed = self.relayed_ids()
        return (
            *(end.statistics() for end in outgoing),
            *(end.statistics() for end in incoming),
            *(ChannelStatistics(number, "proxied", None, 0) for number in relayed),
        )

    def __repr__(self) -> str:
        return f"<ChannelTable: {self.bound} bound, {self.relayed} proxied>"


def _check_item(channel_id: ChannelId, entry: Entry | None, step: Step) -> None:
    """Refuse an item that no call of the peer's has a channel for."""
    if step is Step.KEEP and not (entry is not None and entry.is_brought):
        raise RemoteProtocolError(
            f"channel {channel_id}: an item came, and it is not open"
        )
    if entry is not None and entry.outgoing is not None:
        raise RemoteProtocolError(
            f"channel {channel_id}: an item came, and this side sends on it"
        )


def _deliver(entry: Entry, message: ChannelMessage) -> None:
    """Hand a message to what is bound, which it concerns."""
    if entry.relay is not None:
        entry.relay.on_message(message)
    elif entry.incoming is not None:
        if isinstance(message, ChannelItem):
            entry.incoming.on_item(joined(message.item))
        elif isinstance(message, ChannelClose):
            entry.incoming.on_close()
        else:
            entry.incoming.on_reset()
    elif entry.outgoing is not None:
        if isinstance(message, ChannelGrantCredit):
            entry.outgoing.on_credit(message.additional)
        else:
            entry.outgoing.on_reset()


def _do_nothing() -> None:
    pass
