"""Services by name: a client opens a connection for each that it uses."""

from __future__ import annotations

from typing import Any, Protocol

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from roam_trio import client, connect, dispatcher, serve, service
from roam_trio.endpoints.server import Server
from roam_trio.errors import ConnectionLost, SessionRejected, UnknownMethod
from roam_trio.metadata import Metadata, MetadataEntry, MetadataFlags
from roam_trio.schema import u32
from roam_trio.service import current_call
from roam_trio.session import SERVICE_KEY, AcceptedConnection, Session
from roam_trio.session.offering import OfferedServices
from roam_trio.wire.messages import ConnectionAccept, ConnectionOpen
from tests.session.connecting import EVEN, Acceptor, has_only_the_root, hear_bytes
from tests.session.running import Task, WithPeer, join


@service
class WordCounter(Protocol):
    """Counts."""

    async def add(self, number: u32) -> u32: ...


@service
class Text(Protocol):
    """Works on text."""

    async def upper(self, text: str) -> str: ...


class WordCounterImpl:
    def __init__(self) -> None:
        self.total = 0

    async def add(self, number: int) -> int:
        self.total += number
        return self.total


class TextImpl:
    async def upper(self, text: str) -> str:
        return text.upper()


def offered() -> dict[str, Any]:
    return {
        "word-counter": dispatcher(WordCounter, WordCounterImpl()),
        "text": dispatcher(Text, TextImpl()),
    }


async def sessions(nursery: trio.Nursery) -> tuple[Session, Session]:
    """The client's, and that of a server that offers two services."""
    return await join(nursery, accepting={"on_connection": OfferedServices(offered())})


# ------------------------------------------------------------ Session.open


@pytest.mark.rule("rpc.virtual-connection.open", "rpc.one-service-per-connection")
async def test_open_gives_a_client_on_a_connection_of_its_own(
    nursery: trio.Nursery,
) -> None:
    left, right = await sessions(nursery)
    async with left.open(WordCounter) as counter, left.open(Text) as text:
        assert await counter.add(3) == 3
        assert await counter.add(4) == 7
        assert await text.upper("abc") == "ABC"
        numbers = [c.connection_id for c in left.statistics().connections]
        assert numbers == [0, 1, 3]
    await has_only_the_root(left)
    await has_only_the_root(right)
    with pytest.raises(ConnectionLost, match="this side has closed the connection"):
        await counter.add(1)


async def test_open_sends_the_name_in_kebab_case_and_metadata_beside_it(
    nursery: trio.Nursery,
) -> None:
    async with WithPeer() as (session, peer):
        Task(nursery, session.open(WordCounter).__aenter__)
        assert await hear_bytes(peer) == (
            f"01 03 00 40 01 07 {b'service'.hex(' ')} 00 0c "
            f"{b'word-counter'.hex(' ')} 00"
        )
        opening = session.open(
            WordCounter, "other", metadata=[MetadataEntry("token", "x", 1)]
        )
        Task(nursery, opening.__aenter__)
        assert (await peer.hear(ConnectionOpen)).metadata == Metadata(
            (MetadataEntry("service", "other"), MetadataEntry("token", "x", 1))
        )


async def test_a_service_goes_by_the_name_it_gave_itself(
    nursery: trio.Nursery,
) -> None:
    @service(name="WordCounter")
    class Renamed(Protocol):
        async def add(self, number: u32) -> u32: ...

    left, _ = await sessions(nursery)
    async with left.open(Renamed) as counter:
        assert await counter.add(3) == 3


@pytest.mark.rule("connection.open.rejection")
async def test_an_unknown_name_is_rejected_and_told_which_exist(
    nursery: trio.Nursery,
) -> None:
    left, right = await sessions(nursery)
    with pytest.raises(SessionRejected) as caught:
        async with left.open(Text, "txt"):
            raise AssertionError("was opened")
    assert str(caught.value) == (
        "the peer rejected the connection: "
        "error=\"'txt' is not one of the services: text, word-counter\" "
        "(peer: this process)"
    )
    await has_only_the_root(left)
    await has_only_the_root(right)


def chosen(*entries: MetadataEntry) -> AcceptedConnection | Metadata:
    return OfferedServices(offered()).choose(Metadata(entries))


def test_the_handler_of_the_name_is_chosen() -> None:
    offer = offered()
    metadata = Metadata.of({SERVICE_KEY: "text"})
    accepted = OfferedServices(offer, max_concurrent_requests=3).choose(metadata)
    assert isinstance(accepted, AcceptedConnection)
    assert accepted.handler is offer["text"]
    assert accepted.max_concurrent_requests == 3


@pytest.mark.parametrize(
    ("entries", "error"),
    [
        ([], "none was named (metadata key: service) of"),
        (
            [MetadataEntry("Service", "text")],
            "none was named (metadata key: service) of",
        ),
        ([MetadataEntry(SERVICE_KEY, "Text")], "'Text' is not one of"),
        ([MetadataEntry(SERVICE_KEY, 7)], "7 is not one of"),
        ([MetadataEntry(SERVICE_KEY, b"text")], "b'text' is not one of"),
    ],
)
def test_what_names_no_service_is_told_which_exist(
    entries: list[MetadataEntry], error: str
) -> None:
    assert chosen(*entries) == Metadata.of(
        {"error": f"{error} the services: text, word-counter"}
    )


