"""Places of a server: how many clients it has, of one peer too, and who is refused."""

from __future__ import annotations

import os
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import pytest
import trio
import trio.testing

from roam_trio import (
    BareConduit,
    Conduit,
    ConduitAcceptor,
    ConduitRx,
    ConduitTx,
    Message,
    MessageFamily,
    Observer,
    Overloaded,
    Peer,
    Server,
    SessionLost,
    connect,
    dispatcher,
    memory_link_pair,
    serve,
    service,
)
from roam_trio.endpoints.places import Place, Places
from roam_trio.peers import Certificate, Credentials
from roam_trio.rpc.handler import NoService
from roam_trio.transports import dialer
from roam_trio.wire.messages import ProtocolError
from tests.peer import Peer as RawPeer

from .test_resume import SOON, cut_link
from .test_resume_strangers import context_of, server_context


@service
class Greeter(Protocol):
    async def greet(self, name: str) -> str: ...


class GreeterImpl:
    async def greet(self, name: str) -> str:
        return f"hello {name}"


async def started(nursery: trio.Nursery, url: str, **options: Any) -> Server:
    run = partial(serve, url, dispatcher(Greeter, GreeterImpl()), **options)
    server: Server = await nursery.start(run)
    return server


# ------------------------------------------------------------ deciding


def taken(place: Place | Overloaded) -> Place:
    assert isinstance(place, Place)
    return place


def why_not(place: Place | Overloaded) -> str:
    assert isinstance(place, Overloaded)
    return place.text


def test_places_are_taken_and_given_back() -> None:
    places = Places(2, None)
    first, second = taken(places.enter(None)), taken(places.enter(tcp("10.0.0.1")))
    assert (
        why_not(places.enter(None))
        == "there is no place for another session (limit: max_sessions)"
    )
    assert repr(places) == "<Places: 0 of 2 free>"
    places.leave(first)
    places.leave(second)
    assert repr(places) == "<Places: 2 of 2 free>"


def tcp(host: str, port: int = 4000) -> Peer:
    return Peer("tcp", f"{host}:{port}")


SAME_HOSTS = {
    "ports": (tcp("10.0.0.1", 1), tcp("10.0.0.1", 2)),
    "IPv6": (tcp("[2001:db8::1]"), tcp("[2001:db8::ffff:1]")),
    "mapped": (tcp("10.0.0.1"), tcp("[::ffff:10.0.0.1]")),
    "users": (
        Peer("unix", "process 1 of user 7", credentials=Credentials(1, 7, 7)),
        Peer("unix", "process 2 of user 7", credentials=Credentials(2, 7, 8)),
    ),
}

OTHER_HOSTS = {
    "IPv4": (tcp("10.0.0.1"), tcp("10.0.0.2")),
    "IPv6": (tcp("[2001:db8::1]"), tcp("[2001:db8:0:1::1]")),
    "users": (
        Peer("unix", "process 1 of user 7", credentials=Credentials(1, 7, 7)),
        Peer("unix", "process 2 of user 8", credentials=Credentials(2, 8, 7)),
    ),
}


@pytest.mark.parametrize("peers", SAME_HOSTS.values(), ids=SAME_HOSTS)
def test_clients_of_one_host_count_together(peers: tuple[Peer, Peer]) -> None:
    places = Places(10, 1, may_identify=False)
    first = taken(places.enter(peers[0]))
    assert "limit: max_sessions_per_peer" in why_not(places.enter(peers[1]))
    places.leave(first)
    taken(places.enter(peers[1]))


@pytest.mark.parametrize("peers", OTHER_HOSTS.values(), ids=OTHER_HOSTS)
def test_clients_of_other_hosts_count_by_themselves(peers: tuple[Peer, Peer]) -> None:
    places = Places(10, 2, may_identify=False)
    for peer in (*peers, *peers):
        taken(places.enter(peer))
    for peer in peers:
        assert "there are 2 sessions of this" in why_not(places.enter(peer))


