"""`on_session`: a server decides on each client before it answers its handshake."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from roam_trio import (
    AnyCall,
    Handler,
    Limits,
    Peer,
    Proceed,
    Refused,
    RoamTrioError,
    SessionRejected,
    Unavailable,
    acceptor,
    connect,
    current_call,
    dispatcher,
    initiator,
    service,
    serving,
)
from roam_trio.links.memory import memory_link_pair
from roam_trio.wire.ids import Parity
from roam_trio.wire.messages import (
    ConnectionSettings,
    Hello,
    HelloYourself,
    ProtocolError,
)

from .peer import link_to_peer
from .schemes import SCHEMES, Scheme


@service
class Greeter(Protocol):
    async def greet(self) -> str: ...


class GreeterImpl:
    def __init__(self, word: str = "hello") -> None:
        self._word = word

    async def greet(self) -> str:
        return f"{self._word} {current_call().identity}"


HELLO = dispatcher(Greeter, GreeterImpl())


async def by_token(peer: Peer) -> Handler | Mapping[str, Handler] | None:
    """A welcome as the guide has it."""
    user = peer.metadata.get("authorization")
    await trio.lowlevel.checkpoint()
    if user is None:
        raise Refused("denied", "unknown token")
    peer.identity = user
    return None


@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
async def test_a_refusal_reaches_the_connect_of_the_client(
    scheme: Scheme, tmp_path: Path
) -> None:
    url = scheme.url(tmp_path)
    async with serving(url, HELLO, on_session=by_token, **scheme.to_serve()) as server:
        with pytest.raises(Refused) as caught:
            async with connect(server.url, Greeter, **scheme.to_connect()):
                raise AssertionError("it was let in")
        assert (caught.value.code, caught.value.text) == ("denied", "unknown token")
        assert caught.value.by_peer
        assert server.sessions == ()

        token = {"authorization": "ada"}
        async with connect(
            server.url, Greeter, metadata=token, **scheme.to_connect()
        ) as greeter:
            assert await greeter.greet() == "hello ada"


async def test_a_refusal_reaches_a_client_that_resumes() -> None:
    url = "tcp://127.0.0.1:0"
    async with serving(url, HELLO, on_session=by_token, resume=True) as server:
        with pytest.raises(Refused, match="unknown token"):
            async with connect(server.url, Greeter, resume=True):
                raise AssertionError("it was let in")


async def test_the_handshake_is_answered_after_the_decision_and_not_before() -> None:
    decide = trio.Event()

    async def welcome(peer: Peer) -> None:
        await decide.wait()

    link, peer = link_to_peer(16)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(acceptor(link, on_session=welcome).run, HELLO)
        await peer.say(Hello(0, 7, ConnectionSettings(Parity.ODD, 64)))
        await wait_all_tasks_blocked()
        with pytest.raises(trio.WouldBlock):
            peer.rx.recv_nowait()
        decide.set()
        await peer.hear(HelloYourself)
        await peer.leave()


async def test_nobody_is_asked_before_the_hello_has_come() -> None:
    asked: list[Peer] = []

    async def welcome(peer: Peer) -> None:
        asked.append(peer)

    link, peer = link_to_peer(16)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(acceptor(link, on_session=welcome).run, HELLO)
        await wait_all_tasks_blocked()
        assert asked == []
        await peer.say(Hello(0, 7, ConnectionSettings(Parity.ODD, 64)))
        await peer.hear(HelloYourself)
        assert len(asked) == 1
        await peer.leave()


@pytest.mark.rule("session.protocol-error")
async def test_a_peer_that_knows_no_refusals_gets_a_protocol_error() -> None:
    async def welcome(peer: Peer) -> None:
        raise Refused("denied", "unknown token")

    link, peer = link_to_peer(16)
    async with trio.open_nursery() as nursery:

        async def accept() -> None:
            with pytest.raises(Refused) as caught:
                await acceptor(link, on_session=welcome).run(HELLO)
            assert not caught.value.by_peer

        nursery.start_soon(accept)
        await peer.say(Hello(0, 7, ConnectionSettings(Parity.ODD, 64)))
        message = await peer.hear(ProtocolError)
        assert message.description == "refused: denied: unknown token"
        await peer.leave()


async def test_a_refusal_in_a_group_of_a_nursery_is_a_refusal() -> None:
    async def welcome(peer: Peer) -> None:
        async with trio.open_nursery():
            raise Refused("denied", "by a task")

    async with serving("memory://grouped", HELLO, on_session=welcome) as server:
        with pytest.raises(Refused, match="by a task"):
            async with connect(server.url):
                pass


@pytest.mark.parametrize(
    "error", [ValueError("the database is down"), SystemError("worse")]
)
async def test_a_decision_that_fails_turns_the_client_away_and_is_logged(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    async def welcome(peer: Peer) -> None:
        raise error

    async with serving("memory://failing", HELLO, on_session=welcome) as server:
        with pytest.raises(Refused) as caught:
            async with connect(server.url):
                pass
    assert caught.value.code == "failed"
    assert str(error) not in str(caught.value)
    (record,) = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert record.getMessage().startswith("on_session failed")
    assert str(error) in (record.exc_text or "")


async def test_a_refusal_that_a_call_of_the_decision_got_is_a_failure_of_it() -> None:
    async def welcome(peer: Peer) -> None:
        refused = Refused("denied", "by somebody else")
        refused.by_peer = True
        raise refused

    async with serving("memory://passed-on", HELLO, on_session=welcome) as server:
        with pytest.raises(Refused) as caught:
            async with connect(server.url):
                pass
    assert (caught.value.code, caught.value.text) == (
        "failed",
        "the server could not decide on it",
    )


@pytest.mark.parametrize("given", [5, {"greeter": 5}, {5: HELLO}, GreeterImpl])
async def test_what_is_no_handler_turns_the_client_away(
    given: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def welcome(peer: Peer) -> Any:
        return given

    async with serving("memory://wrong", HELLO, on_session=welcome) as server:
        with pytest.raises(Refused, match="failed"):
            async with connect(server.url):
                pass
    assert "expected a Handler" in caplog.text or "expected the names" in caplog.text


async def wait_in_a_nursery() -> None:
    """What is cancelled here is a group."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)
        await trio.sleep_forever()


