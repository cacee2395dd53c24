"""`Registry`, the interface of registries."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Final

from ...legible import legible
from ...quantities import check_seconds
from .port import RegistryEntries
from .service import RegisteredService

__all__ = ["LEASE", "Registry"]

LEASE: Final = 5.0
"""Seconds of a lease by default."""

_LONGEST_LEASE: Final = 3600.0


class Registry(ABC):
    """Knows the servers of services by name, each for as long as it lives.

    A server renews its lease three times for each length of it, and disappears when its
    lease ends, so that one that is killed is gone after at most this time.

    Subclasses define `open`, and call this constructor.

    Args:
        lease: seconds of a lease, up to 3600.

    Raises:
        ValueError: the lease is out of range.
    """

    def __init__(self, *, lease: float = LEASE) -> None:
        check_seconds("lease", lease)
        if lease > _LONGEST_LEASE:
            raise ValueError(
                f"lease: expected at most {_LONGEST_LEASE:.0f} seconds, got {lease!r}"
            )
        self.lease = lease

    @abstractmethod
    def open(self, service: str) -> AbstractAsyncContextManager[RegistryEntries]:
        """Return a manager that has a connection to the entries of a service.

        Each server and each client enters one for as long as it lives, and another one
        when that has failed. Entering must have a bound in time, such as half of
        `lease`.

        Args:
            service: the name of the service.

        Raises:
            OSError, trio.TooSlowError: (on entering) the registry cannot be reached.
        """

    def service(
        self,
        name: str,
        *,
        advertise: str | Sequence[str] = (),
        priority: int = 0,
        weight: int = 1,
    ) -> RegisteredService:
        """Return a service by its name: the target of `stay_connected`, or for
        ``serve(..., announce=)`` where a server is announced.

        The other arguments are for servers.

        Args:
            name: the name in the registry.
            advertise: how clients reach the server, if not at the URLs at which it
                listens: another host, such as ``"10.0.0.7"`` if it listens at every
                address; or the complete URLs, such as ``["tls://bank.example:443"]``.
            priority: servers with a lower number are used first; see `Address`.
            weight: its share of the calls; see `Address`.

        Raises:
            ValueError: the name is empty, or a number is out of range.
        """
        if not name:
            raise ValueError("name: expected the name of a service, got an empty one")
        for what, number, least in (("priority", priority, 0), ("weight", weight, 1)):
            if not least <= number <= 65_535:
                raise ValueError(f"{what}: expected {least} to 65535, got {number!r}")
        return RegisteredService(
            f"{legible(name)} in {self!r}",
            partial(self.open, name),
            self.lease,
            advertise=advertise,
            priority=priority,
            weight=weight,
        )
