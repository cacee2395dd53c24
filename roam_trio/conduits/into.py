"""From whatever a session is given to the conduit that carries it."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import trio

from ..links.base import Link
from ..wire.envelope import MessageFamily
from ..wire.messages import Message
from .bare import BareConduit
from .base import Conduit

__all__ = ["IntoConduit", "as_conduit"]


@runtime_checkable
class IntoConduit(Protocol):
    """Anything that turns itself into the conduit of a session.

    A conduit is one: it returns itself. Give the method to a class of your own, such as
    the address of a peer together with its keys, and `initiator` and `acceptor` take
    its instances. They take a `Link` as well, and put a `BareConduit` on it.

    ``isinstance(value, IntoConduit)`` tells whether there is such a method.
    """

    def into_conduit(self) -> Conduit[Message]:
        """Return the conduit, which the session takes over. Called once; never waits.

        Whatever this returned is split, used and closed by the session.
        """
        ...


def as_conduit(carrier: IntoConduit | Link) -> Conduit[Message]:
    """Return the conduit that `carrier` is, makes, or carries.

    Raises:
        TypeError: `carrier` is something else, or its `into_conduit` returned something
            else than a `Conduit`.
    """
    if isinstance(carrier, Link):
        return BareConduit(carrier, MessageFamily())
    if isinstance(carrier, type) or not isinstance(carrier, IntoConduit):
        raise TypeError(
            f"expected a Link, a Conduit, or an object with into_conduit(), "
            f"got {_named(carrier)}{_advice(carrier)}"
        )
    conduit: object = carrier.into_conduit()
    if not isinstance(conduit, Conduit):
        raise TypeError(
            f"{type(carrier).__name__}.into_conduit(): expected it to return a "
            f"Conduit, got {_named(conduit)}"
        )
    return conduit


def _named(value: object) -> str:
    # By its type only: a URL may hold a password, and a repr any number of lines.
    if isinstance(value, type):
        return f"the class {value.__name__} itself"
    return f"an object of type {type(value).__name__}"


def _advice(value: object) -> str:
    if isinstance(value, str):
        return "; connect() and serve() take URLs"
    if isinstance(value, trio.abc.Stream):
        return "; StreamLink(stream) makes a link of a trio stream"
    if isinstance(value, tuple):
        return "; memory_link_pair() and split() return two, and a session takes one"
    return ""
