"""`gateway`: many clients in, pools of servers out."""

from __future__ import annotations

import enum
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final

import attrs
import typer

from ...endpoints.gateway.figures import ROUTES, offer_figures
from ...endpoints.gateway.gateway import Gateway, gateway
from ...endpoints.gateway.routes import Route
from ...endpoints.lasting.balancing import Balance
from ...endpoints.lasting.staying import StayingConnected
from ...endpoints.serve import serve
from ...endpoints.server import Server
from ...endpoints.statistics import STATISTICS
from ...limits import Limits
from ..exits import Exit, UsageError
from ..gateway_options import FIGURES, Allowed, routes_of
from ..log_format import LogFormat, begin_log
from ..output import Output
from ..peer_options import AsJson, KeyFile
from ..performing import perform
from ..serving_until_signal import serve_until_signal
from ..tls_options import check_server_tls, server_tls, upstream_tls

__all__ = ["Passing", "command", "run_gateway"]

_Files = tuple[Path | None, Path | None, Path | None]


class BalanceOption(enum.StrEnum):
    """The rules that choose a server."""

    FIRST = "first"
    ROUND_ROBIN = "round-robin"
    LEAST_BUSY = "least-busy"


_BALANCE: Final[dict[BalanceOption, Balance]] = {
    BalanceOption.FIRST: "first",
    BalanceOption.ROUND_ROBIN: "round robin",
    BalanceOption.LEAST_BUSY: "least busy",
}


