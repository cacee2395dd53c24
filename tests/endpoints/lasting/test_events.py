"""What an observer is told of the servers and the calls of a lasting client."""

from __future__ import annotations

import logging
from typing import Any, Protocol

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from roam_trio import (
    Address,
    AnyCall,
    AnySession,
    Observer,
    Overloaded,
    Proceed,
    Resolver,
    RoamTrioError,
    dispatcher,
    service,
    serving,
    stay_connected,
)


@service
class Echo(Protocol):
    async def echo(self, text: str) -> str: ...


class EchoImpl:
    async def echo(self, text: str) -> str:
        return text


ECHO = dispatcher(Echo, EchoImpl())


class Noting(Observer):
    """Notes what it is told of lasting clients."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def take(self) -> list[tuple[Any, ...]]:
        told, self.told = self.told, []
        return told

    def server_connecting(self, url: str) -> None:
        self.told.append(("connecting", url))

    def server_ready(self, url: str, session: AnySession) -> None:
        assert session.ended_because is None
        self.told.append(("ready", url))

    def server_draining(self, url: str) -> None:
        self.told.append(("draining", url))

    def server_lost(self, url: str, because: Exception, pause: float) -> None:
        self.told.append(("lost", url, type(because).__name__, pause))

    def servers_not_found(self, because: Exception | None) -> None:
        self.told.append(("not found", type(because).__name__))

    def call_retried(
        self, url: str, method: str, because: RoamTrioError, pause: float
    ) -> None:
        self.told.append(("retried", url, method, type(because).__name__, pause))


async def test_servers_that_come_and_go(autojump_clock: MockClock) -> None:
    noted, url = Noting(), "memory://echo"
    async with stay_connected(url, Echo, observer=noted) as client:
        await trio.sleep(0.01)
        *begun, (lost, _, error, pause) = noted.take()
        assert begun == [("connecting", url)]
        assert (lost, error) == ("lost", "ConnectionRefusedError")
        assert 0.025 <= pause <= 0.05
        async with serving(url, ECHO, reflection=True, grace=5):
            assert await client.echo("x") == "x"
            assert noted.take()[-2:] == [("connecting", url), ("ready", url)]
            await trio.sleep(10)
        await wait_all_tasks_blocked()
        # After a session that has lasted, the server is tried again at once.
        assert noted.take()[:3] == [
            ("draining", url),
            ("lost", url, "SessionError", 0.0),
            ("connecting", url),
        ]


async def test_a_server_that_is_gone_and_a_target_that_is_not_found(
    autojump_clock: MockClock,
) -> None:
    answers: list[Any] = [
        OSError("no name server"),
        [],
        [Address("memory://a")],
        [Address("memory://b")],
    ]

    class Changing(Resolver):
        async def resolve(self) -> Any:
            answer = answers[0]
            if len(answers) > 1:
                del answers[0]
            if isinstance(answer, Exception):
                raise answer
            return answer

        async def changed(self) -> None:
            await trio.sleep(60)

    noted = Noting()
    async with (
        serving("memory://a", ECHO),
        serving("memory://b", ECHO),
        stay_connected(Changing(), Echo, observer=noted) as client,
    ):
        await client.echo("x")
        assert noted.take() == [
            ("not found", "OSError"),
            ("not found", "NoneType"),
            ("connecting", "memory://a"),
            ("ready", "memory://a"),
        ]
        await trio.sleep(70)
        assert {each[:2] for each in noted.take()} == {
            ("draining", "memory://a"),
            ("lost", "memory://a"),
            ("connecting", "memory://b"),
            ("ready", "memory://b"),
        }


@pytest.mark.parametrize("reopen", [False, True])
async def test_calls_that_are_made_again(
    autojump_clock: MockClock, reopen: bool
) -> None:
    left = 1

    async def full(call: AnyCall, proceed: Proceed) -> Any:
        nonlocal left
        left -= 1
        if left >= 0:
            raise Overloaded(text="full", retry_after=2.0)
        return await proceed()

    noted, url = Noting(), "memory://full"
    async with serving(url, {"echo": ECHO}, middleware=[full]):
        if reopen:
            async with (
                stay_connected(url, observer=noted) as session,
                session.open(Echo, reopen=True) as client,
            ):
                assert await client.echo("x") == "x"
        else:
            async with stay_connected(url, Echo, name="echo", observer=noted) as client:
                assert await client.echo("x") == "x"
    assert ("retried", url, "Echo.echo", "Overloaded", 2.0) in noted.told


async def test_credentials_of_urls_are_neither_told_nor_logged(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    class Wrong(Resolver):
        """Finds what is no URL of a server."""

        async def resolve(self) -> Any:
            return [Address("nope://user:secret@host:1")]

    noted = Noting()
    with caplog.at_level(logging.WARNING):
        async with stay_connected(Wrong(), Echo, observer=noted) as client:
            with trio.move_on_after(1):
                await client.echo("x")
    assert "no session with nope://***@host:1" in caplog.text
    assert "secret" not in caplog.text
    assert "secret" not in repr(noted.told)
    assert ("connecting", "nope://***@host:1") in noted.told
    assert noted.told[1][2] == "ValueError"
