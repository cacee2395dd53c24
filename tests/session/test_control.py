"""Ping, Pong and ProtocolError, and messages that are out of place; without a run."""

from __future__ import annotations

import pytest

from roam_trio import Limits, Peer
from roam_trio.errors import (
    LimitExceeded,
    LocalProtocolError,
    Overloaded,
    RemoteProtocolError,
)
from roam_trio.session.control import Control
from roam_trio.session.terms import SessionTerms
from roam_trio.wire.ids import Parity
from roam_trio.wire.messages import (
    ConnectionSettings,
    Hello,
    HelloYourself,
    Message,
    Ping,
    Pong,
    ProtocolError,
)

SETTINGS = ConnectionSettings(Parity.ODD, 64)


class Sent(list[Message]):
    """An outbox that keeps what it gets."""

    def push(self, message: Message) -> None:
        self.append(message)

    @property
    def sent(self) -> int:
        return len(self)


class Watch:
    """What watches the session, and what it is told."""

    def __init__(self) -> None:
        self.messages = 0
        self.nonces: list[int] = []
        self.is_stopped = False

    def on_pong(self, nonce: int) -> None:
        self.nonces.append(nonce)

    def stop(self) -> None:
        self.is_stopped = True


def control(
    *, strict: bool = False, limits: Limits | None = None
) -> tuple[Control, Sent, list[int]]:
    """A `Control`, what it sends, and the nonces that keepalive is told."""
    sent, watch = Sent(), Watch()
    made = Control(
        sent,
        SessionTerms(
            limits=limits or Limits(),
            strict=strict,
            peer=Peer("memory", "nobody"),
            now=lambda: 0.0,
        ),
    )
    made.keepalive = watch
    return made, sent, watch.nonces


@pytest.mark.rule("session.keepalive")
@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("nonce", [0, 1, 2**64 - 1])
def test_a_ping_is_answered_with_its_nonce(nonce: int, strict: bool) -> None:
    made, sent, nonces = control(strict=strict)
    made.act_on(Ping(0, nonce))
    assert sent == [Pong(0, nonce)]
    assert nonces == []


@pytest.mark.rule("session.keepalive")
def test_a_ping_on_another_connection_is_answered_there() -> None:
    made, sent, _ = control()
    made.act_on(Ping(3, 1))
    assert sent == [Pong(3, 1)]


@pytest.mark.rule("session.keepalive")
def test_a_pong_is_handed_to_keepalive() -> None:
    made, sent, nonces = control()
    made.act_on(Pong(0, 7))
    assert nonces == [7]
    assert sent == []


def test_a_pong_on_another_connection_is_ignored() -> None:
    made, _, nonces = control()
    made.act_on(Pong(3, 7))
    assert nonces == []


def test_a_pong_without_keepalive_is_ignored() -> None:
    made, sent, _ = control()
    made.keepalive = None
    made.act_on(Pong(0, 7))
    assert sent == []


def test_messages_are_counted_for_keepalive() -> None:
    made, _, _ = control()
    watch = made.keepalive
    assert watch is not None
    for message in (Ping(0, 1), Pong(0, 7), Pong(3, 7)):
        made.act_on(message)
    assert watch.messages == 3


def test_what_watches_the_session_is_stopped_once() -> None:
    made, _, _ = control()
    watch = made.keepalive
    assert isinstance(watch, Watch)
    made.stop()
    assert watch.is_stopped
    watch.is_stopped = False
    made.stop()
    assert not watch.is_stopped


@pytest.mark.rule("session.protocol-error")
@pytest.mark.parametrize("connection_id", [0, 3])
def test_a_protocol_error_says_that_this_side_broke_it(connection_id: int) -> None:
    made, sent, _ = control()
    with pytest.raises(LocalProtocolError) as caught:
        made.act_on(ProtocolError(connection_id, "that was wrong"))
    assert caught.value.description == "that was wrong"
    assert sent == []


def test_a_protocol_error_that_is_a_refusal_says_that_the_peer_has_no_room() -> None:
    made, _, _ = control()
    with pytest.raises(
        Overloaded, match=r"the peer has ended the session \(overloaded\): no memory"
    ) as caught:
        made.act_on(ProtocolError(0, "refused: overloaded: no memory"))
    assert caught.value.by_peer


@pytest.mark.rule("session.message.connection-id")
@pytest.mark.parametrize("message", [Ping(3, 1), Pong(3, 1), ProtocolError(3, "x")])
def test_on_another_connection_it_breaks_the_protocol_if_strict(
    message: Message,
) -> None:
    made, sent, nonces = control(strict=True)
    with pytest.raises(RemoteProtocolError) as caught:
        made.act_on(message)
    kind = type(message).__name__
    assert caught.value.description == f"expected {kind} on connection 0, got it on 3"
    assert (sent, nonces) == ([], [])


OUT_OF_PLACE = [Hello(0, 7, SETTINGS), HelloYourself(0, SETTINGS)]


@pytest.mark.rule("session.handshake")
@pytest.mark.parametrize("message", OUT_OF_PLACE)
def test_a_second_handshake_is_ignored(message: Message) -> None:
    made, sent, nonces = control()
    made.act_on(message)
    assert (sent, nonces) == ([], [])


@pytest.mark.rule("session.handshake")
@pytest.mark.parametrize("message", OUT_OF_PLACE)
def test_a_second_handshake_breaks_the_protocol_if_strict(message: Message) -> None:
    made, _, _ = control(strict=True)
    with pytest.raises(RemoteProtocolError, match="came again"):
        made.act_on(message)


def test_too_many_pings_end_the_session() -> None:
    made, sent, _ = control(limits=Limits(futile_messages=3))
    for nonce in range(3):
        made.act_on(Ping(0, nonce))
    with pytest.raises(LimitExceeded, match="pings") as caught:
        made.act_on(Ping(0, 3))
    assert caught.value.limit == "futile_messages"
    assert len(sent) == 3


def test_too_many_handshakes_end_the_session() -> None:
    made, _, _ = control(limits=Limits(futile_messages=1))
    made.act_on(OUT_OF_PLACE[0])
    with pytest.raises(LimitExceeded, match="are not open"):
        made.act_on(OUT_OF_PLACE[1])


def test_as_many_pongs_as_messages_of_this_side_may_come_to_acknowledge_them() -> None:
    made, sent, _ = control(limits=Limits(futile_messages=1))
    for _ in range(3):
        sent.push(Ping(0, 1))
        made.act_on(Pong(0, 2**64 - 1))
    with pytest.raises(LimitExceeded, match="pongs"):
        made.act_on(Pong(0, 2**64 - 1))


def test_repr_says_whether_it_is_strict() -> None:
    assert repr(control(strict=True)[0]) == "<Control, strict>"
    assert repr(control()[0]) == "<Control>"