@pytest.mark.rule("rpc.metadata.flags.sensitive")
def test_a_sensitive_name_is_not_sent_back() -> None:
    entry = MetadataEntry(SERVICE_KEY, "hunter2", MetadataFlags.SENSITIVE)
    assert chosen(entry) == Metadata.of(
        {"error": "the one named is none of the services: text, word-counter"}
    )


def test_the_names_offered_are_in_the_repr() -> None:
    assert repr(OfferedServices(offered())) == "<OfferedServices text, word-counter>"


async def test_open_refuses_what_is_no_service() -> None:
    async with WithPeer() as (session, peer):
        with pytest.raises(TypeError, match=r"decorated with @roam_trio\.service"):
            session.open(TextImpl)
        assert await peer.heard_nothing_more()


async def test_both_call_on_an_opened_connection(nursery: trio.Nursery) -> None:
    async def greet(handle: Any) -> None:
        answers.append(await client(Text, handle.caller).upper("hi"))

    answers: list[str] = []
    acceptor = Acceptor(
        AcceptedConnection(
            handler=dispatcher(WordCounter, WordCounterImpl()), setup=greet
        )
    )
    left, _ = await join(nursery, accepting={"on_connection": acceptor})
    handler = dispatcher(Text, TextImpl())
    async with left.open(WordCounter, handler=handler):
        await wait_all_tasks_blocked()
    assert answers == ["HI"]


async def test_an_error_in_the_block_passes_as_it_is(nursery: trio.Nursery) -> None:
    left, right = await sessions(nursery)
    error = ValueError("mine")
    with pytest.raises(ValueError, match="mine") as caught:
        async with left.open(Text):
            raise error
    assert caught.value is error
    assert error.__context__ is None
    await has_only_the_root(right)


async def test_cancelled_while_it_opens_it_leaves_nothing(
    nursery: trio.Nursery,
) -> None:
    async with WithPeer(strict=True) as (session, peer):
        task = Task(nursery, session.open(Text).__aenter__)
        await peer.hear(ConnectionOpen)
        task.cancel()
        assert await hear_bytes(peer) == "01 06 00"
        await peer.say(ConnectionAccept(1, EVEN))
        await has_only_the_root(session)


async def test_a_block_whose_session_has_ended_ends_quietly() -> None:
    async with WithPeer() as (session, peer):
        async with trio.open_nursery() as nursery:
            task = Task(nursery, session.open(Text).__aenter__)
            await peer.hear(ConnectionOpen)
            await peer.say(ConnectionAccept(1, EVEN))
            text = await task.result()
        await peer.leave()
        await session.closed()
        with pytest.raises(ConnectionLost, match="has closed the link"):
            await text.upper("x")


# ------------------------------------------------------------ by URL


async def test_a_server_offers_services_by_name(nursery: trio.Nursery) -> None:
    server: Server = await nursery.start(serve, "tcp://127.0.0.1:0", offered())
    async with connect(server.url) as session:
        async with session.open(WordCounter) as counter, session.open(Text) as text:
            assert await counter.add(2) == 2
            assert await text.upper("abc") == "ABC"
        with pytest.raises(SessionRejected, match="services: text, word-counter"):
            async with session.open(Text, "nope"):
                raise AssertionError("was opened")
        with pytest.raises(UnknownMethod):  # nothing is served on the root
            await client(Text, session.caller).upper("abc")
    await server.shutdown()


async def test_a_server_opens_connections_to_its_client(nursery: trio.Nursery) -> None:
    class Asking:
        """A service whose handler uses a service of its caller's."""

        async def upper(self, text: str) -> str:
            (session,) = server.sessions
            assert current_call().connection_id == 1
            async with session.open(WordCounter) as counter:
                return f"{text} {await counter.add(5)}"

    server: Server = await nursery.start(
        serve, "tcp://127.0.0.1:0", {"text": dispatcher(Text, Asking())}
    )
    counter = WordCounterImpl()
    handlers = {"word-counter": dispatcher(WordCounter, counter)}
    async with (
        connect(server.url, handler=handlers) as session,
        session.open(Text) as text,
    ):
        await wait_all_tasks_blocked()
        assert await text.upper("is") == "is 5"
        assert await text.upper("is") == "is 10"
    assert counter.total == 10
    await server.shutdown()


async def test_a_client_without_handlers_rejects_what_a_server_opens(
    nursery: trio.Nursery,
) -> None:
    server: Server = await nursery.start(serve, "tcp://127.0.0.1:0", offered())
    async with connect(server.url):
        await wait_all_tasks_blocked()
        with pytest.raises(SessionRejected):
            async with server.sessions[0].open(Text):
                raise AssertionError("was opened")
    await server.shutdown()
