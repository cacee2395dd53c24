"""The services that one side of a session offers, for services that tell about them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Final, Protocol, TypeAlias

from .channel import Tx
from .handler import Handler

__all__ = [
    "HEALTH",
    "REFLECTION",
    "RESERVED_NAMES",
    "MakeReserved",
    "Offered",
    "PassedOn",
]

REFLECTION: Final = "reflection"
"""The name of the service that describes the others."""

HEALTH: Final = "health"
"""The name of the service that says whether the others take calls."""

RESERVED_NAMES: Final = frozenset({REFLECTION, HEALTH})


class Offered(Protocol):
    """The services that one side offers.

    Attributes:
        on_change: called whenever a service is added or removed.
    """

    on_change: Callable[[], object]

    @property
    def services(self) -> Mapping[str, Handler]:
        """The handlers by the names of their services, without the reserved ones; the
        handler of the root connection has the empty name."""
        ...


class PassedOn(Handler, ABC):
    """A handler that passes calls on to another peer, which knows the service."""

    @abstractmethod
    async def describe(self, parts: Tx[bytes]) -> int:
        """Send the description of the service, and return the number of its parts.

        Raises:
            UserError: the other peer does not describe it.
            RoamError: the other peer cannot be asked.
        """


MakeReserved: TypeAlias = Callable[[Offered], Mapping[str, Handler]]
"""Makes the handlers of the reserved services, by their names."""
