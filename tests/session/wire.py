"""A link between two sessions that delivers when told to, and can be cut.

It watches what passes: that numbers are of the right half and never used twice, that
every request gets one response, that nothing is sent on a connection before its accept
or after its close, and that nobody reports a protocol error.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Coroutine
from typing import Any, ClassVar

import attrs
import trio

from roam_trio.errors import LinkError
from roam_trio.links.base import Link
from roam_trio.links.memory import memory_link_pair
from roam_trio.session.session_end import ALL_IS_ANSWERED
from roam_trio.wire.envelope import decode_message
from roam_trio.wire.ids import Parity
from roam_trio.wire.messages import (
    ChannelClose,
    ChannelGrantCredit,
    ChannelItem,
    ChannelMessage,
    ChannelReset,
    ConnectionAccept,
    ConnectionClose,
    ConnectionOpen,
    ConnectionReject,
    ConnectionSettings,
    Hello,
    HelloYourself,
    Message,
    ProtocolError,
    RequestCall,
    RequestCancel,
    RequestResponse,
)

__all__ = ["LEFT", "RIGHT", "Wire"]

LEFT, RIGHT = 0, 1
"""The two sides; the session at the left is the initiator, and odd."""


class Wire:
    """The link, and the watch on it.

    Args:
        buffer: how many payloads go into either half of either direction.

    Attributes:
        links: the left end and the right end.
        watch: what has passed.
    """

    def __init__(self, buffer: int) -> None:
        left, near_left = memory_link_pair(buffer)
        right, near_right = memory_link_pair(buffer)
        self.links: tuple[Link, Link] = (left, right)
        self.watch = Watch()
        self._ends = (near_left.split(), near_right.split())
        self._is_cut = False

    def deliver(self, side: int, count: int) -> int:
        """Carry up to so many payloads from `side` to the other, and the end after the
        last one; how many there were."""
        receiving, sending = self._ends[side][1], self._ends[1 - side][0]
        for carried in range(count):
            if self._is_cut or not sending.has_room():
                return carried
            try:
                payload = receiving.recv_nowait()
            except trio.WouldBlock:
                return carried
            if payload is None:
                _at_once(sending.abort())
                return carried
            self.watch.see(side, decode_message(payload))
            with contextlib.suppress(LinkError):  # that side has ended already
                sending.send_nowait([payload])
        return count

    def cut(self) -> None:
        """Lose what is under way, and end both directions."""
        self._is_cut = True
        for sending, receiving in self._ends:
            _at_once(sending.abort())
            _at_once(receiving.close())


def _at_once(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run what does not wait."""
    with contextlib.suppress(StopIteration):
        coroutine.send(None)
        raise AssertionError(f"{coroutine!r} was not to wait")


@attrs.define
class _Connection:
    """What has passed of one connection.

    Attributes:
        opener: the side that has asked for it.
        settings: what either side has told; None until it has.
        closed: whether either side has closed it.
        requests: who has made each request that has no response yet.
        used: the numbers of all requests there have been, and of all channels.
    """

    opener: int
    settings: list[ConnectionSettings | None] = attrs.Factory(lambda: [None, None])
    is_rejected: bool = False
    closed: list[bool] = attrs.Factory(lambda: [False, False])
    requests: dict[int, int] = attrs.Factory(dict[int, int])
    used: tuple[set[int], set[int]] = attrs.Factory(lambda: (set(), set()))

    def use(self, side: int, kind: int, number: int) -> None:
        """A number is used for the first time."""
        settings = self.settings[side]
        assert settings is not None
        assert settings.parity.owns(number), "a number of the other half"
        assert number not in self.used[kind], "a number used twice"
        self.used[kind].add(number)


class Watch:
    """Checks the messages of both directions, in the order of their delivery."""

    def __init__(self) -> None:
        self._connections = {0: _Connection(LEFT)}

    def see(self, side: int, message: Message) -> None:
        """A message leaves `side`."""
        check = self._CHECKS.get(type(message))
        if check is not None:
            check(self, side, message)

    def is_closed(self, connection_id: int) -> bool:
        """Return True if a close of this connection has passed."""
        connection = self._connections.get(connection_id)
        return connection is not None and any(connection.closed)

    def unanswered(self, connection_id: int) -> dict[int, int]:
        """The requests of a connection without a response, and who made them."""
        return self._connections[connection_id].requests

    def _on_hello(self, side: int, message: Hello | HelloYourself) -> None:
        self._connections[0].settings[side] = message.settings

    def _on_protocol_error(self, side: int, message: ProtocolError) -> None:
        # A side that shuts the session down with a grace says so.
        assert message == ALL_IS_ANSWERED, f"{side} reports: {message.description}"

    def _on_open(self, side: int, message: ConnectionOpen) -> None:
        connection_id = message.connection_id
        assert (Parity.ODD, Parity.EVEN)[side].owns(connection_id)
        assert connection_id not in self._connections, "opened twice"
        connection = self._connections[connection_id] = _Connection(side)
        connection.settings[side] = message.settings

    def _on_accept(self, side: int, message: ConnectionAccept) -> None:
        self._undecided(side, message).settings[side] = message.settings

    def _on_reject(self, side: int, message: ConnectionReject) -> None:
        self._undecided(side, message).is_rejected = True

    def _undecided(
        self, side: int, message: ConnectionAccept | ConnectionReject
    ) -> _Connection:
        connection = self._connections[message.connection_id]
        assert connection.opener == 1 - side, "accepted or rejected by its opener"
        assert not connection.is_rejected, "accepted or rejected after a rejection"
        assert connection.settings[side] is None, "accepted or rejected once more"
        return connection

    def _on_close(self, side: int, message: ConnectionClose) -> None:
        assert message.connection_id != 0, "the root, closed"
        connection = self._connections[message.connection_id]
        assert not connection.closed[side], "closed twice"
        assert side == connection.opener or connection.settings[side]
        connection.closed[side] = True

    def _open(self, side: int, message: Any) -> _Connection:
        connection = self._connections[message.connection_id]
        assert None not in connection.settings, f"{message} before the accept"
        assert not connection.closed[side], f"{message} after the close"
        return connection

    def _on_call(self, side: int, message: RequestCall) -> None:
        connection = self._open(side, message)
        connection.use(side, 0, message.request_id)
        for channel_id in message.channels:
            connection.use(side, 1, channel_id)
        connection.requests[message.request_id] = side

    def _on_response(self, side: int, message: RequestResponse) -> None:
        connection = self._open(side, message)
        assert connection.requests.pop(message.request_id) == 1 - side

    def _on_cancel(self, side: int, message: RequestCancel) -> None:
        connection = self._open(side, message)
        assert message.request_id in connection.used[0]

    def _on_channel(self, side: int, message: ChannelMessage) -> None:
        connection = self._open(side, message)
        assert message.channel_id in connection.used[1]

    _CHECKS: ClassVar[dict[type[Message], Callable[..., None]]] = {
        Hello: _on_hello,
        HelloYourself: _on_hello,
        ProtocolError: _on_protocol_error,
        ConnectionOpen: _on_open,
        ConnectionAccept: _on_accept,
        ConnectionReject: _on_reject,
        ConnectionClose: _on_close,
        RequestCall: _on_call,
        RequestResponse: _on_response,
        RequestCancel: _on_cancel,
        ChannelItem: _on_channel,
        ChannelClose: _on_channel,
        ChannelReset: _on_channel,
        ChannelGrantCredit: _on_channel,
    }