@pytest.mark.parametrize("wait", [trio.sleep_forever, wait_in_a_nursery])
async def test_a_decision_has_the_time_for_the_handshake(
    wait: Callable[[], Awaitable[None]], autojump_clock: trio.testing.MockClock
) -> None:
    async def welcome(peer: Peer) -> None:
        await wait()

    limits = Limits(handshake_seconds=3)
    options: dict[str, Any] = {"limits": limits, "on_session": welcome}
    async with serving("memory://slow", HELLO, **options) as server:
        with pytest.raises(Refused) as caught:
            async with connect(server.url):
                pass
        assert trio.current_time() == pytest.approx(3, abs=0.5)
    assert caught.value.code == "deadline"
    assert "(limit: handshake_seconds)" in caught.value.text


@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
@pytest.mark.parametrize("how", ["shut down", "cancelled"])
async def test_client_that_is_being_decided_on_learns_that_the_server_ends(
    scheme: Scheme, how: str, tmp_path: Path
) -> None:
    """And nobody waits for the decision, which is cancelled."""
    is_asked, is_cancelled = trio.Event(), False
    caught: list[Exception] = []

    async def welcome(peer: Peer) -> None:
        nonlocal is_cancelled
        is_asked.set()
        try:
            await trio.sleep_forever()
        finally:
            is_cancelled = True

    async def client(url: str) -> None:
        try:
            async with connect(url, **scheme.to_connect()):
                pass
        except RoamTrioError as error:
            caught.append(error)

    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as scope:
            async with serving(
                scheme.url(tmp_path), HELLO, on_session=welcome, **scheme.to_serve()
            ) as server:
                nursery.start_soon(client, server.url)
                await is_asked.wait()
                if how == "cancelled":
                    scope.cancel()
                    await trio.sleep_forever()
    (error,) = caught
    assert isinstance(error, Unavailable)
    assert (error.code, error.text, error.by_peer) == (
        ("unavailable", "the server is shutting down", True)
    )
    assert is_cancelled


