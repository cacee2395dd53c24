"""Values take short ways through the package; see `trace` for what is counted."""

from __future__ import annotations

import pytest

from .pure import in_python
from .trace import Move, moves

MOST = {"argument": 40, "item": 36, "URL": 63}


@pytest.fixture(scope="module")
def found() -> dict[str, list[Move]]:
    # What waits for the system may wait in several steps, and each is a move.
    with in_python():
        runs = [moves() for _ in range(3)]
    return {value: min((run[value] for run in runs), key=len) for value in MOST}


@pytest.mark.parametrize("value", MOST)
def test_value_changes_rooms_no_more_often_than_it_has_to(
    value: str, found: dict[str, list[Move]]
) -> None:
    assert len(found[value]) <= MOST[value], "\n".join(map(str, found[value]))


@pytest.mark.parametrize("value", ["argument", "item"])
def test_message_is_followed_through_the_rooms_of_both_ends(
    value: str, found: dict[str, list[Move]]
) -> None:
    called = [move.function for move in found[value] if move.what == "call"]
    way = [
        "wire.envelope: encode_frame_in_python",
        "links.stream: StreamLinkTx.send_nowait",
        "links.stream_rx: StreamLinkRx.recv_batch",
        "wire.envelope: decode_in_python",
        "codec.python: PythonCodec.decode",
    ]
    rest = iter(called)
    assert [step for step in way if step in rest] == way


@pytest.mark.parametrize("value", ["argument", "item"])
def test_message_does_not_go_through_a_conduit_that_only_hands_on(
    value: str, found: dict[str, list[Move]]
) -> None:
    assert "conduits" not in {move.room for move in found[value]}


def test_url_is_followed_until_the_client_has_its_link(
    found: dict[str, list[Move]],
) -> None:
    assert found["URL"][0].function == "endpoints.connect: connect"
    assert found["URL"][-1].function == "links.tcp: connect_tcp"
