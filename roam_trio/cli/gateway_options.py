"""The routes of a gateway, as a command line has them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import attrs

from ..endpoints.gateway.routes import Route
from ..endpoints.lasting.resolving import Resolver
from ..legible import without_secrets
from .exits import UsageError

__all__ = ["FIGURES", "Allowed", "routes_of"]

_REGISTRIES: Final = ("redis://", "rediss://")

FIGURES: Final = "statistics"
"""The name in ``--allow`` for what the gateway tells about itself."""


@attrs.frozen
class Allowed:
    """The clients that may use services.

    Attributes:
        names: their names, by the services; a service that is missing is for all.
    """

    names: dict[str, list[str]]

    @classmethod
    def of(cls, options: Iterable[str]) -> Allowed:
        """Return what the options ``SERVICE=CLIENT`` say.

        Raises:
            UsageError: an option has another form.
        """
        names: dict[str, list[str]] = {}
        for option in options:
            service, equals, client = option.partition("=")
            if not equals or not client:
                raise UsageError(
                    f"--allow: expected SERVICE=CLIENT, such as bank=ada, got {option}"
                )
            names.setdefault(service, []).append(client)
        return cls(names)

    def check(self, services: Sequence[str], *, has_figures: bool) -> None:
        """Check that the services exist.

        Args:
            services: the names of all routes.
            has_figures: whether the gateway tells about itself.

        Raises:
            UsageError: one does not.
        """
        known = {*services, FIGURES} if has_figures else {*services}
        for name in self.names:
            if name not in known:
                listed = ", ".join(map(repr, sorted(known)))
                raise UsageError(f"--allow: expected one of {listed}, got {name!r}")


def routes_of(options: Iterable[str], allowed: Allowed) -> list[Route]:
    """Return the routes that the options ``[SERVICE=]URL[,URL…]`` say.

    Args:
        options: the options.
        allowed: the clients that may use them.

    Raises:
        UsageError: a name is one that a gateway has itself.
    """
    return [_route(option, allowed) for option in options]


def _route(option: str, allowed: Allowed) -> Route:
    name, equals, rest = option.partition("=")
    if not equals or "://" in name:
        name, rest = "", option
    urls = [url for url in rest.split(",") if url]
    if not urls:
        shown = without_secrets(option)
        raise UsageError(f"--route: expected SERVICE=URL[,URL...], got {shown}")
    try:
        return Route(name, _target(name, urls), allowed.names.get(name))
    except (ValueError, ImportError) as error:  # the package of a registry
        text = str(error).removeprefix("route: ")
        raise UsageError(f"--route: {text}") from error


def _target(name: str, urls: list[str]) -> str | list[str] | Resolver:
    """Return the target of a route.

    Raises:
        ValueError: the URL of a registry is wrong, or the route has no name.
        ImportError: the package of registries is not installed.
    """
    if len(urls) > 1:
        return urls
    if not urls[0].startswith(_REGISTRIES):
        return urls[0]
    # Only now, because most gateways have no registry.
    from ..endpoints.registry.redis import RedisRegistry

    if not name:
        raise ValueError(
            "route: expected the name of a service, by which its servers are "
            f"registered: SERVICE={without_secrets(urls[0])}"
        )
    return RedisRegistry(urls[0]).service(name)
