"""Schemas of peers that are too long to be sent when a connection is opened."""

from __future__ import annotations

import trio
from attrs import evolve

from ..errors import ConnectionLost, NoReflection, RoamError, SchemaError
from ..legible import legible_str
from ..rpc.connection import AnySession
from ..rpc.expected_service import OfferedSchema
from ..rpc.offered import RESERVED_NAMES

__all__ = ["fetch_schema"]


async def fetch_schema(
    session: AnySession, name: str, offered: OfferedSchema
) -> OfferedSchema:
    """Ask a peer for the schema of a service, and return it with what it has told.

    A peer that offers no ``reflection`` has sent all that it will tell. One that does
    not answer within `Limits.handshake_seconds` tells no more either.

    Args:
        session: the session with the peer.
        name: the name under which the peer offers the service; empty for the root
            connection.
        offered: what the peer has told.

    Raises:
        ConnectionLost: the session has ended.
    """
    if name in RESERVED_NAMES:
        return offered  # it would be asked for itself
    # Only now, because it is seldom needed.
    from ..service.reserved.asking import describe_one

    seconds = session.limits.handshake_seconds
    try:
        with trio.fail_after(seconds):
            return evolve(offered, fetched=await describe_one(session, name))
    except ConnectionLost:
        raise
    except NoReflection:
        return offered
    except trio.TooSlowError:
        missing = f"nor has it answered within {seconds:g} s (limit: handshake_seconds)"
    except (RoamError, SchemaError) as error:
        missing = f"nor can it be asked: {legible_str(error)}"
    return evolve(offered, missing=missing)
