"""Services of a server: as this side's modules have them, or as the server says."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches

from ..errors import NoReflection
from ..schema import kebab
from ..service.description.model import MethodSchema, ServiceSchema
from ..service.reserved.asking import describe_remote
from ..session import Session
from .exits import UsageError
from .local_services import service_at
from .peer_options import PeerOptions

__all__ = ["Described", "Target", "described_by", "near"]


class Described(Mapping[str, ServiceSchema]):
    """The services of a server, by the names under which they are offered.

    Attributes:
        root: the name of the one on the root connection, if there is one.
        undescribed: the names of those that have no description.
    """

    def __init__(
        self,
        schemas: Mapping[str, ServiceSchema],
        root: str | None = None,
        undescribed: Sequence[str] = (),
    ) -> None:
        self._schemas = schemas
        self.root = root
        self.undescribed = undescribed

    def __getitem__(self, name: str) -> ServiceSchema:
        return self._schemas[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._schemas)

    def __len__(self) -> int:
        return len(self._schemas)


async def described_by(session: Session, options: PeerOptions) -> Described:
    """Return the services that a server offers.

    Those of ``--service`` if there are any; else what the server says.

    Raises:
        UsageError: the server does not describe its services, and none is given.
        SchemaError: a description of the server is wrong.
    """
    if options.services:
        return Described(dict(map(_local, options.services)))
    try:
        remote = await describe_remote(session)
    except NoReflection as error:
        raise UsageError(
            "the server does not describe its services; start it with reflection, or "
            "name the class of the service that is meant: --service MODULE:CLASS"
        ) from error
    root = next(filter(remote.is_on_root, remote), None)
    schemas = {name: each.schema for name, each in remote.items()}
    return Described(schemas, root, remote.undescribed)


def _local(given: str) -> tuple[str, ServiceSchema]:
    name, equals, specification = given.rpartition("=")
    schema = service_at(specification).schema
    return (name if equals else kebab(schema.name)), schema


class Target:
    """The goal of a call: ``service.method``, or ``method`` on the root connection.

    Args:
        text: the words of the user.

    Raises:
        UsageError: it is neither.
    """

    def __init__(self, text: str) -> None:
        self.service, _, self.method = text.rpartition(".")
        if not self.method or text.startswith("."):
            raise UsageError(
                f"{text}: expected a service and a method of it, as in "
                "calculator.divide"
            )

    def schema(self, described: Described) -> ServiceSchema:
        """Return the service.

        Raises:
            UsageError: it is not offered; or it is not named, and there are several.
        """
        if self.service:
            if self.service not in described:
                raise UsageError(near("service", self.service, described))
            return described[self.service]
        if described.root is not None:
            return described[described.root]
        if len(described) != 1:
            raise UsageError(
                f"{self.method}: expected the name of a service before it, as in "
                f"SERVICE.{self.method}; there are: {', '.join(described)}"
            )
        return next(iter(described.values()))

    def method_of(self, schema: ServiceSchema) -> MethodSchema:
        """Return the method.

        Raises:
            UsageError: the service has no such method.
        """
        methods = {each.name: each for each in schema.methods}
        if self.method not in methods:
            raise UsageError(near("method", self.method, methods))
        return methods[self.method]

    def __str__(self) -> str:
        return f"{self.service}.{self.method}" if self.service else self.method


def near(what: str, name: str, known: Iterable[str]) -> str:
    """Return the text of an error for an unknown name, with similar names."""
    names = list(known)
    folded = {_folded(each): each for each in names}
    close = [folded[each] for each in get_close_matches(_folded(name), folded)]
    if close:
        return f"{name}: there is no such {what}; did you mean {' or '.join(close)}?"
    shown = ", ".join(names[:20]) + (", …" if len(names) > 20 else "")
    return f"{name}: there is no such {what}; there are: {shown or 'none'}"


def _folded(name: str) -> str:
    return re.sub(r"[-_]", "", name).lower()
