"""The classes of the reserved services, in types that every peer has."""

from __future__ import annotations

import enum
from typing import Protocol

from ...rpc.channel import Tx
from ...schema import Fallible, u32
from ..decorator import service

__all__ = [
    "Health",
    "HealthProblem",
    "HealthState",
    "Reflection",
    "ReflectionProblem",
]

# The names of variants are on the wire, and are those that Rust programs would write.
# Channels have the default credit, because the Rust crate makes no others.


class ReflectionProblem(enum.Enum):
    """The errors of `Reflection.describe`."""

    UNKNOWN = "Unknown"
    """No service of this name is offered."""
    UNDESCRIBED = "Undescribed"
    """The handler of the service does not say what it is: it passes calls on, or
    decodes them by hand."""


@service
class Reflection(Protocol):
    """Says which services this side offers, and what they are.

    Offered under the name ``reflection``.
    """

    async def services(self) -> list[str]:
        """Return the names of the services, in alphabetical order.

        The empty name stands for the service on the root connection. The reserved
        services are not among them.
        """
        ...

    async def describe(
        self, name: str, parts: Tx[bytes]
    ) -> Fallible[u32, ReflectionProblem]:
        """Send the description of a service, and return the number of its parts.

        Each part is JSON in UTF-8: an object with the name of the service, and some of
        its ``methods`` and ``types``. The first part has its ``doc`` too. All parts
        together are the schema of the service.
        """
        ...


class HealthState(enum.Enum):
    """The states of a service."""

    SERVING = "Serving"
    """It takes calls."""
    DRAINING = "Draining"
    """The session is being shut down: calls in flight may finish, and new ones are
    refused."""


class HealthProblem(enum.Enum):
    """The errors of `Health`."""

    UNKNOWN = "Unknown"
    """No service of this name is offered."""


@service
class Health(Protocol):
    """Says whether the services that this side offers take calls.

    Offered under the name ``health``. The empty name stands for this side as a whole.
    """

    async def state(self, name: str) -> Fallible[HealthState, HealthProblem]:
        """Return the state of a service."""
        ...

    async def watch(
        self, name: str, states: Tx[HealthState]
    ) -> Fallible[None, HealthProblem]:
        """Send the state of a service at once, and then each change.

        Changes that come while there is no credit are sent as one: a receiver that is
        slow gets the last state. One second after `HealthState.DRAINING` it returns, or
        earlier if the caller closes the channel or ends the session: until then the
        session stays open, so that the caller can leave first. Fails when the service
        is no longer offered, so there are never more than two items.
        """
        ...
