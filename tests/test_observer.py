"""`Observer`: a class that is told what becomes of sessions."""

from __future__ import annotations

import logging
from typing import Any, Protocol

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from roam_trio import (
    AnySession,
    Backoff,
    Connection,
    ConnectionClosed,
    Limits,
    Metadata,
    Observer,
    Peer,
    Refused,
    RoamError,
    Session,
    SessionError,
    client,
    connect,
    describe,
    dispatcher,
    service,
    serving,
)
from roam_trio.codec import CANCELLED
from roam_trio.links.memory import memory_link_pair
from roam_trio.metadata import NO_METADATA
from roam_trio.rpc.handler import ReplySink
from roam_trio.session import acceptor, initiator
from roam_trio.session.link_events import LinkEvents
from roam_trio.session.terms import SessionTerms
from roam_trio.wire.ids import MethodId
from roam_trio.wire.messages import (
    ConnectionAccept,
    RequestCall,
    RequestResponse,
    joined,
)

from .peer import link_to_peer
from .session.connecting import EVEN
from .session.running import METHODS, Custom, WithPeer, streams
from .test_resume import cut_link


@service
class Adder(Protocol):
    async def add(self, left: int, right: int) -> int: ...


class AdderImpl:
    async def add(self, left: int, right: int) -> int:
        return left + right


ADDER = dispatcher(Adder, AdderImpl())


