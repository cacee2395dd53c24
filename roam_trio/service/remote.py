"""The services of a peer, without their classes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from ..schema import kebab
from .descriptor import ServiceDescriptor

__all__ = ["RemoteServices"]


class RemoteServices(Mapping[str, ServiceDescriptor]):
    """The services of a peer, by the names that `dynamic` and `Session.open` take.

    `describe_remote` makes it. The methods of a descriptor are made when
    `ServiceDescriptor.methods` is first read; its schema is there already.

    Args:
        named: the services by name.
        root: see below.
        undescribed: see below.

    Attributes:
        root: the service on the root connection, if there is one. It is in the mapping
            too, by its own name in kebab-case, unless that is the name of another.
        undescribed: names of services that the peer offers without descriptions; the
            empty name stands for the one on the root connection.
    """

    def __init__(
        self,
        named: Mapping[str, ServiceDescriptor],
        root: ServiceDescriptor | None = None,
        undescribed: Iterable[str] = (),
    ) -> None:
        self._services = dict(named)
        self.root = root
        self.undescribed = tuple(undescribed)
        if root is not None:
            self._services.setdefault(kebab(root.name), root)

    def __getitem__(self, name: str) -> ServiceDescriptor:
        return self._services[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._services)

    def __len__(self) -> int:
        return len(self._services)

    def is_on_root(self, name: str) -> bool:
        """Return True if this service is called on the root connection."""
        return self.root is not None and self._services.get(name) is self.root

    def __repr__(self) -> str:
        return f"<RemoteServices {', '.join(self._services)}>"
