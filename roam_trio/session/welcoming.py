"""The decision of a server whether to serve a client, and with which handlers.

The server decides when the Hello of the client has arrived, before it answers.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

import trio

from ..errors import Refused
from ..failures import alone
from ..logs import Log
from ..metadata import Metadata
from ..peers import Peer
from ..rpc.handler import Handler, check_handlers
from .acceptance import ConnectionAcceptor
from .offering import OfferedServices
from .refusal import REFUSALS

__all__ = ["OnSession", "Welcoming"]

logger = Log("roam_trio.session")

OnSession: TypeAlias = Callable[
    [Peer], Awaitable[Handler | Mapping[str, Handler] | None]
]
"""An async function that decides on a session; see the argument of `serve`."""


class Welcoming:
    """Asks the application about one client.

    Args:
        on_session: decides.
        peer: the client.
        on_greeting: called when the client has said Hello.
    """

    __slots__ = ("_given", "_on_greeting", "_on_session", "_peer", "is_asking")

    def __init__(
        self, on_session: OnSession, peer: Peer, on_greeting: Callable[[], None]
    ) -> None:
        self._on_session = on_session
        self._peer = peer
        self._on_greeting = on_greeting
        self._given: Handler | Mapping[str, Handler] | None = None
        self.is_asking = False
        """True while the application decides."""

    @trio.lowlevel.disable_ki_protection
    async def ask(self, metadata: Metadata) -> None:
        """Have the application decide.

        Args:
            metadata: the metadata in the Hello of the client.

        Raises:
            Refused, Unavailable: the client is turned away.
        """
        self._peer.metadata = metadata
        self.is_asking = True
        self._on_greeting()
        try:
            given = await self._on_session(self._peer)
            check_handlers(given)
        except BaseException as error:
            one = alone(error)
            try:
                if isinstance(one, REFUSALS) and not one.by_peer:
                    raise one from None
            finally:
                del one  # or the error and this frame would hold each other
            logger.failure(error, "on_session failed, and the client is turned away")
            raise Refused("failed", "the server could not decide on it") from None
        self._given = given
        self.is_asking = False

    def handler_instead_of(self, handler: Handler | None) -> Handler | None:
        """Return the handler of the root connection.

        Args:
            handler: the handler of the server, returned if the application gave none.
        """
        given = self._given
        if given is None:
            return handler
        return None if isinstance(given, Mapping) else given

    def offered_instead_of(
        self,
        handler: Handler | None,
        acceptor: ConnectionAcceptor | None,
        max_concurrent_requests: int,
    ) -> tuple[Handler | None, ConnectionAcceptor | None]:
        """Return the handler of the root connection, and the acceptor of others.

        Args:
            handler: the handler of the server, returned if the application gave none.
            acceptor: the acceptor of the server, returned likewise.
            max_concurrent_requests: bound for connections to services by name.
        """
        given = self._given
        if given is None:
            return handler, acceptor
        otherwise, reserved = acceptor, None
        if isinstance(acceptor, OfferedServices):
            otherwise, reserved = acceptor.otherwise, acceptor.reserved
        root = self.handler_instead_of(handler)
        if root is not None and reserved is None:
            return root, otherwise
        services = OfferedServices(
            given if isinstance(given, Mapping) else {},
            max_concurrent_requests=max_concurrent_requests,
            otherwise=otherwise,
            reserved=reserved,
            root=root,
        )
        return root, services
