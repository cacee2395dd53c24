"""Logging of this package: safe, legible, and within a budget.

A peer can cause most log records, and determines parts of their text. Therefore no
other module uses `logging`. Each has ``logger = Log("roam_trio.session")``, which has
the methods of a `logging.Logger` and ensures that

* text of a peer stays on one line, and is cut (`roam_trio.legible`);
* an error of a codec is logged without the value;
* a flood of records becomes a few records and a count (`roam_trio.log_budget`);
* a record about a peer names its address: in the tasks of a session, handlers
  included, and wherever `about` says so;
* every record has the attributes `FIELDS`, for formatters and filters;
* a `logging.Handler` that raises has no other effect.

Tracebacks are logged as text, because some log handlers keep the objects of a record,
and the frames of a traceback would keep the channels of a handler open.
"""

from __future__ import annotations

import logging
import sys
from contextlib import suppress
from contextvars import ContextVar, Token
from functools import partial
from typing import Final, TypedDict, Unpack

import attrs

from .errors import CodecError
from .failures import is_failure, split_failure, text_of
from .legible import legible, legible_str
from .log_budget import current_log_budget
from .peers import Peer
from .tracebacks import traceback_of

__all__ = [
    "FIELDS",
    "SILENT",
    "About",
    "Log",
    "about",
    "forget_peer",
    "note_address",
    "note_peer",
]

_MOST_OF_ONE: Final = 1000
"""Maximum length, in characters, of each text in a message."""

_FRAMES_HERE: Final = 4
"""Number of frames between the call of a method of `Log` and `findCaller`."""

FIELDS: Final = ("roam_method", "roam_peer", "roam_connection", "roam_error_id")
"""Attributes of each record; None for what it is not about."""

SILENT: Final = logging.Logger("roam_trio.silent", level=logging.CRITICAL + 1)
"""Logger for libraries that would log raw data of a peer at level DEBUG."""


@attrs.frozen
class _Place:
    address: str


_peer: ContextVar[Peer | _Place | None] = ContextVar("roam_trio_peer", default=None)


def note_peer(peer: Peer) -> Token[Peer | _Place | None]:
    """Name the address of a peer in what this task logs, and tasks that it starts.

    Returns:
        what `forget_peer` takes.
    """
    return _peer.set(peer)


def note_address(address: str) -> None:
    """As `note_peer`, for a peer of which nothing but the address is known yet."""
    _peer.set(_Place(address))


def forget_peer(noted: Token[Peer | _Place | None]) -> None:
    """Name again the peer from before `note_peer`, if any."""
    _peer.reset(noted)


class about:
    """Name the address of a peer in what a block logs, and tasks that it starts.

    The address is the one that the peer has when a record is made. A record that names
    it already is left as it is.

    Args:
        peer: the peer.
    """

    __slots__ = ("_before", "_peer")

    def __init__(self, peer: Peer) -> None:
        self._peer = peer

    def __enter__(self) -> None:
        self._before = _peer.set(self._peer)

    def __exit__(self, *args: object) -> None:
        _peer.reset(self._before)


def _with_address(
    message: str, args: tuple[object, ...]
) -> tuple[str, tuple[object, ...]]:
    """Return a message and its arguments with the address of the peer, if known."""
    peer = _peer.get()
    if peer is None:
        return message, args
    address = _legible(peer.address)
    if any(str(address) in str(arg) for arg in args):
        return message, args
    return f"{message} (%s)", (*args, address)


class About(TypedDict, total=False):
    """The subject of a record, besides the peer.

    Attributes:
        method: the method of the call; its text is ``Service.method``.
        connection: the id of the connection.
        error_id: the id of the failure that the peer is told.
    """

    method: object
    connection: int
    error_id: str | None


