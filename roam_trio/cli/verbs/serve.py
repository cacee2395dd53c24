"""`serve`: a server of the handlers of a module."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from ..exits import Exit, UsageError
from ..log_format import LogFormat, begin_log
from ..output import Output
from ..peer_options import AsJson, KeyFile
from ..performing import perform
from ..server_options import Serving, handlers_at
from ..serving_until_signal import serve_until_signal

__all__ = ["command", "run_server"]


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
    max_sessions: Annotated[
        int,
        typer.Option(
            min=1, metavar="NUMBER", help="Clients at a time, of each process."
        ),
    ] = 1024,
    on_session: Annotated[
        str,
        typer.Option(
            metavar="MODULE:NAME",
            help="An async function that decides on each client: it gets the Peer, and "
            "raises Refused, sets Peer.identity, or returns handlers for it.",
            show_default=False,
        ),
    ] = "",
    workers: Annotated[
        int,
        typer.Option(
            min=0,
            metavar="N",
            help="Serve with N processes of one interpreter each, which are restarted "
            "when they die; SIGHUP replaces them one by one. By default, this process "
            "serves alone.",
            show_default=False,
        ),
    ] = 0,
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
        listen,
        grace,
        resume,
        (cert, key, client_ca),
        reflection,
        statistics,
        max_sessions,
        on_session,
    )
    log = (log_format, log_level)
    if workers:
        run = partial(_run_workers, handlers, given, workers, log, as_json=as_json)
        perform("serve", run)
    perform("serve", partial(run_server, handlers, given, log, as_json=as_json))


async def _run_workers(
    handlers: str,
    given: Serving,
    workers: int,
    log: tuple[LogFormat, str],
    *,
    as_json: bool,
) -> int:
    if sys.platform == "win32":
        raise UsageError(
            "--workers needs a system on which processes pass sockets to each other, "
            "such as Linux or macOS; leave it out, and one process serves"
        )
    else:  # type checkers leave it out on Windows
        # Only now: most servers are alone.
        from ..workers.run import run_parent

        return await run_parent(handlers, given, workers, log, as_json=as_json)


async def run_server(
    handlers: str,
    given: Serving,
    log: tuple[LogFormat, str] = (LogFormat.TEXT, "info"),
    *,
    as_json: bool = False,
) -> Exit:
    """Serve until a signal comes, and shut down within the grace."""
    begin_log(*log)
    output, serve = Output(as_json=as_json), given.serve(handlers_at(handlers))
    return await serve_until_signal(serve, given.grace, output)
