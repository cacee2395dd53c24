"""Connections to the server of a verb."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import trio

from ..endpoints.connect import connect
from ..service.dynamic import DynamicClient, dynamic, dynamic_client
from ..session import Session
from .described import Described, Target
from .exits import UsageError
from .peer_options import PeerOptions
from .tls_options import client_tls

__all__ = ["client_for", "session_with"]


@asynccontextmanager
async def session_with(url: str, options: PeerOptions) -> AsyncGenerator[Session]:
    """Connect to a server for the length of a block, within ``--timeout``.

    Raises:
        UsageError: the URL, or an option, is wrong.
        trio.TooSlowError: the time is over.
        OSError, RoamTrioError: as `connect`.
    """
    headers = _headers_of(options)
    context = client_tls(options, url)
    with trio.fail_after(math.inf if options.timeout is None else options.timeout):
        try:
            connecting = connect(
                url,
                metadata=headers,
                metadata_for_calls=headers,
                ssl_context=context,
            )
        except (ValueError, ImportError) as error:  # a package that the URL needs
            raise UsageError(str(error)) from error
        async with connecting as session:
            yield session


def _headers_of(options: PeerOptions) -> dict[str, str]:
    headers: dict[str, str] = {}
    for given in options.headers:
        key, equals, value = given.partition("=")
        if not (key and equals):
            raise UsageError(f"-H {given}: expected KEY=VALUE, as in -H user=Ada")
        headers[key] = value
    return headers


@asynccontextmanager
async def client_for(
    session: Session, target: Target, described: Described
) -> AsyncGenerator[DynamicClient]:
    """Return a client of the service of a target for the length of a block.

    Raises:
        UsageError: it is none of the described services.
        RoamTrioError: the server does not offer it.
    """
    schema = target.schema(described)
    if target.service not in ("", described.root):
        async with dynamic(session, target.service, schema, for_json=True) as client:
            yield client
    else:
        defaults = session.for_clients
        yield dynamic_client(
            schema,
            session.caller,
            metadata_for_calls=defaults.metadata,
            for_json=True,
        )
