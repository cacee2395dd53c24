"""`connect` and `serve` over every scheme: they work, and leave nothing behind."""

from __future__ import annotations

import logging
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import pytest
import trio

from roam_trio import (
    Limits,
    RoamTrioError,
    Server,
    connect,
    dispatcher,
    serve,
    service,
)

from .cancelling import cancel_everywhere
from .schemes import SCHEMES, Scheme

over_every_scheme = pytest.mark.parametrize("scheme", SCHEMES, ids=str)


@service
class Echo(Protocol):
    async def echo(self, message: str) -> str: ...


class EchoImpl:
    async def echo(self, message: str) -> str:
        return message


async def started(
    nursery: trio.Nursery, scheme: Scheme, directory: Path, **options: Any
) -> Server:
    handler = dispatcher(Echo, EchoImpl())
    run = partial(serve, **scheme.to_serve(), **options)
    server: Server = await nursery.start(run, scheme.url(directory), handler)
    return server


@over_every_scheme
async def test_a_client_calls_a_server(
    nursery: trio.Nursery, scheme: Scheme, tmp_path: Path
) -> None:
    server = await started(nursery, scheme, tmp_path)
    assert server.url.startswith(f"{scheme}:")
    assert server.urls == (server.url,)
    for _ in range(2):
        async with connect(server.url, Echo, **scheme.to_connect()) as echo:
            assert await echo.echo("hello") == "hello"
            assert await echo.echo("x" * 100_000) == "x" * 100_000


@over_every_scheme
async def test_nobody_there_is_an_os_error(scheme: Scheme, tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        server = await started(nursery, scheme, tmp_path)
        nursery.cancel_scope.cancel()
    with pytest.raises(OSError):  # noqa: PT011 - which one is the platform's choice
        async with connect(server.url, Echo, **scheme.to_connect()):
            pass


@over_every_scheme
async def test_an_address_that_is_taken_is_an_os_error(
    nursery: trio.Nursery, scheme: Scheme, tmp_path: Path
) -> None:
    server = await started(nursery, scheme, tmp_path)
    with pytest.raises(OSError, match=r"use|already"):
        await serve(server.url, dispatcher(Echo, EchoImpl()), **scheme.to_serve())
    async with connect(server.url, Echo, **scheme.to_connect()) as echo:
        assert await echo.echo("unharmed") == "unharmed"


@over_every_scheme
async def test_connecting_can_be_cancelled_anywhere(
    nursery: trio.Nursery,
    scheme: Scheme,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = await started(nursery, scheme, tmp_path)

    async def use() -> None:
        async with connect(server.url, Echo, **scheme.to_connect()) as echo:
            assert await echo.echo("hello") == "hello"

    with caplog.at_level(logging.CRITICAL, "roam_trio"):
        assert await cancel_everywhere(use) >= 5
    await use()


@over_every_scheme
async def test_serving_can_be_cancelled_anywhere(
    scheme: Scheme, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def use() -> None:
        async with trio.open_nursery() as serving:
            server = await started(
                serving, scheme, tmp_path, limits=Limits(close_seconds=0.5)
            )
            only_the_server_is_cancelled = trio.CancelScope(shield=True)
            with only_the_server_is_cancelled, suppress(OSError, RoamTrioError):
                client = connect(server.url, Echo, **scheme.to_connect())
                async with client as echo:
                    await echo.echo("hello")
            serving.cancel_scope.cancel()

    with caplog.at_level(logging.CRITICAL, "roam_trio"):
        assert await cancel_everywhere(use) >= 3


@over_every_scheme
async def test_sessions_beyond_the_limit_wait_until_others_leave(
    nursery: trio.Nursery,
    scheme: Scheme,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = await started(nursery, scheme, tmp_path, max_sessions=2)
    answers: list[str] = []

    async def call(word: str) -> None:
        async with connect(server.url, Echo, **scheme.to_connect()) as echo:
            answers.append(await echo.echo(word))

    async with trio.open_nursery() as clients:
        first = connect(server.url, Echo, **scheme.to_connect())
        second = connect(server.url, Echo, **scheme.to_connect())
        async with first:
            async with second:
                clients.start_soon(call, "third")
                await trio.testing.wait_all_tasks_blocked(0.01)
                assert (answers, len(server.sessions)) == ([], 2)
                assert "others have to wait (limit: max_sessions)" in caplog.text
            while not answers:
                await trio.lowlevel.checkpoint()
    assert answers == ["third"]
