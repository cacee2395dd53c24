"""The run of one connection: what its messages do, and its end.

The session's reader hands it every message of its connection, synchronously, and no
method that does so waits. What the peer may do, and what becomes of a message, is
decided in three tables: `requests_in`, `requests_out` and `channel_table`. A message
that breaks the protocol raises `SessionProtocolError`, and the session ends.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, ClassVar

import trio

from ..errors import Overloaded, Unavailable
from ..logs import Log
from ..metadata import NO_METADATA, Metadata
from ..rpc.binding import ChannelBinder
from ..rpc.connection import Connection
from ..rpc.handler import Handler, NoService
from ..rpc.method_names import method_name
from ..running import check_run
from ..wire.ids import ConnectionId
from ..wire.messages import (
    ChannelClose,
    ChannelGrantCredit,
    ChannelItem,
    ChannelMessage,
    ChannelReset,
    ConnectionSettings,
    Message,
    RequestCall,
    RequestCancel,
    RequestResponse,
    joined,
)
from ..wire.runs import ItemRun
from .binder import ConnectionBinder
from .budgets import CONNECTION_BYTES
from .channel_table import ChannelTable
from .connection_tasks import ConnectionTasks
from .futile import Futile
from .held_messages import LIGHT_METADATA, payload_behind, weight_of
from .liveness import Liveness
from .port import Port, SessionPort
from .reply import AnswerState, DriverReplySink, told
from .requests import Requests
from .requests_in import RequestsIn, Verdict
from .requests_out import RequestsOut
from .statistics import ConnectionStatistics
from .workers import discard

__all__ = ["ON_MESSAGE", "ConnectionRun", "memory_of_connection"]


logger = Log("roam_trio.session")


class ConnectionRun:
    """Runs one connection.

    Args:
        connection_id: which one it is.
        ours: the settings this side has told the peer.
        theirs: the settings the peer has told this side.
        session: what it shares with the other connections of its session.
        handler: answers the peer's requests; without one, every method is unknown.
        peer_metadata: what the peer has sent along when the connection was set up.
    """

    sink_class: ClassVar[type[DriverReplySink]] = DriverReplySink
    """The class of what sends the responses."""

    # There may be very many: a dict for each would be larger than all it holds.
    __slots__ = (
        "__weakref__",
        "_closed",
        "_liveness",
        "_session",
        "_tasks",
        "_workers",
        "answering",
        "binder",
        "channels",
        "handler",
        "ours",
        "port",
        "requests",
        "theirs",
    )

    def __init__(
        self,
        connection_id: ConnectionId,
        ours: ConnectionSettings,
        theirs: ConnectionSettings,
        session: SessionPort,
        handler: Handler | None,
        peer_metadata: Metadata = NO_METADATA,
    ) -> None:
        self.ours = ours
        self.theirs = theirs
        self.handler = handler or _NO_SERVICE
        self._session: SessionPort | None = session
        self._workers = session.workers
        self._liveness = Liveness()
        limits, strict = session.terms.limits, session.terms.strict
        self.port = Port(connection_id, session, peer_metadata)
        self._tasks: ConnectionTasks | None = None
        on_ended = self._on_ended
        self.channels = ChannelTable(
            limits,
            theirs.parity,
            on_ended,
            strict=strict,
            budget=session.terms.budget,
        )
        self.binder: ChannelBinder = ConnectionBinder(
            self.port, self.channels, ours.parity
        )
        """Makes the channels of this connection."""
        most = ours.max_concurrent_requests
        self.answering = RequestsIn(most, limits, theirs.parity, strict=strict)
        make_requests = session.make_requests or Requests
        self.requests: Requests = make_requests(
            self.port,
            RequestsOut(connection_id, ours.parity, theirs.max_concurrent_requests),
            self.channels,
            self.binder,
            on_ended,
        )
        self._closed: trio.Event | None = None
        memory = memory_of_connection(connection_id, peer_metadata)
        if memory:  # not for most roots, so that sessions at rest count nothing
            session.terms.budget.note(memory)

    @property
    def tasks(self) -> ConnectionTasks:
        """Its tasks that are not handlers; few connections have any."""
        if self._tasks is None:
            self._tasks = ConnectionTasks(self.port, self._workers)
        return self._tasks

    # ------------------------------------------------------------ messages

    def on_call(self, call: RequestCall) -> None:
        """Handle a request of the peer: start to answer it."""
        if self._tasks is not None and self._tasks.are_over:
            return  # the connection is being cancelled
        answering = self.answering
        verdict = answering.admit(call)
        if call.channels:
            self.channels.announce(call.channels)
        sink = self.sink_class(self.port, self.binder, call, self)
        answering.in_flight[call.request_id] = sink
        if verdict is _REFUSE:
            name = method_name(call.method_id)
            logger.info(
                "connection %d: refused a call of %s: %s",
                self.port.connection_id,
                name,
                answering.refusing,
                method=name,
                connection=self.port.connection_id,
            )
            sink.give_up(Unavailable(text=answering.refusing or "", was_begun=False))
            return
        failure = coroutine = None
        try:
            coroutine = self.handler.handle(call, sink)
        except BaseException as error:  # and nothing holds its channels from here on
            if isinstance(error, Overloaded) and error.was_begun is False:
                sink.refuse(error)
                return
            sink.memory.let_go()
            failure = sink.failure_of(error)
            logger.failure(
                error,
                "a handler failed before its request was taken up%s",
                told(failure),
                method=method_name(call.method_id),
                connection=self.port.connection_id,
                error_id=None if failure is None else failure.id,
            )
        if coroutine is None:
            if sink.state is not _SENT:  # as it most often is
                sink.give_up(failure)
        elif call.metadata or type(call.args) is memoryview:
            self._start_large(sink, coroutine)
        else:
            self._workers.start(sink, coroutine)

    def _start_large(
        self, sink: DriverReplySink, coroutine: Coroutine[Any, Any, None]
    ) -> None:
        """Start a handler; its request, which may be large, lives as long as it."""
        call = sink.call
        try:
            if call.metadata:
                weight = weight_of(call.metadata)
                if weight > LIGHT_METADATA:
                    sink.memory.hold_metadata(weight)
            if type(call.args) is memoryview:
                sink.memory.hold(payload_behind(call.args))
        except Overloaded as refusal:
            discard(coroutine)  # before the response, so that its channels end first
            sink.refuse(refusal)
        else:
            self._workers.start(sink, coroutine)

    def on_response(self, response: RequestResponse) -> None:
        """Handle the response to a request of this side."""
        self.requests.on_response(response)

    def on_cancel(self, cancel: RequestCancel) -> None:
        """Handle a Cancel of the peer, which no longer wants a response."""
        if not self.answering.cancel(cancel.request_id):
            self.port.terms.count_futile(Futile.CANCEL, self.port.outbox.sent)

    def on_item(self, message: ChannelItem) -> None:
        """Handle an item for a channel on which this side receives."""
        # As `ChannelTable.on_message` does for any message, and two calls less.
        entry = self.channels.entries.get(message.channel_id)
        if entry is None or (incoming := entry.incoming) is None:
            self.on_channel_message(message)
        else:
            item = message.item
            incoming.on_item(joined(item) if isinstance(item, list) else item)

    def on_items(self, run: ItemRun) -> None:
        """Several items for one channel."""
        entry = self.channels.entries.get(run.channel_id)
        if entry is not None and entry.incoming is not None:
            entry.incoming.on_items(run.items)
            return
        for message in run:
            self.on_channel_message(message)

    def on_channel_message(self, message: ChannelMessage) -> None:
        """Handle any other message for a channel."""
        if not self.channels.on_message(message):
            self.port.terms.count_futile(Futile.STRAY)

    # ------------------------------------------------------------ use

    def hold(self) -> None:
        """Add a caller of the connection."""
        self._liveness.hold()

    def release(self) -> None:
        """Remove a caller of the connection."""
        self._liveness.release()
        self._check_use()

    def _check_use(self) -> None:
        """Report the connection as unused if it is."""
        if self._session is not None and self._liveness.has_become_unused(
            self.channels.bound
        ):
            self._session.owner.on_unused(self.port.connection_id)

    def on_answered(self, call: RequestCall) -> None:
        """Note that a request of the peer has its response."""
        answering = self.answering
        if type(call.args) is memoryview:
            answering.answered(call)
        else:  # as `answered` does, and a call less
            answering.in_flight.pop(call.request_id, None)
        if call.channels:
            self.channels.answered(call.channels)
        if answering.refusing is not None:
            self._check_quiet()

    def _on_ended(self) -> None:
        """Handle the end of a channel or of a request of this side."""
        self._check_use()
        if self.answering.refusing is not None:
            self._check_quiet()

    def refuse(self, because: str) -> None:
        """Answer new requests of the peer's with Cancelled, and make no new ones."""
        self.answering.refusing = self.requests.table.refusing = because

    @property
    def is_quiet(self) -> bool:
        """True if no call is in flight in either direction, and no channel is open."""
        return not (
            self.answering.in_flight
            or not self.requests.table.is_idle
            or self.channels.open
        )

    def _check_quiet(self) -> None:
        if self._session is not None and self.is_quiet:
            self._session.owner.on_quiet()

    def reset_relayed(self) -> None:
        """Reset the channels that a proxy has joined to others, which are gone."""
        port = self.port
        for channel_id in self.channels.relayed_ids():
            self.channels.stop_relaying(channel_id)
            port.outbox.push(ChannelReset(port.connection_id, channel_id))

    @property
    def under_way(self) -> int:
        """Number of messages that the peer may still send before it learns that this
        side has closed the connection."""
        calls = min(self.ours.max_concurrent_requests, self.port.limits.futile_messages)
        responses = len(self.requests.table.in_flight)
        return 2 * calls + responses + self.channels.under_way  # with their Cancels

    @property
    def handle(self) -> Connection:
        """A handle of this connection that does not keep it alive."""
        return self.port.terms.handle_of(self)

    # ------------------------------------------------------------ the end

    def close(self, metadata: Metadata) -> None:
        """Close a virtual connection; harmless if it has ended."""
        if self._session is not None:
            self._session.owner.close(self.port.connection_id, metadata)

    def end(self, because: BaseException) -> None:
        """End the connection: fail its calls and channels at once."""
        if self.port.ended_because is not None:
            return
        port = self.port
        port.end(because)
        memory = memory_of_connection(port.connection_id, port.peer_metadata)
        if memory:
            port.terms.budget.give(memory)
        # Handlers first: one whose caller is gone ends cancelled, wherever it waits,
        # and does not fail with the loss of what it waits for.
        self.answering.lose()
        self._workers.stop(self.port)
        if self._closed is not None:
            self._closed.set()
        self.requests.end(because)
        self.channels.close(because)
        port.settle()
        if self._tasks is not None:
            self._tasks.cancel()
        # Drop the references to the connection, so that the last user frees it at once,
        # without the garbage collector.
        self._session = None
        self.handler = _NO_SERVICE

    async def closed(self) -> None:
        """Wait until the connection has ended."""
        if self.port.ended_because is None:
            check_run(self.port.token, "this connection")
        if self._closed is None:
            self._closed = trio.Event()
            if self.port.ended_because is not None:
                self._closed.set()
        await self._closed.wait()

    def statistics(self) -> ConnectionStatistics:
        """Return what is in flight and open on the connection now."""
        now = self.port.now()
        return ConnectionStatistics(
            self.port.connection_id,
            self._liveness.callers,
            self.requests.table.statistics(now),
            self.answering.statistics(now),
            self.channels.statistics(),
            self.port.waits.statistics(self.port.connection_id),
        )

    def __repr__(self) -> str:
        return (
            f"<ConnectionRun {self.port.connection_id}: "
            f"{len(self.answering)} answering, "
            f"{len(self.requests.table.in_flight)} calling, "
            f"{self.channels.open} channels>"
        )


def memory_of_connection(connection_id: ConnectionId, metadata: Metadata) -> int:
    """Return the memory of a connection that the peer has opened, in bytes.

    A root without metadata counts nothing.
    """
    return (CONNECTION_BYTES if connection_id else 0) + weight_of(metadata)


_NO_SERVICE = NoService()

_REFUSE, _SENT = Verdict.REFUSE, AnswerState.SENT  # not looked up for every call


ON_MESSAGE: dict[type[Message], Callable[[ConnectionRun, Any], None]] = {
    RequestCall: ConnectionRun.on_call,
    RequestResponse: ConnectionRun.on_response,
    RequestCancel: ConnectionRun.on_cancel,
    ChannelItem: ConnectionRun.on_item,
    ChannelGrantCredit: ConnectionRun.on_channel_message,
    ChannelClose: ConnectionRun.on_channel_message,
    ChannelReset: ConnectionRun.on_channel_message,
}
"""Methods of a connection for the messages that are its own."""
