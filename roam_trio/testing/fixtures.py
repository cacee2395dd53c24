"""The value of the fixture `connect_service`, which the plugin for pytest provides:

async def test_adds(connect_service: ConnectService) -> None:
    adder = await connect_service(Adder, AdderImpl())
    assert await adder.add(3, 5) == 8
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import trio

from .pair import ConnectedPair, connected_pair

__all__ = ["ConnectService", "connecting"]

T = TypeVar("T")


class ConnectService(Protocol):
    """The type of the fixture `connect_service`, for the argument of a test.

    pytest has the fixture where roam_trio and pytest-trio are installed. Only tests of
    pytest-trio can use it.
    """

    async def __call__(
        self, service: Callable[..., T], handler: object, **options: Any
    ) -> T:
        """Return a client of `service`, whose calls `handler` answers until the test
        ends. A checkpoint.

        Args:
            service: the class of the service; the type of the client.
            handler: see `connected_pair`.
            options: the other options of `connected_pair`.

        Raises:
            Exception: what `connected_pair` raises.
        """
        ...


def connecting(nursery: trio.Nursery) -> ConnectService:
    """Return a function that connects clients for as long as the nursery is open."""

    async def connect(service: Callable[..., T], handler: object, **options: Any) -> T:
        pair = connected_pair(service, handler, **options)
        connected: T = await nursery.start(_keep_connected, pair)
        return connected

    return connect


async def _keep_connected(
    pair: ConnectedPair[T], *, task_status: trio.TaskStatus[T]
) -> None:
    async with pair as connected:
        task_status.started(connected)
        await trio.sleep_forever()
