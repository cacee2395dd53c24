"""Services of a server: as this side's modules have them, or as the server says."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches

from ..schema import kebab
from ..service.description.model import MethodSchema, ServiceSchema
from ..session import Session
from .exits import UsageError
from .local_services import service_at
from .peer_options import PeerOptions

__all__ = ["Target", "described_by", "near"]


async def described_by(
    session: Session, options: PeerOptions
) -> Mapping[str, ServiceSchema]:
    """Return the services that a server offers, by the names under which it does.

    Those of ``--service`` if there are any; else what the server says.

    Raises:
        UsageError: the server does not describe its services, and none is given.
    """
    if not options.services:
        raise UsageError(
            "the server does not describe its services; name the class of the one "
            "that is meant: --service MODULE:CLASS"
        )
    return dict(map(_local, options.services))


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

    def schema(self, described: Mapping[str, ServiceSchema]) -> ServiceSchema:
        """Return the service.

        Raises:
            UsageError: it is not offered; or it is not named, and there are several.
        """
        if self.service:
            if self.service not in described:
                raise UsageError(near("service", self.service, described))
            return described[self.service]
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
    """Return that there is no such name, with names that are near to it."""
    names = list(known)
    folded = {_folded(each): each for each in names}
    close = [folded[each] for each in get_close_matches(_folded(name), folded)]
    if close:
        return f"{name}: there is no such {what}; did you mean {' or '.join(close)}?"
    shown = ", ".join(names[:20]) + (", …" if len(names) > 20 else "")
    return f"{name}: there is no such {what}; there are: {shown or 'none'}"


def _folded(name: str) -> str:
    return re.sub(r"[-_]", "", name).lower()
