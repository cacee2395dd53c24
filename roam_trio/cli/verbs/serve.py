"""`serve`: a server of the handlers of a module."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any, cast

import attrs
import typer

from ...endpoints.serve import serve as serve_clients
from ...rpc.handler import Handler, check_handlers
from ..exits import Exit, UsageError
from ..local_services import object_at
from ..log_format import LogFormat, begin_log
from ..output import Output
from ..peer_options import AsJson, KeyFile
from ..performing import perform
from ..serving_until_signal import serve_until_signal
from ..tls_options import check_server_tls, server_tls

__all__ = ["Serving", "command", "run_server"]


def command(
    handlers: Annotated[
        str,
        typer.Argument(
            metavar="MODULE:NAME",
            help="A handler, such as dispatcher(Shop, ShopImpl()), a mapping from the "
            "names of services to handlers, or a function without arguments that "
            "returns one of these.",
        ),
    ],
    listen: Annotated[
        list[str],
        typer.Option(
            metavar="URL",
            help="Where to listen: tcp://127.0.0.1:7000, tls://:7000, unix:///path, "
            "ws://…, wss://…. May be given several times.",
        ),
    ],
    grace: Annotated[
        float,
        typer.Option(
            min=0.0,
            metavar="SECONDS",
            help="How long calls may go on after SIGTERM or Control-C.",
        ),
    ] = 10.0,
    cert: Annotated[
        Path | None,
        typer.Option(
            "--cert",
            metavar="FILE",
            help="TLS: the certificate of the server, in PEM.",
            show_default=False,
        ),
    ] = None,
    key: KeyFile = None,
    client_ca: Annotated[
        Path | None,
        typer.Option(
            "--client-ca",
            metavar="FILE",
            help="TLS: clients must have a certificate that one of these has signed.",
            show_default=False,
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Keep sessions of clients whose connections are lost."
        ),
    ] = False,
    reflection: Annotated[
        bool,
        typer.Option(
            "--reflection/--no-reflection",
            help="Tell clients which services there are, and their health.",
        ),
    ] = False,
    statistics: Annotated[
        bool,
        typer.Option(
            "--statistics",
            help="Let clients see the sessions of the server, with addresses: `top`.",
        ),
    ] = False,
    log_format: Annotated[
        LogFormat, typer.Option(help="The form of log lines on standard error.")
    ] = LogFormat.TEXT,
    log_level: Annotated[
        str, typer.Option(metavar="LEVEL", help="debug, info, warning or error.")
    ] = "info",
    as_json: AsJson = False,
) -> None:
    """Serve the handlers of a module until SIGTERM or Control-C.

    Prints the URLs at which the server listens. On SIGTERM or Control-C it listens no
    longer, lets calls go on for the grace, and ends; a second signal ends it at once.
    """
    given = Serving(
        listen, grace, resume, (cert, key, client_ca), reflection, statistics
    )
    log = (log_format, log_level)
    perform("serve", partial(run_server, handlers, given, log, as_json=as_json))


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
    """

    urls: list[str]
    grace: float = 10.0
    resume: bool = False
    tls_files: tuple[Path | None, Path | None, Path | None] = (None, None, None)
    reflection: bool = False
    statistics: bool = False

    def serve(self, handler: Handler | Mapping[str, Handler]) -> Any:
        """Return a function for ``nursery.start``.

        Raises:
            UsageError: a file cannot be read.
        """
        context = server_tls(*self.tls_files)
        check_server_tls(self.urls, context)
        return partial(
            serve_clients,
            self.urls,
            handler,
            ssl_context=context,
            resume=self.resume,
            reflection=self.reflection,
            statistics=self.statistics,
        )


async def run_server(
    handlers: str,
    given: Serving,
    log: tuple[LogFormat, str] = (LogFormat.TEXT, "info"),
    *,
    as_json: bool = False,
) -> Exit:
    """Serve until a signal comes, and shut down within the grace."""
    begin_log(*log)
    output, serve = Output(as_json=as_json), given.serve(_handlers_at(handlers))
    return await serve_until_signal(serve, given.grace, output)


def _handlers_at(specification: str) -> Handler | Mapping[str, Handler]:
    found = object_at(specification, "shop:handlers")
    handlers = found() if _makes_handlers(found) else found
    try:
        check_handlers(handlers)
    except TypeError as error:
        raise UsageError(f"{specification}: {error}") from error
    return cast("Handler | Mapping[str, Handler]", handlers)


def _makes_handlers(found: Any) -> bool:
    """Return True for a function, and False for a handler or a class."""
    is_other = hasattr(found, "handle") or isinstance(found, type)
    return callable(found) and not is_other
