"""The header of a frame."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roam_trio import ConnectionSettings, DecodeError, Metadata, Parity
from roam_trio.links.resuming.sequence import LONGEST_HEADER, read_header, write_header
from roam_trio.wire.envelope import encode_message
from roam_trio.wire.messages import Hello

numbers = st.integers(0, 2**32 - 1) | st.sampled_from(
    [0, 127, 128, 16_383, 16_384, 2**21 - 1, 2**21, 2**28, 2**32 - 1]
)


@pytest.mark.rule(
    "stable.framing", "stable.framing.encoding", "zerocopy.framing.conduit.stable"
)
def test_first_frame_of_a_session_has_these_bytes() -> None:
    hello = Hello(0, 7, ConnectionSettings(Parity.ODD, 64), Metadata())
    frame = write_header(0, None) + b"".join(encode_message(hello))
    assert frame == bytes.fromhex("00 00 00 00 07 00 40 00")
    assert write_header(3, 5) == bytes.fromhex("03 01 05")


@pytest.mark.rule("stable.framing.encoding")
@given(seq=numbers, ack=st.none() | numbers, message=st.binary(max_size=3))
def test_header_is_read_back_up_to_the_message(
    seq: int, ack: int | None, message: bytes
) -> None:
    header = write_header(seq, ack)
    assert len(header) <= LONGEST_HEADER
    assert read_header(header + message) == (seq, ack, len(header))


@pytest.mark.parametrize(
    ("payload", "complaint"),
    [
        ("", "ends after 0 bytes"),
        ("00", "ends after 1 bytes"),
        ("80", "ends after 1 bytes"),
        ("05 01", "ends after 2 bytes"),
        ("05 01 ff", "ends after 3 bytes"),
        ("05 02 00", r"0 or 1, got 2 - at \$\.ack"),
        ("80 80 80 80 80 00 00", r"at most 5 bytes - at \$\.seq"),
        ("ff ff ff ff 10 00", r"4294967295, got one of 33 bits - at \$\.seq"),
        ("00 01 ff ff ff ff 10", r"4294967295, got one of 33 bits - at \$\.ack"),
    ],
)
def test_what_is_no_frame_is_refused(payload: str, complaint: str) -> None:
    with pytest.raises(DecodeError, match=complaint):
        read_header(bytes.fromhex(payload))
