"""Conversion of the argument of `initiator` and `acceptor` into a conduit."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import trio

from ..links.base import Link
from ..wire.envelope import MessageFamily
from ..wire.messages import Message
from .bare import BareConduit
from .base import Conduit

__all__ = ["IntoConduit", "as_conduit", "check_conduit"]


@runtime_checkable
class IntoConduit(Protocol):
    """An object that can become the conduit of a session.

    `initiator` and `acceptor` accept any object with this method, such as an address
    with its own options. A conduit has it, and returns itself. A `Link` does not have
    it: these two put a `BareConduit` on a link.

    ``isinstance(value, IntoConduit)`` checks for the method.
    """

    def into_conduit(self) -> Conduit[Message]:
        """Return the conduit, which the session splits, uses and closes.

        Called once. Must not wait.
        """
        ...


def as_conduit(carrier: IntoConduit | Link) -> Conduit[Message]:
    """Return `carrier` as a conduit, with a `BareConduit` on a link.

    Raises:
        TypeError: `carrier` is neither a `Link` nor an `IntoConduit`, or its
            `into_conduit` did not return a `Conduit`.
    """
    if isinstance(carrier, Link):
        return BareConduit(carrier, MessageFamily())
    _check_carrier(carrier)
    conduit = carrier.into_conduit()
    check_conduit(conduit, f"{type(carrier).__name__}.into_conduit()")
    return conduit


def check_conduit(value: object, returned_by: str) -> None:
    """Check what a method of the program has returned.

    Raises:
        TypeError: it is not a `Conduit`.
    """
    if not isinstance(value, Conduit):
        raise TypeError(
            f"{returned_by}: expected it to return a Conduit, got {_named(value)}"
        )


def _check_carrier(value: object) -> None:
    if isinstance(value, Conduit):
        return  # a server has one for each client; the check below takes longer
    if isinstance(value, type) or not isinstance(value, IntoConduit):
        raise TypeError(
            f"expected a Link, a Conduit, or an object with into_conduit(), "
            f"got {_named(value)}{_advice(value)}"
        )


def _named(value: object) -> str:
    # Only its type, because a URL can contain a password, and a repr can be long.
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
