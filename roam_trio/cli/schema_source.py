"""Descriptions of services from modules, saved files and live servers."""

from __future__ import annotations

from pathlib import Path

from ..errors import SchemaError
from ..service.description.encoding import schema_from_json
from ..service.description.model import ServiceSchema
from .connecting import session_with
from .described import described_by, near
from .exits import UsageError
from .local_services import service_at
from .peer_options import PeerOptions

__all__ = ["is_url", "local_schema", "remote_schema"]


def is_url(source: str) -> bool:
    """Return True if a source is a live server."""
    return "://" in source


def local_schema(source: str) -> ServiceSchema:
    """Return the description of a class, ``module:Class``, or of a saved file.

    Raises:
        UsageError: there is none.
    """
    path = Path(source)
    if ":" in source and not path.exists():
        return service_at(source).schema
    try:
        return schema_from_json(path.read_bytes())
    except OSError as error:
        raise UsageError(f"{source}: {error.strerror}") from error
    except SchemaError as error:
        raise UsageError(f"{source}: {error}") from error


async def remote_schema(
    url: str, peer: PeerOptions, name: str | None, alike: str | None
) -> ServiceSchema:
    """Return the description of one service of a server.

    Args:
        url: the server.
        peer: how to connect.
        name: the name under which the service is offered; None to choose it.
        alike: the name of the class with which it is compared; None if unknown.

    Raises:
        UsageError: there is no such service, or it is not clear which one is meant.
    """
    async with session_with(url, peer) as session:
        described = await described_by(session, peer)
    if name is not None:
        if name not in described:
            raise UsageError(near("service", name, described))
        return described[name]
    found = [each for each in described.values() if each.name == alike]
    if len(found) != 1:
        found = list(described.values())
    if len(found) != 1:
        raise UsageError(
            f"--name: expected the name of one of the services of {url}: "
            f"{', '.join(described)}"
        )
    return found[0]
