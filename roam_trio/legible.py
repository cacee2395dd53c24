"""Escaping of peers' texts, so that people can read them safely.

A peer chooses its texts freely: names of services, keys of metadata, the description of
a protocol error. Such a text passes through `legible` before it enters an error, a repr
or a log. It then stays on one line, contains no terminal or bidirectional control
characters, and has a maximum length. `without_secrets` does the same for URLs, whose
credentials and queries may be secret.
"""

from __future__ import annotations

import re
from typing import Final

from .failures import is_failure

__all__ = [
    "MOST_SHOWN",
    "legible",
    "legible_str",
    "urls_without_secrets",
    "without_secrets",
]

MOST_SHOWN: Final = 400
"""Length, in characters, to which `legible` cuts by default."""

# Characters that str.isprintable accepts although they are invisible: the code points
# that Unicode calls default ignorable, and the blank Braille pattern.
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0"
    "\U000e0100-\U000e01ef]"
)


def legible(text: str, most: int = MOST_SHOWN) -> str:
    """Return a text on one line, with all invisible characters escaped.

    Control characters, line breaks, terminal escapes, marks that change the direction
    of text or have no width, and surrogates become escapes such as ``\\x1b``. The
    function is idempotent.

    Args:
        text: any text.
        most: the maximum length of the result, in characters. A longer text is cut, and
            its length is appended.
    """
    if len(text) <= most:
        whole = _escaped(text)
        if len(whole) <= most:
            return whole
    rest = f"... ({len(text)} characters)"
    room = max(most - len(rest), 0)
    shown: list[str] = []
    for char in text[:room]:
        char = _escaped(char)
        room -= len(char)
        if room < 0:
            break
        shown.append(char)
    return ("".join(shown) + rest)[:most]


def _escaped(text: str) -> str:
    if text.isascii() and text.isprintable():
        return text
    if text.isprintable() and not _INVISIBLE.search(text):
        return text
    return "".join(map(_escaped_char, text))


def _escaped_char(char: str) -> str:
    if char.isprintable() and not _INVISIBLE.match(char):
        return char
    return char.encode("unicode_escape").decode("ascii")


def legible_str(said: object, most: int = MOST_SHOWN) -> str:
    """Return the legible `str` of an object, without secrets of URLs. Never raises."""
    try:
        text = str(said)
    except BaseException as failure:
        if not is_failure(failure):
            raise
        text = f"<{type(said).__name__}, whose str() fails>"
    return legible(urls_without_secrets(text), most)


_HIDDEN = "***"

_UP_TO_THE_HOST = re.compile(r"[a-z][a-z0-9+.-]*:/+", re.IGNORECASE)

# A query, also if it was percent-encoded or does not follow a "?".
_AFTER_PATH = re.compile(r"(\?|(?:#|;|&|%3f)(?=.*[@=])).+", re.DOTALL | re.IGNORECASE)

_ENCODED_CREDENTIALS = re.compile(r"\A[^/?#@]*(?=%40)", re.IGNORECASE)

_URL_IN_TEXT = re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s'\"<>]+", re.IGNORECASE)


def without_secrets(url: str) -> str:
    """Return a URL with ``***`` in place of its credentials and its query.

    A fragment that could contain credentials is also hidden. The URL need not be valid,
    because errors quote invalid URLs. If it is unclear what the password is, more is
    hidden.
    """
    start = _UP_TO_THE_HOST.match(url)
    prefix = start.group() if start else ""
    rest = url[len(prefix) :]
    before_query = re.split(r"[?#]", rest, maxsplit=1)[0]
    # A password may contain any of the characters that should end it. Without a colon
    # there is no password, and an "@" may belong to an address in the query. What looks
    # like a scheme before a single slash may be a user, and the slash of the password.
    has_colon = ":" in before_query or prefix.endswith(":/")
    suspect = rest if has_colon else before_query
    if "@" in suspect and prefix.lower() != "unix:///":
        rest = f"{_HIDDEN}{rest[suspect.rindex('@') :]}"
    elif not prefix.endswith("///"):
        # Such credentials are invalid, but may still be real ones.
        rest = _ENCODED_CREDENTIALS.sub(_HIDDEN, rest, count=1)
    return prefix + _AFTER_PATH.sub(rf"\1{_HIDDEN}", rest, count=1)


def urls_without_secrets(text: str) -> str:
    """Return a text with `without_secrets` applied to each URL in it."""
    if "://" not in text:
        return text
    return _URL_IN_TEXT.sub(lambda found: without_secrets(found.group()), text)
