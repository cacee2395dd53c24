"""Connecting to a server, with time limits, retries and failover."""

from __future__ import annotations

import errno
import math
import socket
import ssl
from collections.abc import Iterator, Sequence
from typing import Final, cast

import attrs
import trio

from ..errors import LinkError
from ..legible import without_secrets
from ..links.base import Link
from ..running import check_trio_runs
from .base import LinkFactory, LinkOptions, urls_of
from .registry import transports_for

__all__ = ["DEFAULT_CONNECT_TIMEOUT", "Dialer", "dialer"]

DEFAULT_CONNECT_TIMEOUT: Final = 30.0

_FIRST_WAIT: Final = 0.05
_LONGEST_WAIT: Final = 2.0
"""Longest pause, in seconds, between attempts to reach a server that is not up yet."""

_MAY_PASS: Final = {
    errno.ECONNREFUSED,  # it does not listen yet
    errno.ENOENT,  # the file of its socket is not there yet
    errno.ECONNRESET,
    errno.ECONNABORTED,
    errno.EHOSTUNREACH,
    errno.ENETUNREACH,
    errno.ENETDOWN,
    errno.EHOSTDOWN,
    errno.ETIMEDOUT,
    errno.EAGAIN,
}


def dialer(
    urls: str | Sequence[str],
    options: LinkOptions | None = None,
    *,
    connect_timeout: float = DEFAULT_CONNECT_TIMEOUT,
    wait_for: float = 0.0,
) -> Dialer:
    """Return a dialer, which makes a new link to a server at each call.

    Args:
        urls: the URL of the server, or several. Each call tries them in this order,
            each with all addresses of its host, and uses the first that answers.
        options: options of the links.
        connect_timeout: number of seconds that one URL may take to answer.
        wait_for: number of seconds to keep trying, with growing pauses, while no server
            answers for a temporary reason: no server listens yet, the file of the
            socket does not exist yet, or the network is down.

    Raises:
        ValueError: a URL is wrong, or there is none, or an option is out of range.
        TypeError: `urls` is neither a text nor several.
    """
    urls = urls_of(urls)
    options = options or LinkOptions()
    if not urls:
        raise ValueError("expected at least one URL to connect to, got none")
    transports = transports_for(urls, options)
    ways = [
        _Way(url, transport.to_connect(url, options))
        for url, transport in zip(urls, transports, strict=True)
    ]
    return Dialer(ways, _seconds("connect_timeout", connect_timeout), wait_for)


class Dialer:
    """Makes a new link to a server at each call; `dialer` makes one."""

    def __init__(
        self, ways: Sequence[_Way], connect_timeout: float, wait_for: float
    ) -> None:
        if not 0 <= wait_for < math.inf:
            raise ValueError(
                "wait_for: expected a finite number of seconds from 0, "
                f"got {wait_for!r}"
            )
        self._ways = tuple(ways)
        self._connect_timeout = connect_timeout
        self._wait_for = wait_for

    def without_waiting(self) -> Dialer:
        """Return a dialer of the same URLs that does not wait for a server to come up.

        For callers with their own schedule of attempts.
        """
        return Dialer(self._ways, self._connect_timeout, 0.0)

    async def __call__(self) -> Link:
        """Connect. A checkpoint. If cancelled, it leaves nothing open.

        Raises:
            OSError: no URL has answered. The error describes each attempt, with each
                address of a host.
            LinkError: the server speaks another protocol.
        """
        try:
            trio.lowlevel.current_task()
        except RuntimeError:
            check_trio_runs("a connection")  # which says what to do about it
        pauses = _pauses()
        give_up_at = trio.current_time() + self._wait_for
        while True:
            try:
                return await self._try_each()
            except OSError as error:
                left = give_up_at - trio.current_time()
                if left <= 0 or not _may_pass(error):
                    raise
            await trio.sleep(min(next(pauses), left))

    async def _try_each(self) -> Link:
        failures: list[Exception] = []
        for way in self._ways:
            try:
                return await way.connect(self._connect_timeout)
            except (OSError, LinkError) as error:
                failures.append(error)
        try:
            raise _what_became_of(self._ways, failures)
        finally:
            failures.clear()  # break the reference cycle with its traceback

    def __repr__(self) -> str:
        return f"<Dialer of {', '.join(way.shown for way in self._ways)}>"


@attrs.frozen
class _Way:
    """One of the URLs to try."""

    _url: str
    _open: LinkFactory

    @property
    def shown(self) -> str:
        """The URL as it may be shown."""
        return without_secrets(self._url)

    async def connect(self, seconds: float) -> Link:
        with trio.move_on_after(seconds):
            return await self._open()
        raise TimeoutError(
            errno.ETIMEDOUT,
            f"no answer in {seconds} seconds (connect_timeout)",
            self.shown,
        )


def _what_became_of(ways: Sequence[_Way], failures: Sequence[Exception]) -> Exception:
    if len(failures) == 1:
        return _naming(ways[0].shown, failures[0])
    told = "; ".join(
        f"{way.shown}: {_told(error)}"
        for way, error in zip(ways, failures, strict=True)
    )
    error = ConnectionError(f"none of {len(ways)} URLs answered: {told}")
    error.__cause__ = ExceptionGroup("what became of each", failures)
    return error


def _naming(url: str, error: Exception) -> Exception:
    """Return an error of the same class that names the URL."""
    if not isinstance(error, OSError) or error.filename is not None:
        return error  # the path of a socket is enough
    told = f"{_told(error)}: {url!r}"
    if isinstance(error, ssl.SSLError):
        error.strerror = told  # which is all that its text shows
    elif error.errno is None:
        error.args = (told,)
    else:
        error.filename = url
    return error


def _told(error: BaseException) -> str:
    """Return the text of an error, with the errors that it combines."""
    each_of = error.__cause__
    if _stands_for_others(error) and isinstance(each_of, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", each_of)
        each = "; ".join(dict.fromkeys(map(_told, group.exceptions)))
        return f"{error} ({each})"
    return str(error)


def _stands_for_others(error: BaseException) -> bool:
    """Return True for trio's error for a host of which no address has answered."""
    return isinstance(error, OSError) and error.errno is None


def _pauses() -> Iterator[float]:
    pause = _FIRST_WAIT
    while True:
        yield pause
        pause = min(2 * pause, _LONGEST_WAIT)


def _may_pass(error: BaseException) -> bool:
    """Return True if the next attempt may succeed without a correction."""
    if isinstance(error, ssl.SSLError):
        return False
    if isinstance(error, socket.gaierror):
        return error.errno == socket.EAI_AGAIN
    if isinstance(error, ExceptionGroup):
        group = cast("ExceptionGroup[Exception]", error)
        return any(_may_pass(each) for each in group.exceptions)
    if _stands_for_others(error):
        return error.__cause__ is not None and _may_pass(error.__cause__)
    return isinstance(error, OSError) and error.errno in _MAY_PASS


def _seconds(name: str, value: float) -> float:
    if not 0 < value <= math.inf:
        raise ValueError(f"{name}: expected a number of seconds above 0, got {value!r}")
    return value
