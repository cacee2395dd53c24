"""Contexts for TLS, made of the options of a command line."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from pathlib import Path

from ..transports.registry import transport_for
from .exits import UsageError
from .peer_options import PeerOptions

__all__ = ["check_server_tls", "client_tls", "server_tls", "upstream_tls"]


def client_tls(options: PeerOptions, url: str) -> ssl.SSLContext | None:
    """Return the context to connect with; None if no option of TLS is given.

    Args:
        options: the options of the verb.
        url: the server.

    Raises:
        UsageError: a file cannot be read, or is none of certificates or of keys; or
            the server is called without TLS.
    """
    given = (options.ca, options.cert, options.key, options.server_name)
    if not any(given) and not options.insecure:
        return None
    context = _NamedContext(ssl.PROTOCOL_TLS_CLIENT)
    context.server_name = options.server_name
    if options.ca is not None:
        _trust(context, options.ca, "--ca")
    else:
        context.load_default_certs()
    _identify(context, options.cert, options.key)
    if options.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if not _uses_tls(url):
        raise UsageError(f"the options of TLS are for tls:// and wss://, not for {url}")
    return context


def server_tls(
    cert: Path | None, key: Path | None, client_ca: Path | None
) -> ssl.SSLContext | None:
    """Return the context to listen with; None without a certificate.

    Args:
        cert: file of the certificate of the server.
        key: file of its key; None if it is in the file of the certificate.
        client_ca: file of the certificates that those of clients are verified with;
            then clients must have one.

    Raises:
        UsageError: a file cannot be read, or is none of certificates or of keys.
    """
    if cert is None:
        if key is not None or client_ca is not None:
            raise UsageError("--key and --client-ca go with --cert, which is not given")
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    _identify(context, cert, key)
    if client_ca is not None:
        _trust(context, client_ca, "--client-ca")
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def upstream_tls(
    ca: Path | None, cert: Path | None, key: Path | None
) -> ssl.SSLContext | None:
    """Return the context with which a gateway connects to servers; None without files.

    Args:
        ca: file of the certificates that are trusted; None for those of the system.
        cert: file of the certificate of the gateway as a client.
        key: file of its key; None if it is in the file of the certificate.

    Raises:
        UsageError: a file cannot be read, or is none of certificates or of keys.
    """
    if ca is None and cert is None and key is None:
        return None
    context = ssl.create_default_context()
    if ca is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        _trust(context, ca, "--ca")
    _identify(context, cert, key, "--client-")
    return context


def check_server_tls(urls: Sequence[str], context: ssl.SSLContext | None) -> None:
    """Check that a server has a certificate if it needs one, and only then.

    Raises:
        UsageError: it has not; or one is no URL.
    """
    with_tls = next(filter(_uses_tls, urls), None)
    if with_tls is not None and context is None:
        raise UsageError(f"{with_tls}: expected --cert, the certificate of the server")
    if context is not None and with_tls is None:
        raise UsageError("--cert is for tls:// and wss://, and no --listen is one")


def _uses_tls(url: str) -> bool:
    """Return True for a URL of TLS.

    Raises:
        UsageError: it is no URL.
    """
    try:
        return transport_for(url).uses_tls
    except ValueError as error:
        raise UsageError(str(error)) from error


class _NamedContext(ssl.SSLContext):
    """A context that expects one name of all servers."""

    server_name: str | None = None

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        name = self.server_name or server_hostname
        return super().wrap_bio(incoming, outgoing, server_side, name, session)


def _identify(
    context: ssl.SSLContext, cert: Path | None, key: Path | None, start: str = "--"
) -> None:
    """Load a certificate.

    Args:
        context: gets it.
        cert: file of the certificate.
        key: file of its key.
        start: how the names of the options begin.
    """
    if cert is None:
        if key is not None:
            raise UsageError(f"{start}key goes with {start}cert, which is not given")
        return
    try:
        context.load_cert_chain(cert, key)
    except OSError as error:  # an SSLError is one
        raise UsageError(f"{start}cert {cert}: {_why(error)}") from error


def _trust(context: ssl.SSLContext, file: Path, option: str) -> None:
    try:
        context.load_verify_locations(file)
    except OSError as error:
        raise UsageError(f"{option} {file}: {_why(error)}") from error


def _why(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return f"expected certificates or a key in PEM: {error.reason or error}"
    return error.strerror or str(error)
