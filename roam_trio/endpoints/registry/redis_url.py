"""URLs of Valkey and Redis: without I/O."""

from __future__ import annotations

import ssl
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit

import attrs

from ...legible import without_secrets

__all__ = ["RedisRefusal", "Whereabouts", "whereabouts"]

_SCHEMES: Final = ("redis", "rediss", "unix")
_PORT: Final = 6379


class RedisRefusal(OSError):
    """A server of Redis has answered a command with an error."""


@attrs.frozen
class Whereabouts:
    """The address of a server of Redis, and the login for it.

    Attributes:
        host: the host, or the path of a Unix socket if there is no port.
        port: the TCP port; None for a Unix socket.
        db: the number of the database.
        username: the name of a user, or None.
        password: the password, or None.
        ssl_context: for TLS; None without TLS.
    """

    host: str
    port: int | None
    db: int = 0
    username: str | None = attrs.field(default=None, repr=False)
    password: str | None = attrs.field(default=None, repr=False)
    ssl_context: ssl.SSLContext | None = attrs.field(default=None, repr=False)


def whereabouts(url: str, ssl_context: ssl.SSLContext | None) -> Whereabouts:
    """Return the parts of a URL.

    Raises:
        ValueError: the URL is wrong, or does not go with the context.
    """
    try:
        parts = urlsplit(url)
        scheme, host, port = parts.scheme, parts.hostname, parts.port
    except ValueError as error:
        raise _wrong(url, error) from error
    if scheme not in _SCHEMES:
        raise _wrong(url, f"the schemes are: {', '.join(_SCHEMES)}")
    if ssl_context is not None and scheme != "rediss":
        raise _wrong(url, "an ssl_context is only for rediss")
    query = parse_qs(parts.query, keep_blank_values=True)
    if parts.fragment or set(query) - ({"db"} if scheme == "unix" else set()):
        raise _wrong(url, "the only option is ?db= after the path of a Unix socket")
    if scheme == "unix":
        if not parts.path.strip("/"):
            raise _wrong(url, "there is no path")
        db = query.get("db", ["0"])[0]
        place: tuple[str, int | None] = unquote(parts.path), None
    else:
        if not host:
            raise _wrong(url, "there is no host")
        db = parts.path.strip("/") or "0"
        place = host, port or _PORT
    if not (db.isascii() and db.isdecimal()):
        raise _wrong(url, "the database is not a number")
    if scheme == "rediss" and ssl_context is None:
        ssl_context = ssl.create_default_context()
    return Whereabouts(
        *place,
        int(db),
        unquote(parts.username) if parts.username else None,
        unquote(parts.password) if parts.password else None,
        ssl_context,
    )


def _wrong(url: str, problem: object) -> ValueError:
    example = "redis://127.0.0.1:6379/0"
    return ValueError(
        f"expected a URL like {example}, got {without_secrets(url)!r}: {problem}"
    )