def test_a_client_that_is_refused_takes_no_place() -> None:
    places = Places(3, 1)
    taken(places.enter(tcp("10.0.0.1")))
    for _ in range(10):
        why_not(places.enter(tcp("10.0.0.1")))
    taken(places.enter(tcp("10.0.0.2")))
    taken(places.enter(tcp("10.0.0.3")))


def with_identity(name: str | None) -> Peer:
    peer = tcp("10.0.0.1")
    peer.identity = name
    return peer


def test_an_identity_counts_instead_of_the_host() -> None:
    places = Places(10, 1)
    for name in ("ada", "bob"):
        place = taken(places.enter(tcp("10.0.0.1")))
        assert places.count_session(place, with_identity(name)) is None
    place = taken(places.enter(tcp("10.0.0.1")))
    refusal = places.count_session(place, with_identity("bob"))
    assert refusal is not None
    assert "1 sessions of this identity (limit: max_sessions_per_peer)" in refusal.text
    places.leave(place)
    place = taken(places.enter(tcp("10.0.0.1")))
    assert places.count_session(place, with_identity(None)) is None


def test_a_certificate_is_an_identity() -> None:
    places = Places(10, 1)
    subject = ((("commonName", "ada"),),)
    peer = Peer("tls", "10.0.0.1:1", Certificate({"subject": subject}, b"der"))
    assert places.count_session(taken(places.enter(peer)), peer) is None
    assert places.count_session(taken(places.enter(peer)), peer) is not None


def test_clients_without_an_identity_count_by_their_host_in_the_end() -> None:
    places = Places(10, 1)
    place = taken(places.enter(tcp("10.0.0.1")))
    assert places.count_session(place, tcp("10.0.0.1")) is None
    assert places.count_handshake(place, tcp("10.0.0.1")) is None
    other = taken(places.enter(tcp("10.0.0.1")))
    refusal = places.count_session(other, tcp("10.0.0.1"))
    assert refusal is not None
    assert "1 sessions of this address" in refusal.text


@pytest.mark.parametrize(
    ("most", "per_peer", "handshakes"), [(1024, 5, 64), (80, 5, 10), (1024, 100, 100)]
)
def test_handshakes_of_one_host_have_a_bound_of_their_own(
    most: int, per_peer: int, handshakes: int
) -> None:
    places = Places(most, per_peer)
    made = [taken(places.enter(tcp("10.0.0.1", port))) for port in range(handshakes)]
    assert why_not(places.enter(tcp("10.0.0.1"))) == (
        f"there are {handshakes} handshakes of this address "
        "(limit: max_sessions_per_peer)"
    )
    taken(places.enter(tcp("10.0.0.2")))
    assert places.count_session(made[0], with_identity("ada")) is None
    taken(places.enter(tcp("10.0.0.1")))


def test_host_has_no_handshakes_beyond_its_sessions_where_no_identity_can_come() -> (
    None
):
    places = Places(1024, 2, may_identify=False)
    for _ in range(2):
        taken(places.enter(tcp("10.0.0.1")))
    assert "there are 2 sessions of this address" in (
        why_not(places.enter(tcp("10.0.0.1")))
    )


# ------------------------------------------------------------ servers


async def refused(url: str, **options: Any) -> str:
    """Return why a client is refused."""
    with pytest.raises(Overloaded) as caught:
        async with connect(url, **options):
            pass
    return caught.value.text


async def until_left(server: Server, count: int = 0) -> None:
    while len(server.sessions) > count:
        await trio.lowlevel.checkpoint()


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("tcp://127.0.0.1:0", "address"),
        ("ws://127.0.0.1:0", "address"),
        ("memory://per-peer", "address"),
        ("unix:", "user"),
    ],
)
async def test_a_peer_has_only_so_many_sessions(
    url: str, what: str, nursery: trio.Nursery, tmp_path: Path
) -> None:
    if url == "unix:":
        url = f"unix://{tmp_path}/socket"
    server = await started(nursery, url, max_sessions_per_peer=2)
    async with connect(server.url, Greeter) as first:
        async with connect(server.url, Greeter):
            for _ in range(3):
                assert await refused(server.url) == (
                    f"there are 2 sessions of this {what} "
                    "(limit: max_sessions_per_peer)"
                )
            assert await first.greet("ada") == "hello ada"
        await until_left(server, 1)
        async with connect(server.url, Greeter) as third:
            assert await third.greet("bob") == "hello bob"


