"""Until the handshake is done, a link accepts payloads of a handshake only."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from roam_trio.errors import AnnouncedTooLarge
from roam_trio.links.base import PayloadBound
from roam_trio.links.framing import FrameDecoder, PayloadDecoder
from roam_trio.links.websocket_framing import WebSocketDecoder

from .test_websocket import BINARY, frame

MOST = 1000
BOUND = PayloadBound(300, "metadata_bytes")
SMALL = bytes(200)


Framed = Callable[[bytes], bytes]


def in_a_stream(payload: bytes) -> bytes:
    return len(payload).to_bytes(4, "little") + payload


def in_a_websocket(payload: bytes) -> bytes:
    return frame(BINARY, payload)


def of_websocket(most: int = MOST) -> WebSocketDecoder:
    return WebSocketDecoder(most, masked=True, on_ping=lambda ping: None)


def of(framing: str, most: int = MOST) -> tuple[PayloadDecoder, Framed]:
    if framing == "stream":
        return FrameDecoder(most), in_a_stream
    return of_websocket(most), in_a_websocket


def bounded(framing: str) -> tuple[PayloadDecoder, Framed]:
    decoder, framed = of(framing)
    decoder.accept_up_to(BOUND)
    return decoder, framed


over_each_framing = pytest.mark.parametrize("framing", ["stream", "websocket"])


def taken(decoder: PayloadDecoder) -> list[int]:
    payloads, decoder.payloads = decoder.payloads, []
    return [len(payload) for payload in payloads]


@over_each_framing
def test_payload_of_a_handshake_is_accepted(framing: str) -> None:
    decoder, framed = bounded(framing)
    decoder.feed(framed(bytes(300)))
    assert taken(decoder) == [300]


@over_each_framing
@pytest.mark.parametrize("come", [8, 301])
def test_longer_one_is_refused_by_its_length_and_names_the_limit(
    framing: str, come: int
) -> None:
    decoder, framed = bounded(framing)
    start = framed(bytes(301))[:come]
    with pytest.raises(AnnouncedTooLarge, match=r"301 .*300 .*limit: metadata_bytes"):
        decoder.feed(start)


@over_each_framing
def test_longer_one_after_the_first_is_accepted(framing: str) -> None:
    decoder, framed = bounded(framing)
    decoder.feed(framed(SMALL))
    assert taken(decoder) == [200]
    decoder.feed(framed(bytes(MOST)))
    assert taken(decoder) == [MOST]
    decoder.accept_up_to(BOUND)
    with pytest.raises(AnnouncedTooLarge, match="limit: metadata_bytes"):
        decoder.feed(framed(bytes(301)))


@over_each_framing
@pytest.mark.parametrize("come", [8, 100, 501, 600])
def test_longer_one_that_comes_together_with_the_first_is_accepted(
    framing: str, come: int
) -> None:
    decoder, framed = bounded(framing)
    longer = framed(bytes(501))
    decoder.feed(framed(SMALL) + longer[:come])
    decoder.feed(longer[come:])
    assert taken(decoder) == [200, 501]
    assert decoder.begun == 0
    assert decoder.payload_bytes == 701


@over_each_framing
@pytest.mark.parametrize("most", [MOST, 200_000])
def test_bound_holds_for_a_payload_that_has_begun(most: int, framing: str) -> None:
    decoder, framed = of(framing, most)
    decoder.feed(framed(SMALL) + framed(bytes(most))[:100])
    assert taken(decoder) == [200]
    decoder.accept_up_to(BOUND)
    with pytest.raises(AnnouncedTooLarge, match=rf"{most} .*limit: metadata_bytes"):
        decoder.feed(b"1")


@over_each_framing
def test_bound_can_be_lifted(framing: str) -> None:
    decoder, framed = bounded(framing)
    decoder.accept_up_to(None)
    decoder.feed(framed(bytes(501)))
    assert taken(decoder) == [501]


@over_each_framing
def test_payload_beyond_the_limit_of_the_link_is_refused_by_that(framing: str) -> None:
    decoder, framed = bounded(framing)
    with pytest.raises(AnnouncedTooLarge, match="limit: max_payload"):
        decoder.feed(framed(SMALL) + framed(bytes(MOST + 1))[:20])


def test_bound_above_the_limit_of_the_link_changes_nothing() -> None:
    decoder = FrameDecoder(MOST)
    decoder.accept_up_to(PayloadBound(MOST + 100, "metadata_bytes"))
    with pytest.raises(AnnouncedTooLarge, match="limit: max_payload"):
        decoder.feed(in_a_stream(bytes(MOST + 50)))


def test_fragments_count_together() -> None:
    decoder = of_websocket()
    decoder.accept_up_to(BOUND)
    decoder.feed(frame(BINARY, bytes(200), fin=False))
    with pytest.raises(AnnouncedTooLarge, match=r"400 .*limit: metadata_bytes"):
        decoder.feed(frame(0, bytes(200))[:8])
    assert decoder.close_code == 1009
