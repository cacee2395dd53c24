"""Middleware around the handlers that a server offers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol, TypeAlias, runtime_checkable

from ..peers import Peer
from ..rpc.handler import Handler, check_handler
from ..service import Middleware
from ..session import OnSession
from .lingering import Lingering
from .places import Places

__all__ = [
    "Offer",
    "Wrappable",
    "counting_with",
    "deciding_with",
    "offer_with",
    "waiting_with",
]

Offer: TypeAlias = Handler | Mapping[str, Handler]
"""One handler for root connections, or handlers by the names of their services."""


@runtime_checkable
class Wrappable(Protocol):
    """A handler that middleware can wrap, such as a `Dispatcher`."""

    def with_middleware(self, middleware: Iterable[Middleware], /) -> Handler:
        """Return the handler with middleware around it, the first outermost."""
        ...


def offer_with(offer: Offer, middleware: tuple[Middleware, ...]) -> Offer:
    """Return what is offered, with middleware around each call.

    Raises:
        TypeError: it contains an object that is not a `Handler`, or a handler that
            middleware cannot wrap.
    """
    if isinstance(offer, Mapping):
        return {name: with_middleware(each, middleware) for name, each in offer.items()}
    return with_middleware(offer, middleware)


def with_middleware(handler: Handler, middleware: tuple[Middleware, ...]) -> Handler:
    """Return a handler with middleware around it; see `offer_with`."""
    check_handler(handler)
    if not middleware:
        return handler
    if not isinstance(handler, Wrappable):
        raise TypeError(
            "middleware: expected handlers that dispatcher() has made, got one of type "
            f"{type(handler).__name__}, which handles encoded requests; leave the "
            "middleware out and do the same in its handle(), or give it a method "
            "with_middleware(middleware) that returns a Handler"
        )
    return handler.with_middleware(middleware)


def counting_with(on_session: OnSession | None, places: Places) -> OnSession | None:
    """Return an ``on_session`` that also counts clients by their identities, if
    `places` are counted."""
    if on_session is None or not places.are_counted:
        return on_session
    decide = on_session

    async def on_session_with(peer: Peer) -> Offer | None:
        given = await decide(peer)
        too_many = places.count_session(places.of_sessions.pop(peer), peer)
        try:
            if too_many is not None:
                raise too_many
        finally:
            del too_many  # or the error and this frame would hold each other
        return given

    return on_session_with


def waiting_with(on_session: OnSession | None, lingering: Lingering) -> OnSession:
    """Return an ``on_session`` that then also waits until the handlers that the client
    has left behind are few."""
    decide = on_session

    async def on_session_with(peer: Peer) -> Offer | None:
        given = None if decide is None else await decide(peer)
        await lingering.room(peer)
        return given

    return on_session_with


def deciding_with(
    on_session: OnSession | None, middleware: tuple[Middleware, ...]
) -> OnSession | None:
    """Return an ``on_session`` of which the handlers have middleware around them."""
    if on_session is None or not middleware:
        return on_session
    decide = on_session

    async def on_session_with(peer: Peer) -> Offer | None:
        given = await decide(peer)
        return None if given is None else offer_with(given, middleware)

    return on_session_with