async def by_token(peer: Peer) -> None:
    peer.identity = peer.metadata.get("token")


async def test_identities_of_the_application_count_by_themselves(
    nursery: trio.Nursery,
) -> None:
    server = await started(
        nursery, "tcp://127.0.0.1:0", max_sessions_per_peer=1, on_session=by_token
    )
    ada, bob = {"token": "ada"}, {"token": "bob"}
    async with connect(server.url, metadata=ada), connect(server.url, metadata=bob):
        for token in (ada, bob):
            why = await refused(server.url, metadata=token)
            assert "1 sessions of this identity" in why
        async with connect(server.url):  # without one, it counts by its address
            assert "sessions of this address" in await refused(server.url)
            why = await refused(server.url, metadata=ada)
            assert "1 sessions of this identity" in why
        await until_left(server, 2)
    await until_left(server)
    async with connect(server.url, metadata=ada, handler=NoService()):
        assert len(server.sessions) == 1
    await server.shutdown()
    assert not server._sessions.all


async def test_clients_of_one_address_get_their_identities_side_by_side(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    async def slowly(peer: Peer) -> None:
        await trio.sleep(1)
        await by_token(peer)

    url = "memory://nat"
    await started(nursery, url, max_sessions_per_peer=2, on_session=slowly)
    greeted: list[str] = []

    async def greet(number: int) -> None:
        metadata = {"token": f"client {number}"}
        async with connect(url, Greeter, metadata=metadata) as greeter:
            greeted.append(await greeter.greet("ada"))

    async with trio.open_nursery() as clients:
        for number in range(30):
            clients.start_soon(greet, number)
    assert trio.current_time() == 1
    assert greeted == ["hello ada"] * 30


async def test_certificates_need_no_on_session(nursery: trio.Nursery) -> None:
    server = await started(
        nursery,
        "tls://127.0.0.1:0",
        max_sessions_per_peer=1,
        ssl_context=server_context(),
    )

    def greeting(name: str | None) -> AbstractAsyncContextManager[Greeter]:
        return connect(server.url, Greeter, ssl_context=context_of(name))

    async with greeting("ada"), greeting("bob"), greeting(None) as greeter:
        assert await greeter.greet("ada") == "hello ada"
        for name, what in (("ada", "identity"), (None, "address")):
            why = await refused(server.url, ssl_context=context_of(name))
            assert f"there are 1 sessions of this {what}" in why


async def test_users_of_unix_sockets_need_no_on_session(
    nursery: trio.Nursery, tmp_path: Path
) -> None:
    server = await started(nursery, f"unix://{tmp_path}/one", max_sessions_per_peer=1)
    async with connect(server.url):
        assert "1 sessions of this user" in await refused(server.url)
        (session,) = server.sessions
        assert session.peer.credentials is not None
        assert session.peer.credentials.uid == os.getuid()


async def test_returning_client_is_not_counted_again(nursery: trio.Nursery) -> None:
    server = await started(
        nursery,
        "tcp://127.0.0.1:0",
        max_sessions=1,
        max_sessions_per_peer=1,
        resume=True,
    )
    async with connect(server.url, Greeter, resume=SOON) as greeter:
        assert await greeter.greet("ada") == "hello ada"
        for _ in range(3):
            (session,) = server.sessions
            cut_link(session)
            assert await greeter.greet("bob") == "hello bob"
        with pytest.raises(SessionLost, match="rejected a new session"):
            async with connect(server.url, resume=SOON):
                pass


async def test_resuming_clients_of_one_peer_are_counted(nursery: trio.Nursery) -> None:
    server = await started(
        nursery, "tcp://127.0.0.1:0", max_sessions_per_peer=1, resume=True
    )
    async with connect(server.url, Greeter, resume=SOON) as greeter:
        assert "of this address" in await refused(server.url, resume=SOON)
        assert await greeter.greet("ada") == "hello ada"


class Watcher(Observer):
    def __init__(self) -> None:
        self.turned_away: list[tuple[str, str]] = []

    def client_turned_away(self, peer: Peer, because: Exception) -> None:
        self.turned_away.append((peer.transport, str(because)))


async def test_observer_is_told_of_refusals(nursery: trio.Nursery) -> None:
    watcher = Watcher()
    server = await started(
        nursery, "tcp://127.0.0.1:0", max_sessions=1, observer=watcher
    )
    async with connect(server.url):
        await refused(server.url)
    [(transport, why)] = watcher.turned_away
    assert transport == "tcp"
    assert "no place for another session (limit: max_sessions)" in why


# ------------------------------------------------------------ floods


class Stranger:
    """Connects without a word, and says what it hears, and when."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.heard: list[tuple[float, str]] = []

    async def run(self) -> None:
        peer = RawPeer(await dialer(self._url)())
        told = await peer.rx.recv()
        self.heard.append((trio.current_time(), "" if told is None else "told"))
        await trio.sleep_forever()


async def strangers(nursery: trio.Nursery, url: str, count: int) -> list[Stranger]:
    made = [Stranger(url) for _ in range(count)]
    for each in made:
        nursery.start_soon(each.run)
        await trio.testing.wait_all_tasks_blocked()
    return made


def heard_by(made: list[Stranger], when: float) -> int:
    return sum(1 for each in made for at, what in each.heard if what and at <= when)


async def test_full_server_tells_each_client_of_a_flood_at_once(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with trio.open_nursery() as nursery:
        server = await started(nursery, "memory://flooded", max_sessions=1)
        async with connect(server.url, Greeter) as greeter:
            flood = await strangers(nursery, server.url, 200)
            assert heard_by(flood, 0) == 200
            assert await greeter.greet("ada") == "hello ada"
        nursery.cancel_scope.cancel()
    assert "memory://flooded: a client was refused" in caplog.text


async def test_strangers_without_an_address_until_then_are_told_in_their_places(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with trio.open_nursery() as nursery:
        url = "memory://one-peer"
        server = await started(nursery, url, max_sessions_per_peer=1)
        async with connect(server.url, Greeter) as greeter:
            flood = await strangers(nursery, server.url, 100)
            assert [what for each in flood for _, what in each.heard] == (
                ["told"] * 100
            )  # each has a place until it was told
            assert await greeter.greet("ada") == "hello ada"
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("options", [{"max_sessions": 1}, {"max_sessions_per_peer": 1}])
async def test_client_is_told_at_once_although_silent_ones_are_refused(
    options: dict[str, int],
    nursery: trio.Nursery,
    mock_clock: trio.testing.MockClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The clock stands still, so none of them is given up because of the time.
    server = await started(nursery, "ws://127.0.0.1:0/", **options)
    port = int(server.url.rstrip("/").rpartition(":")[2])
    async with connect(server.url, Greeter) as greeter, AsyncExitStack() as silent_ones:
        streams: list[trio.SocketStream] = []
        for _ in range(80):
            stream = await trio.open_tcp_stream("127.0.0.1", port)
            streams.append(await silent_ones.enter_async_context(stream))
        why = await refused(server.url)
        assert "limit: max_sessions" in why
        for stream in streams[:17]:  # 80 and the client are 17 more than 64
            await until_cut_off(stream)
        async with trio.open_nursery() as others:
            for stream in streams[17:]:
                others.start_soon(until_cut_off, stream)
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert len(others.child_tasks) == 63
            others.cancel_scope.cancel()
        assert await greeter.greet("ada") == "hello ada"
    await server.shutdown()


async def until_cut_off(stream: trio.SocketStream) -> None:
    with suppress(trio.BrokenResourceError):
        assert await stream.receive_some() == b""


async def silent(server: Server) -> trio.SocketStream:
    """Connect, say nothing, and so take a place."""
    port = int(server.url.rpartition(":")[2])
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    await trio.testing.wait_all_tasks_blocked(0.01)
    return stream


async def test_client_returns_to_its_session_when_there_is_no_place_left(
    nursery: trio.Nursery,
) -> None:
    server = await started(nursery, "tcp://127.0.0.1:0", max_sessions=1, resume=True)
    async with connect(server.url, Greeter, resume=SOON) as greeter:
        assert await greeter.greet("ada") == "hello ada"
        async with await silent(server):
            (session,) = server.sessions
            cut_link(session)
            assert await greeter.greet("bob") == "hello bob"
    await server.shutdown()


async def test_new_client_is_refused_while_others_take_all_places_without_a_word(
    nursery: trio.Nursery,
) -> None:
    server = await started(nursery, "tcp://127.0.0.1:0", max_sessions=1, resume=True)
    async with await silent(server), await silent(server):
        why = await refused(server.url, resume=SOON)
        assert why == "there is no place for another session (limit: max_sessions)"
    await server.shutdown()


async def test_shutdown_does_not_wait_for_refusals(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with trio.open_nursery() as nursery, trio.open_nursery() as clients:
        server = await started(nursery, "memory://ends", max_sessions=1)
        async with connect(server.url):
            await strangers(clients, server.url, 3)
        began = trio.current_time()
        await server.shutdown()
        assert trio.current_time() - began <= 1
        clients.cancel_scope.cancel()


async def test_strangers_that_leave_while_they_are_refused_harm_nobody(
    nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    server = await started(nursery, "ws://127.0.0.1:0", max_sessions=1)
    port = int(server.url.rstrip("/").rpartition(":")[2])
    async with connect(server.url, Greeter) as greeter:
        for said in (b"", b"GET / HTTP/1.1\r\n", b"nonsense\r\n\r\n"):
            async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                if said:
                    await stream.send_all(said)
        assert "no place for another session" in await refused(server.url)
        assert await greeter.greet("ada") == "hello ada"
    assert {record.levelname for record in caplog.records} == {"WARNING"}
    await server.shutdown()


class Broken(Conduit[Message]):
    """A conduit that cannot be used."""

    def split(self) -> tuple[ConduitTx[Message], ConduitRx[Message]]:
        raise ZeroDivisionError("as conduits of somebody else's may")


class Acceptor(ConduitAcceptor[Message]):
    """Accepts the conduits in a list, one after another."""

    def __init__(self, *conduits: Conduit[Message]) -> None:
        self.conduits = list(conduits)

    async def accept(self) -> Conduit[Message]:
        await trio.lowlevel.checkpoint()
        if not self.conduits:
            raise trio.EndOfChannel
        return self.conduits.pop(0)


async def test_refusals_that_fail_harm_nobody(
    nursery: trio.Nursery,
    autojump_clock: trio.testing.MockClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (near, far), (gone, lost) = memory_link_pair(8), memory_link_pair(8)
    kept, there = memory_link_pair(8)
    for half in gone.split():
        await half.close()
    links = [BareConduit(each, MessageFamily()) for each in (there, lost, far)]
    acceptor = Acceptor(links[0], Broken(), links[1], links[2])
    nursery.start_soon(partial(serve, acceptor, NoService(), max_sessions=1))
    refusal = await RawPeer(near).hear(ProtocolError)
    assert "(limit: max_sessions)" in refusal.description
    assert "refusing a client has failed; the others go on" in caplog.text
    await RawPeer(kept).initiate()
    nursery.cancel_scope.cancel()
