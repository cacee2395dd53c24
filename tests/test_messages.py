"""Messages are plain data, one class per kind."""

from __future__ import annotations

from typing import get_args

import msgspec
import pytest

from roam_trio.metadata import NO_METADATA
from roam_trio.wire import messages
from roam_trio.wire.ids import Parity
from roam_trio.wire.messages import (
    PROTOCOL_VERSION,
    ConnectionSettings,
    Hello,
    Message,
    RequestCall,
    joined,
)

KINDS: tuple[type[msgspec.Struct], ...] = get_args(Message)


@pytest.mark.rule("session.message.payloads")
def test_there_is_a_class_for_every_kind_of_payload() -> None:
    assert {kind.__name__ for kind in KINDS} == {
        "Hello",
        "HelloYourself",
        "ProtocolError",
        "Ping",
        "Pong",
        "ConnectionOpen",
        "ConnectionAccept",
        "ConnectionReject",
        "ConnectionClose",
        "RequestCall",
        "RequestResponse",
        "RequestCancel",
        "ChannelItem",
        "ChannelClose",
        "ChannelReset",
        "ChannelGrantCredit",
    }


@pytest.mark.rule("session.message.connection-id")
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_message_starts_with_its_connection(kind: type[msgspec.Struct]) -> None:
    assert kind.__struct_fields__[0] == "connection_id"


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_messages_are_plain_data(kind: type[msgspec.Struct]) -> None:
    own = {name for name in vars(kind) if not name.startswith("__")}
    assert own <= set(kind.__struct_fields__)
    assert kind.__name__ in messages.__all__


def test_messages_compare_by_value() -> None:
    settings = ConnectionSettings(Parity.ODD, 64)
    assert Hello(0, PROTOCOL_VERSION, settings) == Hello(
        0, PROTOCOL_VERSION, ConnectionSettings(Parity.ODD), NO_METADATA
    )
    assert Hello(0, 6, settings) != Hello(0, 7, settings)


@pytest.mark.rule("session.connection-settings")
def test_settings_cannot_change_once_told() -> None:
    settings = ConnectionSettings(Parity.ODD)
    with pytest.raises(AttributeError):
        settings.max_concurrent_requests = 1  # type: ignore[misc]


def test_pieces_of_a_value_are_joined_and_whole_values_are_not_copied() -> None:
    whole = bytes(1000)
    view = memoryview(whole)
    assert joined(whole) is whole
    assert joined(view) is view
    assert joined([b"a", memoryview(b"b"), b""]) == b"ab"
    assert joined([]) == b""


def test_repr_tells_the_fields() -> None:
    call = RequestCall(0, 1, 2, (3,), NO_METADATA, b"x")
    assert repr(call) == (
        "RequestCall(connection_id=0, request_id=1, method_id=2, channels=(3,), "
        "metadata=Metadata([]), args=b'x')"
    )
