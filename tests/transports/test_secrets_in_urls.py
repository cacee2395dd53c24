"""Credentials and queries of URLs are in no error, repr or log."""

from __future__ import annotations

import errno
import logging
import socket
import ssl
import traceback
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import pytest
import trio
import trio.testing

from roam_trio import connect, dispatcher, serve, service
from roam_trio.transports import LinkOptions, dialer
from roam_trio.transports.listening import accept_when_possible
from tests.schemes import server_context

SECRET = "hunter2"


@service
class Nothing(Protocol):
    async def nothing(self) -> None: ...


class Nobody:
    async def nothing(self) -> None: ...


HANDLER = dispatcher(Nothing, Nobody())

WRONG = [
    "tcp://me:hunter2@127.0.0.1:7000",
    "tcp://hunter2@127.0.0.1:7000",
    "tcp://me:hunter2@127.0.0.1",
    "tcp://me:hunter2@[::1",
    "tcp://me:hunter2/x@127.0.0.1:7000",
    "tcp://me:hunter2#x@127.0.0.1:7000",
    "tcp://me:hunter2?x@127.0.0.1:7000",
    "tcp://me:hunter2 x@127.0.0.1:7000",
    "tcp://me:hunter2\u2100@127.0.0.1:7000",
    "tcp://127.0.0.1:7000?token=hunter2",
    "tcp://127.0.0.1:7000;token=hunter2",
    "tcp://127.0.0.1:7000&token=hunter2",
    "tcp://127.0.0.1:7000/%3Ftoken=hunter2",
    "tcp://me:hunter2%40127.0.0.1:7000",
    "tcp:///me:hunter2@127.0.0.1:7000",
    "tls://me:hunter2@127.0.0.1:7000",
    "tls://127.0.0.1:7000?token=hunter2",
    "ws://me:hunter2@127.0.0.1:7000/",
    "ws://127.0.0.1:port/?token=hunter2",
    "ws://127.0.0.1:7000/#token=hunter2",
    "wss://me:hunter2@127.0.0.1:7000/",
    "unix://me:hunter2@host/path",
    "unix:///run/?token=hunter2",
    "unix:///run/a?token=hunter2",
    "unix:///run/a?mode=600&me:hunter2@host",
    "unix:///run/a?mode=me:hunter2@host",
    "memory://me:hunter2@a/b",
    "stdio:me:hunter2@host",
    "stdio:?token=hunter2",
    "htp://me:hunter2@127.0.0.1:7000",
    "http://127.0.0.1:7000?token=hunter2",
    "me:hunter2@127.0.0.1:7000",
    "/me:hunter2@127.0.0.1:7000",
    "",
]


async def connecting(url: Any, **options: Any) -> None:
    async with connect(url, Nothing, **options):
        pass


async def serving(url: Any, **options: Any) -> None:
    await serve(url, HANDLER, **options)


def text_of(error: BaseException) -> str:
    return "".join(traceback.format_exception(error, limit=0)) + repr(error)


@pytest.mark.parametrize("use", [connecting, serving])
@pytest.mark.parametrize("url", WRONG)
async def test_a_wrong_url_is_refused_without_its_secrets(
    use: Callable[[Any], Awaitable[None]], url: str
) -> None:
    with pytest.raises(ValueError, match="expected a URL like") as caught:
        await use(url)
    assert SECRET not in text_of(caught.value)


@pytest.mark.parametrize("use", [connecting, serving])
@pytest.mark.parametrize("url", [b"tcp://me:hunter2@a:1", [b"ws://a/?token=hunter2"]])
async def test_what_is_no_url_is_refused_without_its_secrets(
    use: Callable[[Any], Awaitable[None]], url: Any
) -> None:
    with pytest.raises(TypeError, match="expected a URL as a str") as caught:
        await use(url)
    assert SECRET not in text_of(caught.value)