async def test_server_that_is_unavailable_says_so_in_its_own_words() -> None:
    async def welcome(peer: Peer) -> None:
        raise Unavailable(text="it is Sunday", retry_after=86400)

    async with serving("memory://sunday", HELLO, on_session=welcome) as server:
        with pytest.raises(Unavailable, match="it is Sunday") as caught:
            async with connect(server.url):
                pass
    # The message has no place for `retry_after`.
    assert (caught.value.text, caught.value.retry_after) == ("it is Sunday", None)


async def test_unavailable_that_a_call_of_the_decision_got_is_a_failure_of_it() -> None:
    async def welcome(peer: Peer) -> None:
        error = Unavailable(text="by somebody else")
        error.by_peer = True
        raise error

    async with serving("memory://elsewhere", HELLO, on_session=welcome) as server:
        with pytest.raises(Refused) as caught:
            async with connect(server.url):
                pass
    assert caught.value.code == "failed"


async def test_handlers_for_a_session_take_the_place_of_those_of_the_server() -> None:
    async def welcome(peer: Peer) -> Handler | Mapping[str, Handler] | None:
        peer.identity = who = peer.metadata.get("who")
        if who == "one":
            return dispatcher(Greeter, GreeterImpl("one"))
        if who == "names":
            return {"mine": dispatcher(Greeter, GreeterImpl("mine"))}
        return None

    async with serving(
        "memory://made", {"greeter": HELLO}, on_session=welcome
    ) as server:
        async with (
            connect(server.url, metadata={"who": "nobody"}) as session,
            session.open(Greeter) as greeter,
        ):
            assert await greeter.greet() == "hello nobody"
        async with connect(server.url, Greeter, metadata={"who": "one"}) as greeter:
            assert await greeter.greet() == "one one"
        async with connect(server.url, metadata={"who": "names"}) as session:
            async with session.open(Greeter, "mine") as greeter:
                assert await greeter.greet() == "mine names"
            with pytest.raises(SessionRejected, match="services: mine"):
                async with session.open(Greeter):
                    pass


async def test_middleware_of_the_server_is_around_handlers_for_a_session() -> None:
    async def loud(call: AnyCall, proceed: Proceed) -> Any:
        return (await proceed()).upper()

    async def welcome(peer: Peer) -> Handler:
        return dispatcher(Greeter, GreeterImpl("mine"))

    async with (
        serving(
            "memory://loud", HELLO, on_session=welcome, middleware=[loud]
        ) as server,
        connect(server.url, Greeter) as greeter,
    ):
        assert await greeter.greet() == "MINE NONE"


async def test_a_builder_of_sessions_decides_too() -> None:
    near, far = memory_link_pair(16)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(acceptor(far, on_session=by_token).run, HELLO)
        token = {"authorization": "ada"}
        async with initiator(near, metadata=token).open() as session:
            assert session.ended_because is None


async def test_establish_raises_a_refusal_in_the_task_that_asked() -> None:
    near, far = memory_link_pair(16)
    async with trio.open_nursery() as nursery:

        async def accept() -> None:
            with pytest.raises(Refused, match="unknown token"):
                await acceptor(far, on_session=by_token).establish(
                    HELLO, spawn=nursery.start_soon
                )

        nursery.start_soon(accept)
        with pytest.raises(Refused, match="unknown token"):
            await initiator(near).establish(spawn=nursery.start_soon)


async def test_a_refused_client_leaves_room_for_others() -> None:
    async with serving(
        "memory://room", HELLO, on_session=by_token, max_sessions=1
    ) as server:
        for _ in range(3):
            with pytest.raises(Refused):
                async with connect(server.url):
                    pass
        async with connect(server.url, metadata={"authorization": "ada"}):
            assert len(server.sessions) == 1
