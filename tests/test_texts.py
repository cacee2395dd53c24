"""Texts: errors that name the fault and the remedy, and the language of docstrings."""

from __future__ import annotations

import ast
import asyncio
import io
import logging
import re
import socket
import ssl
import sys
import tokenize
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from roam_trio import (
    Fallible,
    Limits,
    SchemaError,
    SessionError,
    SessionRejected,
    UnknownMethod,
    connect,
    dispatcher,
    initiator,
    memory_link_pair,
    serve,
    service,
    spawn,
    u32,
)
from roam_trio.testing import connected_pair
from roam_trio.transports import dialer

from .schemes import SCHEMES, client_context, server_context


@service
class Counter(Protocol):
    async def count(self) -> u32: ...


class CounterImpl:
    async def count(self) -> int:
        return 1


COUNTER = dispatcher(Counter, CounterImpl())


async def test_opening_at_a_server_of_one_service_tells_how_to_call_that(
    nursery: trio.Nursery,
) -> None:
    await nursery.start(serve, "memory://one", COUNTER)
    async with connect("memory://one") as session:
        with pytest.raises(SessionRejected) as caught:
            async with session.open(Counter):
                pass
    assert "offers no services by name" in str(caught.value)
    assert "connect(url, Service) gives a client of that" in str(caught.value)


async def test_root_client_at_a_server_of_named_services_is_told_of_open(
    nursery: trio.Nursery,
) -> None:
    await nursery.start(serve, "memory://named", {"counter": COUNTER})
    async with connect("memory://named", Counter) as counter:
        with pytest.raises(UnknownMethod, match=r"by name.*session\.open\(Service\)"):
            await counter.count()


@pytest.mark.parametrize("scheme", ["tcp", "tls", "ws", "wss"])
async def test_port_in_use_is_told_with_its_url(scheme: str) -> None:
    options: dict[str, Any] = {}
    if scheme in ("tls", "wss"):
        options["ssl_context"] = server_context()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"{scheme}://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(OSError, match="port 0 takes a free one") as caught:
            await serve(url, COUNTER, **options)
    assert url in str(caught.value)


async def test_host_that_is_not_this_machine_s_is_told_with_its_url() -> None:
    with pytest.raises(OSError, match=r"'tcp://192\.0\.2\.1:7000'"):
        await serve("tcp://192.0.2.1:7000", COUNTER)


@pytest.mark.parametrize("scheme", ["unix", "memory"])
async def test_name_in_use_is_told(
    scheme: str, nursery: trio.Nursery, tmp_path: Path
) -> None:
    (found,) = [each for each in SCHEMES if each.name == scheme]
    url = found.url(tmp_path)
    await nursery.start(serve, url, COUNTER)
    with pytest.raises(OSError, match="listens") as caught:
        await serve(url, COUNTER)
    assert url.partition("://")[2] in str(caught.value)


@pytest.mark.parametrize("scheme", ["tls", "wss"])
async def test_context_of_the_other_side_is_refused(scheme: str) -> None:
    url = f"{scheme}://127.0.0.1:0"
    with pytest.raises(ValueError, match=r"must be one for servers: .*CLIENT_AUTH"):
        await serve(url, COUNTER, ssl_context=client_context())
    url = f"{scheme}://127.0.0.1:1"
    with pytest.raises(ValueError, match="must be one for clients"):
        connect(url, Counter, ssl_context=server_context())


