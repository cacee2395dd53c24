"""`describe_remote`, which asks a peer what it serves.

The answers are data that a peer has chosen. They are bounded while they arrive, and
checked in turns, so that a large description does not hold other tasks up.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from ...errors import (
    IncompatibleService,
    NoReflection,
    SchemaError,
    SessionRejected,
    UnknownMethod,
    UserError,
)
from ...legible import legible
from ...rpc.channel import Rx
from ...rpc.connection import AnySession
from ...rpc.offered import REFLECTION
from ..description.encoding import (
    MOST_BYTES,
    MOST_METHODS,
    MOST_TYPES,
    check_count,
    check_name,
    checked_schema,
    unchecked_schema,
)
from ..description.model import MethodSchema, ServiceSchema, TypeSchema
from ..description.rebuilding import descriptor_of
from ..descriptor import MethodDescriptor, ServiceDescriptor
from ..open_call import open_call
from ..remote import RemoteServices
from ..steps import in_turns
from .classes import Reflection, ReflectionProblem

__all__ = ["MOST_DESCRIBED", "MOST_SERVICES", "describe_remote"]

MOST_DESCRIBED: Final = 16 * 1024 * 1024
"""Length, in bytes, of all descriptions of a peer together, unless given."""

MOST_SERVICES: Final = 4096
"""Number of services that a peer can describe."""


async def describe_remote(
    session: AnySession, *, most_bytes: int = MOST_DESCRIBED
) -> RemoteServices:
    """Ask a peer what it serves, and return the descriptions.

    The peer has to offer the reserved service ``reflection``, as
    ``serve(..., reflection=True)`` does. The calls are made on a connection of their
    own, with the middleware and the metadata of the session. A checkpoint; if
    cancelled, it leaves nothing open.

    Everything in the descriptions is checked, as `schema_from_json` does.

    Args:
        session: the session with the peer.
        most_bytes: maximum length, in bytes, of all descriptions together.

    Raises:
        NoReflection: the peer does not offer ``reflection``.
        SchemaError: a description is wrong, or exceeds a bound.
        ConnectionLost: the session has ended.
        RoamError: another outcome of a call, such as `Refused` by middleware.
    """
    asking = _Asking(most_bytes)
    try:
        async with session.open(Reflection, REFLECTION) as reflection:
            return await asking.all_of(reflection)
    except (IncompatibleService, SessionRejected, UnknownMethod) as cause:
        raise NoReflection(
            f"expected the peer to offer the service {REFLECTION!r}, got: {cause}; "
            "start it with serve(..., reflection=True), or use the classes of its "
            "services"
        ) from cause


async def describe_one(session: AnySession, name: str) -> ServiceSchema:
    """Ask a peer for the description of one service, as `describe_remote` does for all.

    Args:
        session: the session with the peer.
        name: the name of the service; empty for that of the root connection.

    Raises:
        NoReflection: the peer does not offer ``reflection``, or does not describe the
            service.
        SchemaError: the description is wrong, or exceeds a bound.
        ConnectionLost: the session has ended.
        RoamError: another outcome of a call.
    """
    try:
        async with session.open(Reflection, REFLECTION) as reflection:
            return await _Asking(MOST_DESCRIBED).one(reflection, name)
    except (
        IncompatibleService,
        SessionRejected,
        UnknownMethod,
        UserError,
    ) as cause:
        raise NoReflection(
            f"expected the peer to describe the service {legible(name)!r}, got: {cause}"
        ) from cause


class _Asking:
    """Asks for all descriptions of a peer, within a bound."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._left = most_bytes

    async def all_of(self, reflection: Reflection) -> RemoteServices:
        names = await reflection.services()
        check_count("services", len(names), MOST_SERVICES, "peer")
        found: dict[str, ServiceDescriptor] = {}
        undescribed: list[str] = []
        for name in names:
            check_name(name, f"peer.{legible(name)}", least=0)
            try:
                schema = await self.one(reflection, name)
            except UserError as error:
                if error.error is ReflectionProblem.UNDESCRIBED:
                    undescribed.append(name)
                # Or it has just been withdrawn.
            else:
                found[name] = _descriptor(schema)
        root = found.pop("", None)
        return RemoteServices(found, root, undescribed)

    async def one(self, reflection: Reflection, name: str) -> ServiceSchema:
        async with open_call(reflection.describe, name) as call:
            parts = await self._received(call.rx, name)
            number = await call.result()
        if not parts or number != len(parts):
            raise SchemaError(
                f"the peer says that it has sent {number} parts; {len(parts)} came",
                legible(name),
            )
        return await in_turns(checked_schema(_joined(parts)))

    async def _received(self, rx: Rx[bytes], name: str) -> list[ServiceSchema]:
        parts: list[ServiceSchema] = []
        methods = types = 0
        where = legible(name)
        async for text in rx:
            check_count("bytes in a part", len(text), MOST_BYTES, where)
            self._left -= len(text)
            if self._left < 0:
                raise SchemaError(
                    f"the descriptions up to this one have more than "
                    f"{self._most_bytes} bytes; describe_remote(most_bytes=...) "
                    "allows more",
                    where,
                )
            part = unchecked_schema(text)
            if parts and not (part.methods or part.types):
                raise SchemaError("a part has neither methods nor types", where)
            methods += len(part.methods)
            types += len(part.types)
            check_count("methods", methods, MOST_METHODS, where)
            check_count("types", types, MOST_TYPES, where)
            parts.append(part)
        return parts


def _joined(parts: list[ServiceSchema]) -> ServiceSchema:
    """Return the schema that has the methods and types of all parts."""
    methods: list[MethodSchema] = []
    types: list[TypeSchema] = []
    for part in parts:
        methods += part.methods
        types += part.types
    return ServiceSchema(parts[0].name, tuple(methods), tuple(types), parts[0].doc)


def _descriptor(schema: ServiceSchema) -> ServiceDescriptor:
    """Return a descriptor that makes its methods when they are asked for."""
    methods = partial(_methods, schema)
    return ServiceDescriptor(schema.name, methods, schema.doc, schema)


def _methods(schema: ServiceSchema) -> tuple[MethodDescriptor, ...]:
    return descriptor_of(schema).methods