def command(
    route: Annotated[
        list[str],
        typer.Option(
            metavar="[SERVICE=]URL[,URL...]",
            help="The servers of a service: bank=tcp://a:7000,tcp://b:7000, "
            "bank=srv+tcp://_bank._tcp.example, bank=dns+tcp://bank:7000, or "
            "bank=redis://valkey for those in a registry. Without SERVICE: the servers "
            "of all other services, and of calls on the root connection. May be given "
            "several times.",
        ),
    ],
    listen: Annotated[
        list[str],
        typer.Option(
            metavar="URL",
            help="Where to listen: tcp://:7000, tls://:7000, unix:///path, ws://..., "
            "wss://.... May be given several times.",
        ),
    ],
    allow: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SERVICE=CLIENT",
            help="A client that may use the service: the common name, the subject or "
            "an alternative name of its certificate, or uid:1000 on a Unix socket. "
            "Without one, all clients may use the service. SERVICE may be statistics. "
            "May be given several times.",
            show_default=False,
        ),
    ] = None,
    trust: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CLIENT",
            help="A client, named as for --allow, that shares sessions with the "
            "servers. May be given several times.",
            show_default=False,
        ),
    ] = None,
    balance: Annotated[
        BalanceOption, typer.Option(help="The server that gets a connection.")
    ] = BalanceOption.LEAST_BUSY,
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
            metavar="FILE",
            help="TLS: the certificate of the gateway, in PEM.",
            show_default=False,
        ),
    ] = None,
    key: KeyFile = None,
    client_ca: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="TLS: clients must have a certificate that one of these has signed.",
            show_default=False,
        ),
    ] = None,
    ca: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="TLS to the servers: certificates to trust, in place of those of the "
            "system.",
            show_default=False,
        ),
    ] = None,
    client_cert: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="TLS to the servers: the certificate of the gateway as their client.",
            show_default=False,
        ),
    ] = None,
    client_key: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="TLS to the servers: the key of that. Default: in the same file.",
            show_default=False,
        ),
    ] = None,
    origin: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ORIGIN",
            help="A web origin that may connect over WebSocket, such as "
            "https://example.org. May be given several times.",
            show_default=False,
        ),
    ] = None,
    max_sessions: Annotated[
        int, typer.Option(min=1, metavar="NUMBER", help="Clients at a time.")
    ] = 1024,
    max_sessions_per_peer: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="NUMBER",
            help="Sessions of one identity, or of one address without an identity.",
            show_default=False,
        ),
    ] = None,
    max_connections: Annotated[
        int, typer.Option(min=1, metavar="NUMBER", help="Connections of one client.")
    ] = Limits().connections,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Keep sessions of clients whose connections are lost."
        ),
    ] = False,
    statistics: Annotated[
        bool,
        typer.Option(
            "--statistics",
            help="Let clients see the sessions and the servers, with addresses; "
            "--allow statistics=CLIENT says which clients.",
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
    """Pass connections of clients on to pools of servers, until SIGTERM or Control-C.

    A client opens a service by its name, and the gateway opens it at a server of the
    route with this name. Prints the URLs at which it listens. On SIGTERM or Control-C
    it listens no longer, tells its clients, lets calls go on for the grace, and ends; a
    second signal ends it at once.
    """
    given = Passing(
        routes=route,
        urls=listen,
        allow=allow or [],
        trust=trust or [],
        balance=_BALANCE[balance],
        grace=grace,
        tls_files=(cert, key, client_ca),
        upstream_files=(ca, client_cert, client_key),
        statistics=statistics,
        served={
            "origins": origin or [],
            "resume": resume,
            "max_sessions": max_sessions,
            "max_sessions_per_peer": max_sessions_per_peer,
            "limits": Limits(connections=max_connections),
        },
    )
    log = (log_format, log_level)
    perform("gateway", partial(run_gateway, given, log, as_json=as_json))


@attrs.frozen(kw_only=True)
class Passing:
    """The options of a gateway.

    Attributes:
        routes: its routes, ``[SERVICE=]URL[,URL...]``.
        urls: where it listens.
        allow: the clients that may use services, ``SERVICE=CLIENT``.
        trust: clients that share sessions with the servers.
        balance: chooses a server.
        grace: number of seconds for which calls may go on in the end.
        tls_files: files of its certificate, of the key, and of those who sign the
            certificates of clients.
        upstream_files: files of the certificates to trust, of its certificate as a
            client of the servers, and of the key of that.
        statistics: whether it tells about itself.
        served: options of `serve`.
    """

    routes: list[str]
    urls: list[str]
    allow: list[str]
    trust: list[str]
    balance: Balance
    grace: float
    tls_files: _Files
    upstream_files: _Files
    statistics: bool
    served: dict[str, Any]

    @property
    def allowed(self) -> Allowed:
        """The clients that may use each service.

        Raises:
            UsageError: an option has another form.
        """
        return Allowed.of(self.allow)

    def gateway(self) -> StayingConnected[Gateway]:
        """Return the gateway, to be entered.

        Raises:
            UsageError: an option is wrong, or a file cannot be read.
        """
        routes = routes_of(self.routes, self.allowed)
        self._check(routes)
        try:
            return gateway(
                routes,
                trusted=self.trust,
                balance=self.balance,
                ssl_context=upstream_tls(*self.upstream_files),
            )
        except ValueError as error:  # of a URL
            raise UsageError(f"--route: {error}") from error

    def _check(self, routes: list[Route]) -> None:
        names = [each.name for each in routes]
        self.allowed.check(names, has_figures=self.statistics)
        if self.statistics:
            for name in (ROUTES, STATISTICS):
                if name in names:
                    raise UsageError(
                        f"--route: expected another name than {name!r}, under which "
                        "--statistics offers what the gateway tells"
                    )
        has_names = self.tls_files[2] or any(u.startswith("unix:") for u in self.urls)
        if (self.allow or self.trust) and not has_names:
            raise UsageError(
                "--allow and --trust name clients: expected --client-ca, for their "
                "certificates, or a unix:// URL to listen at"
            )

    def serve(self, passing_on: Gateway) -> Any:
        """Return a function for ``nursery.start``.

        Raises:
            UsageError: a file cannot be read.
        """
        context = server_tls(*self.tls_files)
        check_server_tls(self.urls, context)
        return partial(
            serve,
            self.urls,
            passing_on.handler,
            on_connection=passing_on,
            ssl_context=context,
            reflection=True,
            **self.served,
        )

    def offer_figures(self, passing_on: Gateway, server: Server) -> None:
        """Let clients see the figures of a gateway, if they are to see them."""
        if self.statistics:
            offer_figures(server, passing_on, self.allowed.names.get(FIGURES))


async def run_gateway(
    given: Passing, log: tuple[LogFormat, str], *, as_json: bool
) -> Exit:
    """Pass connections on until a signal comes, and shut down within the grace."""
    begin_log(*log)
    async with given.gateway() as passing_on:
        return await serve_until_signal(
            given.serve(passing_on),
            given.grace,
            Output(as_json=as_json),
            partial(given.offer_figures, passing_on),
        )