async def test_server_without_a_certificate_is_told_what_to_load(
    nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server = await nursery.start(
        lambda task_status: serve(
            "tls://127.0.0.1:0", COUNTER, ssl_context=context, task_status=task_status
        )
    )
    with caplog.at_level(logging.WARNING), pytest.raises(OSError, match=r"TLS|SSL"):
        async with connect(server.url, Counter, ssl_context=client_context()):
            pass
    await wait_all_tasks_blocked()
    assert "may have no certificate: load one with load_cert_chain()" in caplog.text


async def _connects() -> None:
    async with connect("memory://nobody", Counter):
        pass


async def _serves() -> None:
    await serve("memory://nobody", COUNTER)


async def _spawns() -> None:
    async with spawn([sys.executable, "-c", ""], Counter):
        pass


async def _opens() -> None:
    async with initiator(memory_link_pair(1)[0]).open():
        pass


async def _pairs() -> None:
    async with connected_pair(Counter, CounterImpl()):
        pass


async def _dials() -> None:
    await dialer("memory://nobody")()


@pytest.mark.parametrize(
    "main",
    [_connects, _serves, _spawns, _opens, _pairs, _dials],
    ids=lambda m: m.__name__,
)
def test_asyncio_is_told_to_be_trio(main: Callable[[], Awaitable[None]]) -> None:
    async def run() -> None:
        await main()

    with pytest.raises(RuntimeError) as caught:
        asyncio.run(run())
    assert "start the program with trio.run(main), not with asyncio.run" in str(
        caught.value
    )
    with pytest.raises(RuntimeError, match=r"with trio\.run\(main\)$"):
        run().send(None)


class Undecorated(Exception):
    pass


@attrs.define
class Decorated(Exception):
    code: u32


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (Undecorated, r"decorate it with @attrs\.define and annotate its fields"),
        (ValueError, "define an exception of your own, decorated with @attrs.define"),
    ],
)
def test_exception_that_cannot_travel_is_told_how_it_could(
    error: type[Exception], advice: str
) -> None:
    def define(error: Any) -> None:
        class Failing(Protocol):
            async def fail(self) -> u32: ...

        Failing.fail.__annotations__["return"] = Fallible[u32, error]
        service(Failing)

    with pytest.raises(SchemaError, match=advice) as caught:
        define(error)
    assert "Struct" not in str(caught.value)
    define(Decorated)


PRINTS = """
import trio
from roam_trio import serve
from tests.test_texts import COUNTER
print("Reading the configuration ...")
trio.run(serve, "stdio:", COUNTER)
"""


async def test_print_before_serving_on_standard_output_is_told_to_the_client() -> None:
    root = Path(__file__).parent.parent
    # Starting a program takes long on a machine that is busy.
    limits = Limits(handshake_seconds=60)
    with pytest.raises(SessionError) as caught:
        async with spawn(
            [sys.executable, "-c", PRINTS], Counter, cwd=root, limits=limits
        ):
            pass
    told = str(caught.value)
    assert "'Reading the configuration ...'" in told
    assert 'must print nothing there before it serves "stdio:"' in told


PACKAGE = Path(__file__).parent.parent / "roam_trio"

QUESTION = re.compile(r"(?:What|Whether|Who|Whoever|Which|How|Nobody|Everybody)\b")
"""Openings of docstrings that name no thing and no action."""

PERIPHRASIS = re.compile(
    r"\b(?:nobody|everybody|whoever|of whose|a mistake of|has to be|is not to|"
    r"goes around|in its turn|for want of)\b",
    re.IGNORECASE,
)
"""Roundabout words, for which there is a noun or a shorter verb."""


def docstrings_in(source: str) -> Iterator[str]:
    """Yield the docstrings of a module, those of attributes included."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Expr(value=ast.Constant(value=str(text))):
                yield " ".join(text.split())


def comments_in(source: str) -> Iterator[str]:
    """Yield the comments of a module."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.string


def test_docstrings_open_with_a_noun_or_a_verb_and_texts_are_direct() -> None:
    found: list[str] = []
    for path in sorted(PACKAGE.rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        docstrings = list(docstrings_in(source))
        texts = [*docstrings, *comments_in(source)]
        wrong = [text for text in docstrings if QUESTION.match(text)]
        wrong += [text for text in texts if PERIPHRASIS.search(text)]
        found += [f"{path.relative_to(PACKAGE)}: {text}" for text in wrong]
    assert found == []


def test_the_language_check_finds_what_it_looks_for() -> None:
    source = '''
def busy() -> bool:
    """Whether somebody waits."""
    return True  # whoever asks
'''
    (docstring,) = docstrings_in(source)
    assert QUESTION.match(docstring)
    (comment,) = comments_in(source)
    assert PERIPHRASIS.search(comment)