class Log:
    """The logger of a module, under the name of a logger of `logging`.

    The methods are those of `logging.Logger`, and take what the record is about by
    name. The message must be a literal: records with the same message are of one kind,
    and share a budget. Exceptions of log handlers and filters do not propagate, except
    KeyboardInterrupt, SystemExit and `trio.Cancelled`.

    Args:
        name: the name of the logger.
        in_budget: whether the records share the budgets of sessions and servers.
    """

    def __init__(self, name: str, *, in_budget: bool = True) -> None:
        self._logger = logging.getLogger(name)
        self._in_budget = in_budget

    @property
    def is_for_debugging(self) -> bool:
        """True if records of level DEBUG are logged now."""
        return self._logger.isEnabledFor(logging.DEBUG)

    def debug(self, message: str, *args: object, **about: Unpack[About]) -> None:
        """Log details for debugging."""
        self._log(logging.DEBUG, message, args, about, None)

    def info(self, message: str, *args: object, **about: Unpack[About]) -> None:
        """Log an event that is rare but normal."""
        self._log(logging.INFO, message, args, about, None)

    def warning(self, message: str, *args: object, **about: Unpack[About]) -> None:
        """Log a fault of a peer, or a refusal."""
        self._log(logging.WARNING, message, args, about, None)

    def error(
        self,
        message: str,
        *args: object,
        exc_info: BaseException | None = None,
        **about: Unpack[About],
    ) -> None:
        """Log a fault on this side, with the traceback of an exception."""
        self._log(logging.ERROR, message, args, about, exc_info)

    def exception(self, message: str, *args: object, **about: Unpack[About]) -> None:
        """Log as `error` does, with the exception that is being handled."""
        self._log(logging.ERROR, message, args, about, sys.exception())

    def failure(
        self,
        error: BaseException,
        message: str,
        *args: object,
        **about: Unpack[About],
    ) -> None:
        """Log an exception of user code, caught with ``except BaseException``.

        Raises:
            BaseException: the part of `error` that must propagate, which is not logged
                (`roam_trio.failures`).
        """
        failure, through = split_failure(error)
        if failure is not None:
            self._log(logging.ERROR, message, args, about, failure)
        try:
            if through is error:
                raise error
            if through is not None:
                raise through from None
        finally:
            # Break the reference cycle between the raised exception and this frame.
            del error, failure, through

    def _log(
        self,
        level: int,
        message: str,
        args: tuple[object, ...],
        about: About,
        error: BaseException | None,
    ) -> None:
        try:
            if self._logger.isEnabledFor(level):
                self._log_in_budget(level, message, args, _fields(about), error)
        except BaseException as failure:
            if not is_failure(failure):
                raise
            _tell_of(failure)

    def _log_in_budget(
        self,
        level: int,
        message: str,
        args: tuple[object, ...],
        fields: dict[str, object],
        error: BaseException | None,
    ) -> None:
        # Records are of one kind with or without an address.
        kind = message
        message, args = _with_address(message, tuple(map(_legible, args)))
        budget = current_log_budget() if self._in_budget else None
        if budget is not None:
            report = partial(self._report, level, message, args, fields)
            if not budget.take(kind, report):
                return
        file, line, function, _ = self._logger.findCaller(stacklevel=_FRAMES_HERE)
        self._emit(level, (file, line, function), message, args, fields, error)

    def _report(
        self,
        level: int,
        message: str,
        args: tuple[object, ...],
        fields: dict[str, object],
        left_out: int,
        limit: str,
    ) -> None:
        try:
            where = (__file__, 0, "_report")
            told = f"%d more like this were not logged (limit: %s): {message}"
            self._emit(level, where, told, (left_out, limit, *args), fields, None)
        except BaseException as failure:
            # In a system task, any exception would end the run of trio.
            _tell_of(failure)

    def _emit(
        self,
        level: int,
        where: tuple[str, int, str],
        message: str,
        args: tuple[object, ...],
        fields: dict[str, object],
        error: BaseException | None,
    ) -> None:
        raised = None
        if error is not None:
            raised = (type(error), error, error.__traceback__)
        file, line, function = where
        name = self._logger.name
        record = self._logger.makeRecord(
            name, level, file, line, message, args, raised, function, fields
        )
        if error is None:
            self._logger.handle(record)
            return
        record.exc_text = traceback_of(error)
        try:
            self._logger.handle(record)
        finally:
            record.exc_info = (type(error), error, None)


def _fields(about: About) -> dict[str, object]:
    """Return the attributes of a record; None for what it is not about."""
    peer, method = _peer.get(), about.get("method")
    values = (
        None if method is None else legible_str(method, _MOST_OF_ONE),
        None if peer is None else legible(peer.address, _MOST_OF_ONE),
        about.get("connection"),
        about.get("error_id"),
    )
    return dict(zip(FIELDS, values, strict=True))


def _legible(arg: object) -> object:
    if isinstance(arg, int | float):
        return arg
    if isinstance(arg, CodecError):
        arg = arg.without_values
    return legible_str(arg, _MOST_OF_ONE)


def _tell_of(failure: BaseException) -> None:
    """Report a failure of logging in the same place as `logging` does."""
    if logging.raiseExceptions:
        what = legible(f"{type(failure).__name__}: {text_of(failure)}")
        with suppress(Exception):
            print(f"roam_trio could not log: {what}", file=sys.stderr)