async def test_a_context_that_is_not_used_is_told_without_secrets() -> None:
    url = "ws://127.0.0.1:7000/?token=hunter2"
    for use in (connecting, serving):
        with pytest.raises(ValueError, match="no TLS is spoken") as caught:
            await use(url, ssl_context=ssl.create_default_context())
        assert SECRET not in text_of(caught.value)


async def test_a_missing_certificate_is_told_without_secrets() -> None:
    with pytest.raises(ValueError, match="ssl_context") as caught:
        await serving("wss://127.0.0.1:7000/?token=hunter2")
    assert SECRET not in text_of(caught.value)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
    return port


def nobody_at() -> str:
    return f"ws://127.0.0.1:{free_port()}/path?token=hunter2"


@pytest.mark.parametrize("several", [1, 2])
async def test_a_server_that_is_not_there_is_told_without_secrets(several: int) -> None:
    urls = [nobody_at() for _ in range(several)]
    with pytest.raises(OSError, match="127") as caught:
        await connecting(urls)
    assert SECRET not in text_of(caught.value)
    assert "/path?***" in str(caught.value)


async def test_a_port_that_is_taken_is_told_without_secrets(
    nursery: trio.Nursery,
) -> None:
    server = await nursery.start(serve, "ws://127.0.0.1:0/p?token=hunter2", HANDLER)
    with pytest.raises(OSError, match="in use") as caught:
        await serving(server.url)
    assert SECRET not in text_of(caught.value)
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("name", ["me:hunter2@adder", "hunter2%40adder"])
async def test_a_name_in_memory_is_told_without_secrets(name: str) -> None:
    with pytest.raises(ConnectionRefusedError, match="adder") as caught:
        await connecting(f"memory://{name}")
    assert SECRET not in text_of(caught.value)


@pytest.mark.parametrize("number", [errno.EPROTO, errno.EBADF])
async def test_a_failed_accept_is_told_without_secrets(
    number: int, caplog: pytest.LogCaptureFixture
) -> None:
    failures = [OSError(number, "told"), OSError(errno.EBADF, "closed")]

    async def accept() -> None:
        raise failures.pop(0)

    # A quote ends a URL in a text, and does not in a query.
    with pytest.raises(OSError, match="any more") as caught:
        await accept_when_possible(accept, "ws://127.0.0.1:1/p?it's=hunter2")
    assert SECRET not in text_of(caught.value)
    assert SECRET not in caplog.text


async def test_a_server_tells_its_url_whole_and_its_repr_does_not(
    nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    url = "ws://127.0.0.1:0/p?token=hunter2"
    server = await nursery.start(serve, url, HANDLER)
    assert server.url.endswith("/p?token=hunter2")
    assert SECRET not in repr(server)
    assert "/p?***" in repr(server)
    async with connect(server.url, Nothing) as client:
        await client.nothing()
    with pytest.raises(Exception, match="404") as caught:
        await connecting(server.url.replace("hunter2", "hunter2-wrong"))
    assert SECRET not in text_of(caught.value)
    await trio.testing.wait_all_tasks_blocked()
    assert SECRET not in caplog.text
    nursery.cancel_scope.cancel()


def test_the_repr_of_a_dialer_has_no_secrets() -> None:
    dial = dialer([nobody_at(), "wss://127.0.0.1/?token=hunter2"], LinkOptions())
    assert SECRET not in repr(dial)
    assert repr(dial).count("?***") == 2


async def test_a_certificate_that_is_not_trusted_is_told_without_secrets(
    nursery: trio.Nursery,
) -> None:
    server = await nursery.start(
        lambda task_status: serve(
            "wss://127.0.0.1:0/p?token=hunter2",
            HANDLER,
            ssl_context=server_context(),
            task_status=task_status,
        )
    )
    with pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED") as caught:
        await connecting(server.url)
    assert SECRET not in text_of(caught.value)
    nursery.cancel_scope.cancel()
