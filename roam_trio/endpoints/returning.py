"""Clients that return to another server of this machine, which passes them on."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from ..links.local import LocalListener
from ..links.resuming.siblings import Siblings, told_by_sibling
from ..links.stream import StreamLimits
from ..transports import LinkFactory, LinkListener

__all__ = ["listen_for_returning"]


async def listen_for_returning(
    siblings: Siblings, limits: StreamLimits
) -> Sequence[LinkListener]:
    """Listen on the private socket of a server; a `ListenerFactory`, with arguments.

    Raises:
        OSError: the socket cannot be made.
    """
    return [_Returning(await LocalListener.bind(siblings.path, mode=0o600), limits)]


class _Returning(LinkListener):
    is_private = True

    def __init__(self, listener: LocalListener, limits: StreamLimits) -> None:
        self._listener = listener
        self._limits = limits

    @property
    def url(self) -> str:
        return f"unix://{self._listener.address}"

    async def accept(self) -> LinkFactory:
        return partial(
            told_by_sibling, await self._listener.accept(limits=self._limits)
        )

    def close(self) -> None:
        self._listener.close()
