"""Servers, made of the options of a verb and the handlers of a module."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, cast

import attrs

from ..endpoints.serve import serve as serve_clients
from ..rpc.handler import Handler, check_handlers
from ..service.waiting import is_async
from ..session import OnSession
from .exits import UsageError
from .local_services import object_at
from .tls_options import check_server_tls, server_tls

__all__ = ["Serving", "handlers_at"]


@attrs.frozen
class Serving:
    """The options of a server.

    Attributes:
        urls: where it listens.
        grace: number of seconds for which calls may go on in the end.
        resume: whether it keeps the sessions of clients that are lost.
        tls_files: files of its certificate, of the key, and of those who sign the
            certificates of clients.
        reflection: whether it describes its services.
        statistics: whether it tells its sessions.
        max_sessions: number of clients at a time.
        on_session: the function that decides on each client, as ``module:name``; empty
            if there is none.
    """

    urls: list[str]
    grace: float = 10.0
    resume: bool = False
    tls_files: tuple[Path | None, Path | None, Path | None] = (None, None, None)
    reflection: bool = False
    statistics: bool = False
    max_sessions: int = 1024
    on_session: str = ""

    def context(self) -> ssl.SSLContext | None:
        """Return the context of TLS; None without a certificate.

        Raises:
            UsageError: a file cannot be read, or the URLs need another one.
        """
        context = server_tls(*self.tls_files)
        check_server_tls(self.urls, context)
        return context

    def serve(self, handler: Handler | Mapping[str, Handler], **options: Any) -> Any:
        """Return a function for ``nursery.start``.

        Args:
            handler: the handlers.
            options: more options of `serve`.

        Raises:
            UsageError: a file cannot be read, or there is no such function.
        """
        given: dict[str, Any] = {
            "ssl_context": self.context(),
            "resume": self.resume,
            "reflection": self.reflection,
            "statistics": self.statistics,
            "max_sessions": self.max_sessions,
        }
        if self.on_session:
            given["on_session"] = _decision_at(self.on_session)
        return partial(serve_clients, self.urls, handler, **(given | options))


def handlers_at(specification: str) -> Handler | Mapping[str, Handler]:
    """Return the handlers, given as ``module:name``.

    Raises:
        UsageError: there are none.
    """
    found = object_at(specification, "shop:handlers")
    handlers = found() if _makes_handlers(found) else found
    try:
        check_handlers(handlers)
    except TypeError as error:
        raise UsageError(f"{specification}: {error}") from error
    return cast("Handler | Mapping[str, Handler]", handlers)


def _decision_at(specification: str) -> OnSession:
    """Return the function that decides on clients, given as ``module:name``.

    Raises:
        UsageError: there is none.
    """
    found = object_at(specification, "shop:welcome")
    is_function = callable(found) and not isinstance(found, type)
    if not (is_function and is_async(found)):
        raise UsageError(
            f"{specification}: expected an async function that gets the Peer and "
            f"decides, got {found!r}"
        )
    return cast("OnSession", found)


def _makes_handlers(found: Any) -> bool:
    """Return True for a function, and False for a handler or a class."""
    is_other = hasattr(found, "handle") or isinstance(found, type)
    return callable(found) and not is_other
