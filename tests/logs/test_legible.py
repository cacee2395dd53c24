"""Whatever a peer writes, people see it on one line, and all of it or its beginning."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from roam_trio.legible import MOST_SHOWN, legible, without_secrets

CONTROLS = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI", "BN", "B"}
ANY_TEXT = st.text(st.characters())
HOSTILE = st.sampled_from(
    "\n\r\t\0\x07\x1b\x7f\x85\x9b\xa0\xad\u034f\u061c\u115f\u180e\u200b\u200d\u200f"
    "\u2028\u2029\u202a\u202e\u2060\u2066\u2069\u2800\u3000\u3164\ufe0f\ufeff\uffa0"
    "\ufff9\ufffe\ud800\udfff\U000e0001\U000e0100\U0010ffff"
)
TEXTS = ANY_TEXT | st.text(HOSTILE) | st.text(st.characters() | HOSTILE)


@given(TEXTS, st.integers(40, 100))
def test_a_legible_text_moves_nothing_and_hides_nothing(text: str, most: int) -> None:
    for char in legible(text, most):
        assert char == " " or unicodedata.category(char)[0] not in "CZ"
        assert unicodedata.bidirectional(char) not in CONTROLS
        assert char.encode()


@given(HOSTILE)
def test_what_cannot_be_seen_as_it_is_is_escaped(char: str) -> None:
    shown = legible(f"a{char}b")
    assert shown.isascii()
    assert shown.encode().decode("unicode_escape") == f"a{char}b"


@given(TEXTS, st.integers(0, 100))
def test_a_legible_text_is_no_longer_than_it_may_be(text: str, most: int) -> None:
    assert len(legible(text, most)) <= most


@given(TEXTS, st.integers(40, 100))
def test_a_legible_text_stays_as_it_is(text: str, most: int) -> None:
    shown = legible(text, most)
    assert legible(shown, most) == shown


@given(st.text(st.characters(categories=["L", "N", "P"]), max_size=MOST_SHOWN))
def test_letters_digits_and_punctuation_are_seen_as_they_are(text: str) -> None:
    if not set(text) & set("\u115f\u1160\u3164\uffa0"):
        assert legible(text) == text


def test_a_text_that_is_cut_says_how_long_it_was() -> None:
    assert legible("x" * 10**6, 50) == "x" * 26 + "... (1000000 characters)"
    assert legible("\n" * 30, 50) == "\\n" * 15 + "... (30 characters)"


class Counting(str):
    """Counts the characters that are looked at one by one."""

    looked_at = 0

    def __getitem__(self, index: object) -> str:
        part = super().__getitem__(index)  # type: ignore[index]
        Counting.looked_at += len(part)
        return part


def test_of_a_long_text_only_the_beginning_is_looked_at() -> None:
    legible(Counting("\n" * 10**6))
    assert 0 < Counting.looked_at <= MOST_SHOWN


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("tcp://host:7000", "tcp://host:7000"),
        ("tcp://[::1]:7000", "tcp://[::1]:7000"),
        ("unix:///run/me@work.sock", "unix:///run/me@work.sock"),
        ("stdio:", "stdio:"),
        ("ws://host/path?token=hunter2", "ws://host/path?***"),
        ("ws://host/path#part", "ws://host/path#part"),
        ("ws://host/me%40work;v1", "ws://host/me%40work;v1"),
        ("unix:///run/me%40work.sock", "unix:///run/me%40work.sock"),
        ("unix:///run/a:b@work.sock", "unix:///run/a:b@work.sock"),
        ("tcp://me%3Ahunter2%40host:1", "tcp://***%40host:1"),
        ("tcp://me:hunter2%40host:1", "tcp://***%40host:1"),
        ("tcp:///me:hunter2@host:1", "tcp:///***@host:1"),
        ("ws://host/path%3Ftoken=hunter2", "ws://host/path%3F***"),
        ("ws://host/path;token=hunter2", "ws://host/path;***"),
        ("tcp://host:1&token=hunter2", "tcp://host:1&***"),
        ("ws://host/path#token=hunter2", "ws://host/path#***"),
        ("ws://host/path#a?token=hunter2", "ws://host/path#***"),
        ("tcp://me#hunter2@host:1", "tcp://me#***"),
        ("ws://host/path?a\nhunter2", "ws://host/path?***"),
        ("ws://host/path?to=a@b&t=hunter2", "ws://host/path?***"),
        ("wss://me:hunter2@host/p", "wss://***@host/p"),
        ("wss://hunter2@host/p", "wss://***@host/p"),
        ("tcp://me:hunt@er2@host:1", "tcp://***@host:1"),
        ("tcp://me:hunt/er2@host:1", "tcp://***@host:1"),
        ("tcp://me:hunt?er2@host:1", "tcp://***@host:1"),
        ("tcp://me:hunt#er2@host:1", "tcp://***@host:1"),
        ("tcp://me:hunt er2@host:1", "tcp://***@host:1"),
        ("tcp://me:hunt\\er2@host:1", "tcp://***@host:1"),
        ("tcp://me:12/hunter2@host:1", "tcp://***@host:1"),
        ("tcp://me:hunter2@[::1", "tcp://***@[::1"),
        ("tcp:/me:hunter2@host:1", "tcp:/***@host:1"),
        ("tcp:me:hunter2@host:1", "***@host:1"),
        ("me:hunter2@host:1", "***@host:1"),
        ("//me:hunter2@host:1", "***@host:1"),
        ("me:/hunter2?@host:1", "me:/***@host:1"),
    ],
)
def test_credentials_and_queries_are_hidden(url: str, shown: str) -> None:
    assert without_secrets(url) == shown
    assert without_secrets(shown) == shown


PARTS = st.text(st.sampled_from("ab:/?#@[]\\ %.1"), max_size=8)


@given(PARTS, PARTS, st.sampled_from(["tcp://", "ws://", "tcp:/", "tcp:", ""]))
def test_a_password_is_hidden_whatever_it_contains(
    before: str, after: str, start: str
) -> None:
    assume(start or not before.startswith("//"))  # "me" would be a scheme
    url = f"{start}me:{before}hunter2{after}@host:7000/path?query"
    assert "hunter2" not in without_secrets(url)
