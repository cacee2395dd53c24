"""The bytes of the two hellos, and what is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roam_trio import DecodeError
from roam_trio.links.resuming.hello import ClientHello, ServerHello

KEY = bytes(range(16))

numbers = st.none() | st.integers(0, 2**32 - 1)
keys = st.binary(min_size=16, max_size=16)


@pytest.mark.rule("stable.handshake", "stable.handshake.client-hello")
@pytest.mark.parametrize(
    ("hello", "expected"),
    [
        (ClientHello(), b"ROCH\0" + bytes(20)),
        (ClientHello(KEY), b"ROCH\1" + KEY + bytes(4)),
        (ClientHello(None, 7), b"ROCH\2" + bytes(16) + b"\7\0\0\0"),
        (ClientHello(KEY, 0x0403_0201), b"ROCH\3" + KEY + b"\1\2\3\4"),
        (ClientHello(KEY, 0), b"ROCH\3" + KEY + bytes(4)),
    ],
)
def test_client_hello_has_these_bytes(hello: ClientHello, expected: bytes) -> None:
    assert hello.encode() == expected
    assert ClientHello.decode(expected) == hello


@pytest.mark.rule("stable.handshake", "stable.handshake.server-hello")
@pytest.mark.parametrize(
    ("hello", "expected"),
    [
        (ServerHello(KEY), b"ROSH\0" + KEY + bytes(4)),
        (ServerHello(KEY, 258), b"ROSH\2" + KEY + b"\2\1\0\0"),
        (ServerHello(rejected=True), b"ROSH\1" + bytes(20)),
    ],
)
def test_server_hello_has_these_bytes(hello: ServerHello, expected: bytes) -> None:
    assert hello.encode() == expected
    assert ServerHello.decode(expected) == hello


@given(key=st.none() | keys, last_received=numbers)
def test_every_client_hello_is_read_back(
    key: bytes | None, last_received: int | None
) -> None:
    hello = ClientHello(key, last_received)
    assert ClientHello.decode(hello.encode()) == hello


@given(key=keys, last_received=numbers, rejected=st.booleans())
def test_every_server_hello_is_read_back(
    key: bytes, last_received: int | None, rejected: bool
) -> None:
    hello = ServerHello(key, last_received, rejected)
    assert ServerHello.decode(hello.encode()) == hello


FRESH = ClientHello().encode()


@pytest.mark.rule("stable.handshake")
@pytest.mark.parametrize(
    ("payload", "complaint"),
    [
        (b"", "25 bytes, got 0"),
        (FRESH[:-1], "25 bytes, got 24"),
        (FRESH + b"\0", "25 bytes, got 26"),
        (b"ROSH" + FRESH[4:], "starts with b'ROCH'; b'ROSH' came"),
        (b"\0\0\7\0" + FRESH[4:], "starts with b'ROCH'"),
        (b"ROCH\4" + bytes(20), "flags from 0 to 3, got 4"),
        (b"ROCH\xff" + bytes(20), "flags from 0 to 3, got 255"),
        (b"ROCH\0" + KEY + bytes(4), "absent"),
        (b"ROCH\1" + KEY + b"\1\0\0\0", "absent"),
    ],
)
def test_what_is_no_client_hello_is_refused(payload: bytes, complaint: str) -> None:
    with pytest.raises(DecodeError, match=complaint):
        ClientHello.decode(payload)


@pytest.mark.rule("stable.handshake")
@pytest.mark.parametrize(
    ("payload", "complaint"),
    [
        (b"ROSH\0", "25 bytes, got 5"),
        (FRESH, "starts with b'ROSH'; b'ROCH' came"),
        (b"ROSH\10" + bytes(20), "flags"),
        (b"ROSH\0" + KEY + b"\1\0\0\0", "absent"),
    ],
)
def test_what_is_no_server_hello_is_refused(payload: bytes, complaint: str) -> None:
    with pytest.raises(DecodeError, match=complaint):
        ServerHello.decode(payload)


def test_keys_are_not_shown() -> None:
    assert "resume_key" not in repr(ClientHello(KEY))
    assert "resume_key" not in repr(ServerHello(KEY))
