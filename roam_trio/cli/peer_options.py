"""The options of every verb that connects to a server."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import attrs
import typer

__all__ = ["AsJson", "KeyFile", "PeerOptions", "Url", "with_peer"]

Url = Annotated[
    str,
    typer.Argument(
        metavar="URL",
        help="The server: tcp://host:port, tls://host:port, unix:///path, "
        "ws://host:port/path, wss://host:port/path.",
    ),
]

KeyFile = Annotated[
    Path | None,
    typer.Option(
        "--key",
        metavar="FILE",
        help="TLS: the key of the certificate, in PEM. Default: in the same file.",
        show_default=False,
    ),
]

AsJson = Annotated[
    bool,
    typer.Option(
        "--json", help="Print JSON also on a terminal. Piped output is always JSON."
    ),
]


@attrs.frozen
class PeerOptions:
    """The way to a server, and the services that it offers.

    Attributes:
        services: services of this side's modules, ``[NAME=]MODULE:CLASS``.
        headers: metadata of the calls, ``KEY=VALUE``.
        timeout: number of seconds for everything; None for any number.
        ca: file of the certificates that are trusted.
        cert: file of the certificate of this client.
        key: file of its key.
        server_name: the name for which the certificate of the server must be valid.
        insecure: whether any certificate is accepted.
    """

    services: Sequence[str] = ()
    headers: Sequence[str] = ()
    timeout: float | None = None
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    server_name: str | None = None
    insecure: bool = False


def _options(
    service: Annotated[
        list[str] | None,
        typer.Option(
            "--service",
            metavar="[NAME=]MODULE:CLASS",
            help="A class decorated with @service, for a server that does not describe "
            "its services. NAME is the name under which it is offered; by default that "
            "of the class in kebab-case. May be given several times.",
            show_default=False,
        ),
    ] = None,
    header: Annotated[
        list[str] | None,
        typer.Option(
            "--header",
            "-H",
            metavar="KEY=VALUE",
            help="Metadata to send with each call. May be given several times.",
            show_default=False,
        ),
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            metavar="SECONDS",
            help="Deadline for everything; the server is told how much is left.",
            show_default=False,
        ),
    ] = None,
    ca: Annotated[
        Path | None,
        typer.Option(
            "--ca",
            metavar="FILE",
            help="TLS: certificates to trust, in PEM, in place of those of the system.",
            show_default=False,
        ),
    ] = None,
    cert: Annotated[
        Path | None,
        typer.Option(
            "--cert",
            metavar="FILE",
            help="TLS: the certificate of this client, in PEM.",
            show_default=False,
        ),
    ] = None,
    key: KeyFile = None,
    server_name: Annotated[
        str | None,
        typer.Option(
            "--server-name",
            metavar="NAME",
            help="TLS: the name in the certificate of the server, if it is not the "
            "host of the URL.",
            show_default=False,
        ),
    ] = None,
    insecure: Annotated[
        bool,
        typer.Option(
            "--insecure", help="TLS: accept any certificate. Anybody may listen then."
        ),
    ] = False,
) -> PeerOptions:
    """Return the options as the command line has them."""
    return PeerOptions(
        service or (),
        header or (),
        timeout,
        ca,
        cert,
        key,
        server_name,
        insecure,
    )


def with_peer(verb: Callable[..., None]) -> Callable[..., None]:
    """Give a verb the options of `PeerOptions` in place of its parameter ``peer``.

    Typer reads the options of a command from its signature.
    """
    ours = inspect.signature(_options, eval_str=True).parameters
    theirs = inspect.signature(verb, eval_str=True)
    rest = [each for name, each in theirs.parameters.items() if name != "peer"]

    def command(**given: Any) -> None:
        taken = {name: given.pop(name) for name in ours}
        verb(peer=_options(**taken), **given)

    parameters = [*rest, *ours.values()]
    command.__doc__ = verb.__doc__
    command.__name__ = verb.__name__
    command.__annotations__ = {each.name: each.annotation for each in parameters}
    vars(command)["__signature__"] = inspect.Signature(
        [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in parameters]
    )
    return command
