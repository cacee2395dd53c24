"""Refusals of sessions on the wire: what is sent, and what any text is read as."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roam_trio import Overloaded, Refused, Unavailable
from roam_trio.errors import LocalProtocolError
from roam_trio.session.handshake import check_hello, check_hello_yourself
from roam_trio.session.refusal import message_of_refusal, refusal_in
from roam_trio.session.session_end import message_at_end
from roam_trio.wire.ids import ConnectionId, Parity
from roam_trio.wire.messages import ConnectionSettings, ProtocolError


def said(description: str) -> ProtocolError:
    return ProtocolError(ConnectionId.ROOT, description)


def test_a_refusal_goes_out_as_the_code_and_the_text() -> None:
    refusal = Refused("denied", "unknown token: 12: 13")
    assert message_of_refusal(refusal) == said("refused: denied: unknown token: 12: 13")
    assert message_at_end(refusal) == message_of_refusal(refusal)


@pytest.mark.parametrize(
    ("description", "code", "text"),
    [
        ("refused: denied: unknown token", "denied", "unknown token"),
        ("refused: denied: ", "denied", ""),
        ("refused: denied", "denied", ""),
        ("refused: a:b: c: d", "a:b", "c: d"),
        ("refused:  denied : x", "denied", "x"),
        ("refused: denied: \x1b[31mred\n", "denied", "\x1b[31mred\n"),
    ],
)
def test_a_refusal_is_read(description: str, code: str, text: str) -> None:
    refusal = refusal_in(said(description))
    assert refusal is not None
    assert (refusal.code, refusal.text, refusal.by_peer) == (code, text, True)
    assert "\n" not in str(refusal)
    assert "\x1b" not in str(refusal)


@pytest.mark.parametrize(
    "description",
    ["", "refused", "refused:", "refused: ", "refused: : text", "Refused: a: b", "x"],
)
def test_other_descriptions_are_no_refusals(description: str) -> None:
    assert refusal_in(said(description)) is None


def test_an_overloaded_server_says_so() -> None:
    refusal = refusal_in(said("refused: overloaded: come back later"))
    assert type(refusal) is Overloaded


def test_an_unavailable_server_says_so() -> None:
    refusal = Unavailable(text="it is Sunday", retry_after=3)
    message = message_at_end(refusal)
    assert message == said("refused: unavailable: it is Sunday")
    heard = refusal_in(said("refused: unavailable: it is Sunday"))
    assert type(heard) is Unavailable
    assert (heard.text, heard.by_peer) == ("it is Sunday", True)
    assert heard.retry_after is None  # the message has no place for it


@given(st.text(max_size=200), st.text(max_size=3000))
def test_what_is_sent_is_bounded_and_comes_back(code: str, text: str) -> None:
    message = message_of_refusal(Refused(code, text))
    assert len(message.description.encode()) <= len("refused: : ") + 64 + 1024
    back = refusal_in(message)
    if back is not None:
        assert back.text == "" or text.encode("utf-8", "backslashreplace").startswith(
            back.text.encode("utf-8", "backslashreplace")
        )


@given(st.text(max_size=5000))
def test_no_text_of_a_peer_does_harm(text: str) -> None:
    refusal = refusal_in(said(f"refused: {text}"))
    if refusal is not None:
        assert refusal.code
        assert len(refusal.code.encode()) <= 64
        assert len(refusal.text.encode()) <= 1024


@pytest.mark.rule("session.protocol-error")
def test_a_refusal_counts_as_one_only_instead_of_the_answer_to_a_hello() -> None:
    message = said("refused: denied: no")
    ours = ConnectionSettings(Parity.ODD, 64)
    with pytest.raises(Refused, match=r"refused the session \(denied\): no"):
        check_hello_yourself(message, ours, strict=True)
    with pytest.raises(LocalProtocolError, match="refused: denied: no"):
        check_hello(message, strict=True)
