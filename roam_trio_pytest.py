"""The plugin for pytest, which its entry point loads: the fixture `connect_service`.

It stands beside the package because pytest loads it at each start, even if no test uses
it. It imports roam_trio when a test uses the fixture.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import trio

    from roam_trio.testing import ConnectService

__all__ = ["connect_service"]


class _WithoutTrio:
    """The fixture where pytest-trio is not loaded."""

    @pytest.fixture
    def connect_service(self) -> None:
        """Connect clients to services in memory (needs pytest-trio)."""
        pytest.fail(
            "the fixture connect_service needs pytest-trio, which is not loaded",
            pytrace=False,
        )


@pytest.fixture
def connect_service(nursery: trio.Nursery) -> ConnectService:
    """Connect clients to services in memory, for the length of a test."""
    from roam_trio.testing.fixtures import connecting

    return connecting(nursery)


def pytest_configure(config: pytest.Config) -> None:
    # The name of a plugin depends on how it was loaded.
    pytest_trio = sys.modules.get("pytest_trio.plugin")
    if pytest_trio is None or not config.pluginmanager.is_registered(pytest_trio):
        config.pluginmanager.register(_WithoutTrio(), "roam_trio_pytest_without_trio")
