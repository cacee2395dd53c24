"""What the first message of either side settles, and what is wrong with it.

Functions decide that, so nothing here runs in trio.
"""

from __future__ import annotations

import pytest

from roam_trio.errors import LocalProtocolError, RemoteProtocolError, SessionIoError
from roam_trio.metadata import NO_METADATA, Metadata
from roam_trio.session.handshake import (
    HandshakeResult,
    check_hello,
    check_hello_yourself,
)
from roam_trio.wire.ids import Parity
from roam_trio.wire.messages import (
    ConnectionAccept,
    ConnectionSettings,
    Hello,
    HelloYourself,
    Message,
    Ping,
    ProtocolError,
    RequestCall,
)

ODD = ConnectionSettings(Parity.ODD, 64)
EVEN = ConnectionSettings(Parity.EVEN, 32)
METADATA = Metadata.of({"who": "you"})
HELLO = Hello(0, 7, ODD, METADATA)
HELLO_YOURSELF = HelloYourself(0, EVEN, METADATA)
CALL = RequestCall(0, 1, 2, (), NO_METADATA, b"")

either = pytest.mark.parametrize("strict", [False, True])

pytestmark = pytest.mark.rule("session.handshake")


# ------------------------------------------------------------ what is settled


@either
def test_a_good_hello_is_taken(strict: bool) -> None:
    assert check_hello(HELLO, strict=strict) is HELLO


@either
@pytest.mark.parametrize("parity", Parity)
def test_an_initiator_may_have_either_parity(parity: Parity, strict: bool) -> None:
    hello = Hello(0, 7, ConnectionSettings(parity, 1))
    assert check_hello(hello, strict=strict) is hello


@either
@pytest.mark.rule("session.connection-settings.hello")
def test_the_answer_settles_both_sides_and_the_metadata(strict: bool) -> None:
    agreed = check_hello_yourself(HELLO_YOURSELF, ODD, strict=strict)
    assert agreed == HandshakeResult(ours=ODD, theirs=EVEN, metadata=METADATA)


# ------------------------------------------------------------ what is wrong


@either
@pytest.mark.parametrize("version", [0, 6, 8, 2**32 - 1])
def test_another_version_breaks_the_protocol(version: int, strict: bool) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        check_hello(Hello(0, version, ODD), strict=strict)
    told = f"expected protocol version 7, got {version}"
    assert caught.value.description == told


@either
@pytest.mark.parametrize(
    "message",
    [HELLO_YOURSELF, Ping(0, 1), CALL, ConnectionAccept(0, ODD)],
    ids=lambda message: type(message).__name__,
)
def test_another_message_than_hello_breaks_the_protocol(
    message: Message, strict: bool
) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        check_hello(message, strict=strict)
    assert caught.value.description == (
        f"expected Hello as the first message, got {type(message).__name__}"
    )


@either
@pytest.mark.parametrize(
    "message",
    [HELLO, Ping(0, 1), CALL, ConnectionAccept(0, ODD)],
    ids=lambda message: type(message).__name__,
)
def test_another_message_than_hello_yourself_breaks_the_protocol(
    message: Message, strict: bool
) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        check_hello_yourself(message, ODD, strict=strict)
    assert caught.value.description == (
        f"expected HelloYourself as the first message, got {type(message).__name__}"
    )


@either
def test_a_protocol_error_is_the_peers_word_about_this_side(strict: bool) -> None:
    error = ProtocolError(0, "no version like yours")
    with pytest.raises(LocalProtocolError) as caught:
        check_hello(error, strict=strict)
    assert caught.value.description == "no version like yours"
    with pytest.raises(LocalProtocolError):
        check_hello_yourself(error, ODD, strict=strict)


@either
def test_a_peer_that_closes_instead_is_no_fault_and_is_named(strict: bool) -> None:
    with pytest.raises(SessionIoError, match=r"expected its Hello$"):
        check_hello(None, strict=strict)
    with pytest.raises(SessionIoError, match="is it a server of roam, and with TLS"):
        check_hello_yourself(None, ODD, strict=strict)


# ------------------------------------------------------------ what strict refuses


@pytest.mark.rule("session.message.connection-id")
def test_on_another_connection_it_is_wrong_only_if_strict() -> None:
    hello, answer = Hello(1, 7, ODD), HelloYourself(3, EVEN)
    assert check_hello(hello, strict=False) is hello
    assert check_hello_yourself(answer, ODD, strict=False).theirs is EVEN
    with pytest.raises(RemoteProtocolError, match="Hello on connection 0, got it on 1"):
        check_hello(hello, strict=True)
    with pytest.raises(
        RemoteProtocolError, match="HelloYourself on connection 0, got it on 3"
    ):
        check_hello_yourself(answer, ODD, strict=True)


@pytest.mark.rule("session.parity")
@pytest.mark.parametrize("settings", [ODD, EVEN])
def test_the_parity_of_the_initiator_is_wrong_only_if_strict(
    settings: ConnectionSettings,
) -> None:
    answer = HelloYourself(0, settings)
    assert check_hello_yourself(answer, settings, strict=False).theirs is settings
    other = settings.parity.other().name.lower()
    with pytest.raises(RemoteProtocolError) as caught:
        check_hello_yourself(answer, settings, strict=True)
    assert caught.value.description == (
        f"expected HelloYourself with parity {other}, "
        f"got {settings.parity.name.lower()}"
    )
