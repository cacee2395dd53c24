"""`connect` and `serve` over every scheme: they work, and leave nothing behind."""

from __future__ import annotations

import logging
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from roam_trio import (
    Limits,
    Overloaded,
    RoamTrioError,
    Server,
    SessionIoError,
    connect,
    dispatcher,
    serve,
    service,
)

from .cancelling import cancel_everywhere
from .schemes import SCHEMES, Scheme, client_context, server_context

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
async def test_sessions_beyond_the_limit_are_refused_at_once(
    nursery: trio.Nursery,
    scheme: Scheme,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = await started(nursery, scheme, tmp_path, max_sessions=2)
    there = partial(connect, server.url, Echo, **scheme.to_connect())
    async with there() as first:
        async with there():
            for _ in range(3):
                with pytest.raises(Overloaded) as caught:
                    async with there():
                        pass
                assert caught.value.by_peer
                why = "there is no place for another session (limit: max_sessions)"
                assert caught.value.text == why
            assert await first.echo("still here") == "still here"
            assert len(server.sessions) == 2
            assert "a client was refused: there is no place" in caplog.text
        while len(server.sessions) > 1:
            await trio.lowlevel.checkpoint()
        async with there() as third:
            assert await third.echo("third") == "third"


# ---------------------------------------------------------------- several at once


def everywhere(directory: Path) -> list[str]:
    return [scheme.url(directory) for scheme in SCHEMES]


async def test_a_server_listens_at_several_urls_at_once(
    nursery: trio.Nursery, tmp_path: Path
) -> None:
    run = partial(serve, ssl_context=server_context())
    urls = everywhere(tmp_path)
    server: Server = await nursery.start(run, urls, dispatcher(Echo, EchoImpl()))
    assert server.url == server.urls[0]
    schemes = [url.partition(":")[0] for url in server.urls]
    assert schemes == [scheme.name for scheme in SCHEMES]
    assert ":0" not in " ".join(server.urls)
    for url in server.urls:
        options = {}
        if url.startswith(("tls:", "wss:")):
            options["ssl_context"] = client_context()
        async with connect(url, Echo, **options) as echo:
            assert await echo.echo(url) == url
    assert repr(server).startswith(f"<Server {', '.join(server.urls)}, ")


async def test_a_server_that_cannot_listen_at_one_url_listens_nowhere(
    tmp_path: Path,
) -> None:
    (tmp_path / "other").write_text("no socket")
    urls = [*everywhere(tmp_path), f"unix://{tmp_path}/other"]
    handler = dispatcher(Echo, EchoImpl())
    with pytest.raises(OSError, match="a file that is not a socket is there"):
        await serve(urls, handler, ssl_context=server_context())
    with pytest.raises(ConnectionRefusedError):
        async with connect("memory://test", Echo):
            pass


async def test_a_client_takes_the_first_url_that_answers(
    nursery: trio.Nursery, tmp_path: Path
) -> None:
    server = await started(nursery, SCHEMES[0], tmp_path)
    urls = ["memory://nobody", f"unix://{tmp_path}/nothing", server.url]
    async with connect(urls, Echo) as echo:
        assert await echo.echo("found") == "found"
    with pytest.raises(ConnectionError, match="none of 2 URLs") as caught:
        async with connect(urls[:2], Echo):
            pass
    assert "memory://nobody" in str(caught.value)
    assert f"{tmp_path}/nothing" in str(caught.value)


async def test_a_server_that_comes_up_later_is_waited_for(
    nursery: trio.Nursery, tmp_path: Path, autojump_clock: MockClock
) -> None:
    answers: list[str] = []

    async def call() -> None:
        async with connect("memory://test", Echo, wait_for=60) as echo:
            answers.append(await echo.echo("at last"))

    nursery.start_soon(call)
    await trio.sleep(30)
    await nursery.start(serve, "memory://test", dispatcher(Echo, EchoImpl()))
    await trio.sleep(5)
    assert answers == ["at last"]


# ---------------------------------------------------------------- what can be wrong


async def test_no_url_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="expected at least one URL to listen at"):
        await serve([], dispatcher(Echo, EchoImpl()))


