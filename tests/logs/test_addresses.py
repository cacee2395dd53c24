"""What is logged about a peer names its address, whoever logs it."""

from __future__ import annotations

import ast
import logging
from collections.abc import Iterator
from typing import Any, Protocol

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from roam_trio import (
    Peer,
    Refused,
    SessionIoError,
    client,
    connect,
    current_call,
    dispatcher,
    service,
    serving,
)
from roam_trio.logs import Log, about, note_peer
from roam_trio.session.outbox import Outbox
from roam_trio.wire.messages import Pong

from .test_call_sites import METHODS, MODULES, PACKAGE

ADDRESS = "192.0.2.7:4711"


def messages() -> Iterator[tuple[str, str, str]]:
    """Yield each log statement of the package: where, its method and its message."""
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(
                    func=ast.Attribute(value=ast.Name(id="logger"), attr=method),
                    args=args,
                ) if method in METHODS:
                    message = args[method == "failure"]
                    assert isinstance(message, ast.Constant)
                    where = f"{path.relative_to(PACKAGE)}:{node.lineno}"
                    yield where, method, str(message.value)


STATEMENTS = list(messages())


def test_the_statements_are_found() -> None:
    assert len(STATEMENTS) > 20
    assert {method for _, method, _ in STATEMENTS} >= {"info", "warning", "failure"}


@pytest.mark.parametrize(
    ("where", "method", "message"), STATEMENTS, ids=[each[0] for each in STATEMENTS]
)
def test_every_log_statement_names_the_peer_of_its_task(
    where: str, method: str, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    placeholders = message.replace("%%", "")
    args = [
        7 if part[:1] in ("d", "g") else "x" for part in placeholders.split("%")[1:]
    ]
    first = [ValueError("why")] if method == "failure" else []
    with about(Peer("tcp", ADDRESS)):
        getattr(Log("roam_trio.session"), method)(*first, message, *args)
    (record,) = caplog.records
    assert record.getMessage().endswith(f" ({ADDRESS})")


def test_an_address_is_named_once(caplog: pytest.LogCaptureFixture) -> None:
    with about(Peer("tcp", ADDRESS)):
        Log("roam_trio.session").warning("it ended: %s", f"lost (peer: {ADDRESS})")
    assert caplog.messages == [f"it ended: lost (peer: {ADDRESS})"]


def test_nothing_is_named_outside(caplog: pytest.LogCaptureFixture) -> None:
    with about(Peer("tcp", ADDRESS)):
        pass
    Log("roam_trio.session").warning("all is %s", "well")
    assert caplog.messages == ["all is well"]


def test_an_address_of_a_peer_is_legible(caplog: pytest.LogCaptureFixture) -> None:
    with about(Peer("other", "100%\n\x1b[31m")):
        Log("roam_trio.session").warning("all is %s", "well")
    (message,) = caplog.messages
    assert "\n" not in message
    assert "\x1b" not in message
    assert "100%" in message


def test_the_address_is_the_present_one(caplog: pytest.LogCaptureFixture) -> None:
    peer = Peer("tcp", "before")
    with about(peer):
        peer.follow(Peer("tcp", "after"))
        Log("roam_trio.session").warning("now")
    assert caplog.messages == ["now (after)"]


async def test_tasks_that_are_started_later_name_it_too(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def work() -> None:
        Log("roam_trio.session").warning("at work")

    note_peer(Peer("tcp", ADDRESS))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(work)
    assert caplog.messages == [f"at work ({ADDRESS})"]


# ------------------------------------------------------------ in sessions


@service
class Failing(Protocol):
    async def fail(self) -> int: ...
    async def wait(self) -> int: ...
    async def later(self) -> int: ...


class FailingImpl:
    async def fail(self) -> int:
        raise KeyError("oops")

    async def wait(self) -> int:
        await trio.lowlevel.checkpoint()
        raise KeyError("oops")

    async def later(self) -> int:
        current_call().connection.start_soon(self.wait)
        return 1


FAILING = dispatcher(Failing, FailingImpl())


async def test_handlers_and_tasks_of_connections_log_the_address_of_the_client(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with (
        serving("tcp://127.0.0.1:0", {"failing": FAILING}) as server,
        connect(server.url) as session,
        session.open(Failing) as failing,
    ):
        (of_server,) = server.sessions
        for method in (failing.fail, failing.wait):
            with pytest.raises(Exception, match="the handler failed"):
                await method()
        await failing.later()
        await wait_all_tasks_blocked()
        address = of_server.peer.address
    assert address.startswith("127.0.0.1:")
    assert len(caplog.messages) == 3
    assert all(message.endswith(f" ({address})") for message in caplog.messages)


async def test_handlers_of_a_client_log_the_address_of_the_server(
    caplog: pytest.LogCaptureFixture,
) -> None:
    nothing = dispatcher(Failing, FailingImpl())
    async with (
        serving("tcp://127.0.0.1:0", nothing) as server,
        connect(server.url, handler=FAILING) as session,
    ):
        (of_server,) = server.sessions
        with pytest.raises(Exception, match="the handler failed"):
            await client(Failing, of_server.caller).wait()
        address = session.peer.address
    assert address == server.url.removeprefix("tcp://")
    (message,) = caplog.messages
    assert message.endswith(f" ({address})")


async def test_a_client_that_is_turned_away_is_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    addresses: list[str] = []

    async def welcome(peer: Peer) -> None:
        addresses.append(peer.address)
        raise Refused("denied", "no")

    caplog.set_level(logging.INFO)
    async with serving("tcp://127.0.0.1:0", FAILING, on_session=welcome) as server:
        with pytest.raises(Refused):
            async with connect(server.url):
                pass
        await wait_all_tasks_blocked()
    (address,) = addresses
    assert caplog.messages == [f"a client was turned away: denied: no ({address})"]


async def test_what_a_task_of_the_program_sends_names_the_peer_too(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Broken:
        carrier: Any = None
        encode = staticmethod(lambda message: message)
        encode_all = encode
        is_full = False

        def send_nowait(self, message: object) -> None:
            raise ValueError("a link of somebody else's")

    tx: Any = Broken()
    tx.carrier = tx
    errors: list[Exception] = []
    outbox = Outbox(tx, 10, errors.append, lambda: None, peer=Peer("tcp", ADDRESS))
    outbox.push(Pong(0, 1))
    assert len(errors) == 1
    (message,) = caplog.messages
    assert message.endswith(f" ({ADDRESS})")


async def test_errors_about_a_session_name_the_peer() -> None:
    async with (
        serving("tcp://127.0.0.1:0", FAILING) as server,
        connect(server.url) as session,
    ):
        await server.shutdown()
        await session.closed()
        address = server.url.removeprefix("tcp://")
        reason = session.ended_because
        assert isinstance(reason, SessionIoError)
        assert (reason.address, session.peer.address) == (address, address)
        assert str(reason) == f"the peer has closed the link (peer: {address})"
        with pytest.raises(Exception, match="has ended") as caught:
            await client(Failing, session.caller).wait()
        assert address in str(caught.value)
