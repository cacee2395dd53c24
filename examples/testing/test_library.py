"""Tests of a service with the fixture `connect_service`.

They run with `trio_mode = true` in the settings of pytest-trio.
"""

from __future__ import annotations

from typing import Protocol

import attrs
import pytest
import trio
from trio.testing import MockClock

from roam_trio import Fallible, service, u32
from roam_trio.testing import ConnectService


@attrs.define
class NotFound(Exception):
    title: str


@service
class Library(Protocol):
    async def pages(self, title: str) -> Fallible[u32, NotFound]: ...
    async def read(self, title: str) -> str: ...


class LibraryImpl:
    async def pages(self, title: str) -> int:
        if title != "Ulysses":
            raise NotFound(title)
        return 732

    async def read(self, title: str) -> str:
        await trio.sleep(3600)
        return f"{title} is read"


# region tests
async def test_pages_are_counted(connect_service: ConnectService) -> None:
    library = await connect_service(Library, LibraryImpl())
    assert await library.pages("Ulysses") == 732


async def test_unknown_book_is_not_found(connect_service: ConnectService) -> None:
    library = await connect_service(Library, LibraryImpl())
    with pytest.raises(NotFound, match="Emma"):
        await library.pages("Emma")


async def test_reading_takes_an_hour(
    connect_service: ConnectService, autojump_clock: MockClock
) -> None:
    library = await connect_service(Library, LibraryImpl())
    assert await library.read("Ulysses") == "Ulysses is read"
    assert trio.current_time() >= 3600


# endregion tests
