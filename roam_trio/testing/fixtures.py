"""A fixture for pytest-trio; enable it with ``pytest_plugins`` in a ``conftest.py``:

pytest_plugins = ["roam_trio.testing.fixtures"]

async def test_adds(connect_service: ConnectService) -> None:
    adder = await connect_service(Adder, AdderImpl())
    assert await adder.add(3, 5) == 8
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import trio
from pytest_trio import (  # pyright: ignore[reportMissingTypeStubs]
    trio_fixture,  # pyright: ignore[reportUnknownVariableType]
)

from .pair import ConnectedPair, connected_pair

__all__ = ["ConnectService", "connect_service"]

T = TypeVar("T")


class ConnectService(Protocol):
    """The type of the fixture `connect_service`, for the argument of a test."""

    async def __call__(
        self, service: Callable[..., T], handler: object, **options: Any
    ) -> T:
        """Return a client of `service`, which `handler` answers until the test ends.

        The options are those of `connected_pair`.
        """
        ...


@trio_fixture  # type: ignore[untyped-decorator]
async def connect_service(nursery: trio.Nursery) -> ConnectService:
    """Connect clients to services in memory, for the length of a test."""

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