class Noting(Observer):
    """Notes what it is told."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.told: list[tuple[Any, ...]] = []

    def _note(self, event: str, *args: Any) -> None:
        self.events.append(event)
        self.told.append(args)

    def session_opened(self, session: AnySession) -> None:
        self._note("session_opened", session)

    def session_closed(self, session: AnySession, because: Exception) -> None:
        self._note("session_closed", session, because)

    def connection_opened(self, connection: Connection) -> None:
        self._note("connection_opened", connection)

    def connection_closed(self, connection: Connection, because: BaseException) -> None:
        self._note("connection_closed", connection, because)

    def link_lost(self, session: AnySession, because: Exception) -> None:
        self._note("link_lost", session, because)

    def link_resumed(self, session: AnySession) -> None:
        self._note("link_resumed", session)

    def client_turned_away(self, peer: Peer, because: Exception) -> None:
        self._note("client_turned_away", peer, because)


async def test_both_sides_are_told_of_sessions_and_of_virtual_connections() -> None:
    of_server, of_client = Noting(), Noting()
    async with (
        serving("memory://both", {"adder": ADDER}, observer=of_server) as server,
        connect(server.url, observer=of_client) as session,
    ):
        assert of_client.events == ["session_opened"]
        assert of_client.told == [(session,)]
        assert of_server.told == [(server.sessions[0],)]
        async with session.open(Adder) as adder:
            assert await adder.add(1, 2) == 3
            assert of_client.events[1:] == ["connection_opened"]
            assert of_server.events[1:] == ["connection_opened"]
        await wait_all_tasks_blocked()
        assert of_client.events[2:] == ["connection_closed"]
    for noted in (of_server, of_client):
        assert noted.events == [
            "session_opened",
            "connection_opened",
            "connection_closed",
            "session_closed",
        ]
        (opened,), (closed, because) = noted.told[1:3]
        assert opened == closed
        assert opened.connection_id == 1
        assert isinstance(because, ConnectionClosed)
        session, ended = noted.told[3]
        assert isinstance(session, Session)
        assert ended is session.ended_because


async def test_connections_end_before_their_session() -> None:
    noted = Noting()
    async with (
        serving("memory://order", {"adder": ADDER}) as server,
        connect(server.url, observer=noted) as session,
        session.open(Adder),
    ):
        await server.shutdown()
        await session.closed()
    assert noted.events == [
        "session_opened",
        "connection_opened",
        "connection_closed",
        "session_closed",
    ]
    assert isinstance(noted.told[2][1], SessionError)


async def test_both_sides_are_told_of_lost_links_and_of_new_ones() -> None:
    of_server, of_client = Noting(), Noting()
    soon = Backoff(initial=0.001, longest=0.01)
    url = "tcp://127.0.0.1:0"
    async with (
        serving(url, ADDER, resume=True, observer=of_server) as server,
        connect(server.url, resume=soon, observer=of_client) as session,
    ):
        adder = client(Adder, session.caller)
        assert await adder.add(1, 2) == 3
        cut_link(session)
        assert await adder.add(1, 2) == 3
        (of_client_too,) = server.sessions
    for noted, which in ((of_client, session), (of_server, of_client_too)):
        assert noted.events == [
            "session_opened",
            "link_lost",
            "link_resumed",
            "session_closed",
        ]
        assert noted.told[1][0] is noted.told[2][0] is which
        assert isinstance(noted.told[1][1], Exception)


async def test_a_server_is_told_of_clients_that_it_turns_away() -> None:
    noted = Noting()

    async def welcome(peer: Peer) -> None:
        raise Refused("denied", "unknown token")

    async with serving(
        "memory://away", ADDER, on_session=welcome, observer=noted
    ) as server:
        with pytest.raises(Refused):
            async with connect(server.url, metadata={"who": "ada"}):
                pass
    assert noted.events == ["client_turned_away"]
    ((peer, because),) = noted.told
    assert peer.metadata.get("who") == "ada"
    assert (because.code, because.text) == ("denied", "unknown token")


async def test_a_server_is_told_of_clients_whose_handshake_fails() -> None:
    noted = Noting()
    link, peer = link_to_peer(16)
    async with trio.open_nursery() as nursery:

        async def accept() -> None:
            with pytest.raises(SessionError):
                await acceptor(link, observer=noted).run()

        nursery.start_soon(accept)
        await peer.say(ConnectionAccept(1, EVEN))
        await peer.leave()
    assert noted.events == ["client_turned_away"]
    assert isinstance(noted.told[0][1], SessionError)


class NotingRefusals(Observer):
    """Notes the transport, the method, who calls, and the error."""

    def __init__(self) -> None:
        self.noted: list[tuple[str, str, object, str]] = []

    def call_turned_away(
        self,
        connection: Connection,
        method: str,
        metadata: Metadata,
        because: RoamError,
    ) -> None:
        transport = connection.session.peer.transport
        told = metadata.get("from"), type(because).__name__
        self.noted.append((transport, method, *told))


async def test_a_server_is_told_of_calls_that_reach_no_handler() -> None:
    observer = NotingRefusals()
    [add] = describe(Adder).methods
    async with (
        serving("memory://adder", ADDER, observer=observer),
        connect("memory://adder") as session,
    ):
        ada = Metadata.of({"from": "Ada"})
        await session.caller.call(MethodId(7), b"", metadata=ada)
        await session.caller.call(add.id, b"\xff" * 20)
        assert await client(Adder, session.caller).add(1, 2) == 3
    assert observer.noted == [
        ("memory", "0x0000000000000007", "Ada", "UnknownMethod"),
        ("memory", "Adder.add", None, "InvalidPayload"),
    ]


@pytest.mark.parametrize(
    ("method", "told"),
    [
        (MethodId(7), ["UnknownMethod"] * 3),
        (METHODS["add"].id, ["InvalidPayload"] * 3),
        (METHODS["echo"].id, []),
    ],
)
async def test_a_server_is_told_once_of_a_call_whose_response_gets_no_task(
    method: MethodId, told: list[str]
) -> None:
    observer = NotingRefusals()

    async def echo(text: str) -> str:
        return text

    async def pause() -> None:
        await trio.sleep_forever()

    answering = streams(echo=echo)

    def answer(call: RequestCall, reply: ReplySink) -> Any:
        return pause() if call.method_id == 8 else answering.handle(call, reply)

    async with WithPeer(
        Custom(answer),
        limits=Limits(session_tasks=1),
        observer=observer,
        buffer=1,
    ) as (_, peer):
        await peer.say(RequestCall(0, 2, 8, (), NO_METADATA, b""))
        for number in (4, 6, 8):
            await peer.say(RequestCall(0, number, method, (), NO_METADATA, b"\x00"))
        await wait_all_tasks_blocked()
        # The last ones have waited for room, and got no task to wait in.
        results = [joined((await peer.hear(RequestResponse)).ret) for _ in range(3)]
        assert results.count(CANCELLED) == 2
    assert [because for *_, because in observer.noted] == told


async def test_a_client_is_not_told_that_it_is_turned_away() -> None:
    noted = Noting()
    near, far = memory_link_pair(16)

    async def welcome(peer: Peer) -> None:
        raise Refused("denied", "no")

    async with trio.open_nursery() as nursery:

        async def accept() -> None:
            with pytest.raises(Refused):
                await acceptor(far, on_session=welcome).run()

        nursery.start_soon(accept)
        with pytest.raises(Refused):
            async with initiator(near, observer=noted).open():
                pass
    assert noted.events == []


class Raising(Observer):
    """Raises whatever it is told."""


def _raise(self: Any, *args: Any) -> None:
    raise ValueError("the observer is blind")


for _name in [each for each in vars(Observer) if not each.startswith("_")]:
    setattr(Raising, _name, _raise)


async def test_one_that_raises_is_logged_once_and_harms_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def welcome(peer: Peer) -> None:
        if peer.metadata.get("who") is None:
            raise Refused("denied", "no")

    of_server, of_client = Raising(), Raising()
    async with serving(
        "memory://raising", {"adder": ADDER}, on_session=welcome, observer=of_server
    ) as server:
        for _ in range(2):
            with pytest.raises(Refused):
                async with connect(server.url, observer=of_client):
                    pass
            who = {"who": "ada"}
            async with (
                connect(server.url, metadata=who, observer=of_client) as session,
                session.open(Adder) as adder,
            ):
                assert await adder.add(1, 2) == 3
    logged = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert [each.getMessage().partition(" (")[0] for each in logged] == [
        "an observer failed in client_turned_away",
        "an observer failed in session_opened",
    ]
    assert all("the observer is blind" in (each.exc_text or "") for each in logged)


class Waiting(Observer):
    async def session_opened(self, session: AnySession) -> None:  # type: ignore[override]
        await trio.lowlevel.checkpoint()


@pytest.mark.parametrize(
    ("observer", "problem"),
    [
        (Waiting(), "Waiting.session_opened to be synchronous"),
        (5, "a subclass of Observer, got an object of type int"),
        (Noting, "the class Noting itself"),
    ],
)
async def test_what_cannot_observe_is_refused(observer: Any, problem: str) -> None:
    with pytest.raises(TypeError, match=problem):
        connect("memory://x", observer=observer)
    with pytest.raises(TypeError, match=problem):
        async with serving("memory://x", ADDER, observer=observer):
            pass
    with pytest.raises(TypeError, match=problem):
        initiator(memory_link_pair(1)[0], observer=observer)


async def test_one_that_overrides_nothing_changes_nothing() -> None:
    async with (
        serving("memory://nothing", ADDER, observer=Observer()) as server,
        connect(server.url, Adder, observer=Observer()) as adder,
    ):
        assert await adder.add(1, 2) == 3


async def test_links_of_a_session_that_is_not_set_up_or_over_are_nobodys() -> None:
    noted = Noting()
    terms = SessionTerms(limits=Limits(), peer=Peer("memory", "nobody"))
    events = LinkEvents(noted, terms)
    events.link_lost(ValueError("before"))
    events.link_resumed()
    near, far = memory_link_pair(16)
    async with trio.open_nursery() as nursery:
        serving = acceptor(far)
        nursery.start_soon(_serve_until_it_ends, serving)
        async with initiator(near).open() as session:
            terms.session = lambda: session
            events.link_resumed()
    events.link_lost(ValueError("after"))
    events.link_resumed()
    assert noted.events == ["link_resumed"]


async def _serve_until_it_ends(serving: Any) -> None:
    async with serving.open() as session:
        await session.closed()