@pytest.mark.parametrize("url", ["tls://127.0.0.1:0", "wss://127.0.0.1:0"])
async def test_listening_with_tls_needs_a_certificate(url: str) -> None:
    with pytest.raises(ValueError, match="ssl_context is needed: ssl"):
        await serve(url, dispatcher(Echo, EchoImpl()))


async def test_there_is_a_place_for_one_session_at_least() -> None:
    handler = dispatcher(Echo, EchoImpl())
    with pytest.raises(ValueError, match="max_sessions: expected at least 1, got 0"):
        await serve("memory://test", handler, max_sessions=0)
    with pytest.raises(ValueError, match=r"per_peer: expected .*, got 0"):
        await serve("memory://test", handler, max_sessions_per_peer=0)


async def test_one_place_serves_clients_of_several_urls_in_turn(
    nursery: trio.Nursery,
) -> None:
    urls = ["memory://one", "memory://two"]
    run = partial(serve, urls, dispatcher(Echo, EchoImpl()), max_sessions=1)
    server: Server = await nursery.start(run)
    for url in [*urls, *urls]:
        async with connect(url, Echo) as echo:
            assert await echo.echo(url) == url
        await wait_all_tasks_blocked()
    assert not server.sessions


def test_websockets_without_the_package_say_how_to_have_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install '\.\[websocket\]'"):
        connect("ws://127.0.0.1:1", Echo)


async def test_a_peer_that_refuses_the_websocket_is_a_session_error() -> None:
    async def refuse() -> None:
        async with listener, await listener.accept() as stream:
            await stream.receive_some()
            await stream.send_all(b"HTTP/1.1 503 Service Unavailable\r\n\r\n")

    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    url = f"ws://127.0.0.1:{listener.socket.getsockname()[1]}"
    async with trio.open_nursery() as serving:
        serving.start_soon(refuse)
        with pytest.raises(SessionIoError, match="503 Service Unavailable"):
            async with connect(url, Echo, wait_for=60):
                pass


@pytest.mark.parametrize("scheme", ["tls", "ws", "wss"])
async def test_a_client_that_never_shakes_hands_is_given_up(
    nursery: trio.Nursery,
    scheme: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (over,) = [each for each in SCHEMES if each.name == scheme]
    limits = Limits(handshake_seconds=0.05)
    server = await started(nursery, over, tmp_path, limits=limits, max_sessions=1)
    port = int(server.url.split(":")[2].partition("/")[0])
    async with await trio.open_tcp_stream("127.0.0.1", port) as silent:
        assert await silent.receive_some() == b""
    assert "took more than 0.05 seconds (limit: handshake_seconds)" in caplog.text
    async with connect(server.url, Echo, **over.to_connect()) as echo:
        assert await echo.echo("my turn") == "my turn"


@pytest.mark.parametrize(
    ("scheme", "said"),
    [
        ("tcp", b"\xff\0\0\0" + bytes(255)),
        ("tls", b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + bytes(500)),
        ("ws", b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X-Y: z\r\n" * 50),
    ],
)
async def test_handshake_byte_by_byte_takes_no_longer_than_another(
    nursery: trio.Nursery,
    scheme: str,
    said: bytes,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (over,) = [each for each in SCHEMES if each.name == scheme]
    limits = Limits(handshake_seconds=0.1, close_seconds=0.1)
    server = await started(nursery, over, tmp_path, limits=limits)
    port = int(server.url.split(":")[2].partition("/")[0])
    written = 0
    with suppress(trio.BrokenResourceError):
        async with await trio.open_tcp_stream("127.0.0.1", port) as slow:
            for byte in said:
                await slow.send_all(bytes([byte]))
                written += 1
                await trio.sleep(0.01)
    assert 0 < written < len(said)
    while "(limit: handshake_seconds)" not in caplog.text:
        await trio.lowlevel.checkpoint()


async def test_shutting_down_ends_handshakes_and_stops_listening(
    nursery: trio.Nursery, tmp_path: Path
) -> None:
    (over,) = [each for each in SCHEMES if each.name == "ws"]
    server = await started(nursery, over, tmp_path)
    port = int(server.url.split(":")[2].partition("/")[0])
    async with await trio.open_tcp_stream("127.0.0.1", port) as silent:
        await wait_all_tasks_blocked()
        await server.shutdown()
        assert await silent.receive_some() == b""
    with pytest.raises(OSError, match="failed"):
        async with connect(server.url, Echo):
            pass
