"""Virtual connections, opened by either side, and what sessions say to each other."""

from __future__ import annotations

import pytest
import trio

from roam_trio import (
    CallCancelled,
    ConnectionLost,
    Limits,
    RemoteProtocolError,
    SessionKeepaliveConfig,
    SessionProtocolError,
    SessionRejected,
    client,
    describe,
)
from roam_trio.service.description.encoding import schema_from_json

from ..two_processes.processes import NO_LIMIT, within
from .handlers import Everything
from .peer import Place, meet
from .services import Absent, Streams, Values, Waiting
from .test_cancellation import until_named
from .test_channels import count_with
from .wire_types import FIGURES

pytestmark = pytest.mark.interop


@within(60)
async def test_rust_accepts_connections_by_the_names_of_services(
    place: Place, everything: Everything
) -> None:
    async with meet(place, "serve", handler=everything) as meeting:
        session = await meeting.session()
        async with (
            session.open(Values) as values,
            session.open(Streams) as streams,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(values.figures, FIGURES)
            assert await count_with(streams.count, 500) == list(range(500))
        metadata = {"service": "waiting"}
        async with await session.open_connection(metadata=metadata) as connection:
            assert connection.peer_metadata.get("accepted-by") == place.language
            assert connection.peer_settings.max_concurrent_requests == 64
            waiting = client(Waiting, connection.caller)
            assert await waiting.add(1, 2) == 3


@within(60)
async def test_rust_rejects_other_names_and_says_why(
    place: Place, everything: Everything
) -> None:
    async with meet(place, "serve", handler=everything) as meeting:
        session = await meeting.session()
        with pytest.raises(SessionRejected) as rejected:
            await session.open_connection(metadata={"service": "nobody"})
        assert rejected.value.metadata.get("error") == "there is no such service"
        async with session.open(Waiting) as waiting:
            assert await waiting.add(1, 2) == 3


@within(60)
async def test_closing_a_connection_ends_its_rust_handlers_and_no_other(
    place: Place, everything: Everything
) -> None:
    async with meet(place, "serve", handler=everything) as meeting:
        session = await meeting.session()
        root = client(Waiting, session.caller)
        connection = await session.open_connection(metadata={"service": "waiting"})
        async with trio.open_nursery() as nursery:

            async def wait_in_vain() -> None:
                with pytest.raises(ConnectionLost):
                    await client(Waiting, connection.caller).forever("closed")

            nursery.start_soon(wait_in_vain)
            nursery.start_soon(root.forever, "kept")
            await until_named(root, "closed", ended=False)
            await until_named(root, "kept", ended=False)
            connection.close()
            await until_named(root, "closed", ended=True)
            assert await root.ended() == ["closed"]
            nursery.cancel_scope.cancel()


@within(60)
async def test_a_hundred_connections_are_open_to_rust_at_once(
    place: Place, everything: Everything
) -> None:
    async with meet(place, "serve", handler=everything) as meeting:
        session = await meeting.session()
        connections = [
            await session.open_connection(metadata={"service": "waiting"})
            for _ in range(100)
        ]
        async with trio.open_nursery() as nursery:
            for connection in connections:
                nursery.start_soon(client(Waiting, connection.caller).meet, 100)
        for connection in connections:
            connection.close()


@within(60)
async def test_a_rust_service_without_methods_answers_cancelled(
    place: Place, everything: Everything
) -> None:
    async with meet(place, "serve", handler=everything) as meeting:
        session = await meeting.session()
        async with session.open(Absent, "hollow") as absent:
            with pytest.raises(CallCancelled):
                await absent.absent(1)


@within(60)
async def test_rust_opens_uses_and_closes_connections(
    place: Place, everything: Everything
) -> None:
    async with meet(
        place, "call", "connections", handler=everything.by_name
    ) as meeting:
        opened, *later = await meeting.peer.wait()
    theirs = "2 4" if place.role == "initiator" else "1 3"
    assert opened == f"opened {theirs}"
    assert later == ["rejected", "closed", "done connections"]


@within(60)
async def test_rust_asks_what_is_offered_and_watches_it_until_the_end(
    place: Place, everything: Everything
) -> None:
    async with meet(
        place, "call", "reserved", handler=everything.by_name, reflection=True
    ) as meeting:
        session = await meeting.session()
        services = await meeting.peer.read_line()
        assert services == "services faults streams values waiting"
        described = await meeting.peer.read_line()
        schema = schema_from_json(described.removeprefix("described "))
        assert schema == describe(Waiting).schema
        assert await meeting.peer.read_line() == "state Serving"
        await session.shutdown(grace=NO_LIMIT)
        assert await meeting.peer.wait() == ["state Draining", "done reserved"]


@within(60)
async def test_rust_has_a_hundred_connections_open_at_once(
    place: Place, everything: Everything
) -> None:
    async with meet(
        place, "call", "many_connections", "100", handler=everything.by_name
    ) as meeting:
        assert await meeting.peer.wait() == ["done many_connections"]


@within(60)
async def test_metadata_of_the_handshake_arrives(
    place: Place, everything: Everything
) -> None:
    async with meet(place, "serve", handler=everything) as meeting:
        session = await meeting.session()
        assert session.root.peer_metadata.get("peer") == place.language


@within(60)
async def test_rust_answers_pings(place: Place, everything: Everything) -> None:
    keepalive = SessionKeepaliveConfig(
        ping_interval=0.02, pong_timeout=30, while_idle=True
    )
    async with meet(place, "serve", handler=everything, keepalive=keepalive) as meeting:
        session = await meeting.session()
        await trio.sleep(0.5)
        assert session.ended_because is None
        assert await client(Waiting, session.caller).add(1, 2) == 3


@within(60)
async def test_pings_of_rust_are_answered(place: Place, everything: Everything) -> None:
    """It would end the session without a word if they were not."""
    async with meet(place, "serve", "--ping", "20", handler=everything) as meeting:
        session = await meeting.session()
        await trio.sleep(0.5)
        assert session.ended_because is None
        assert await client(Waiting, session.caller).add(1, 2) == 3


@within(60)
async def test_what_is_tolerated_of_other_peers_is_not_needed_for_rust(
    place: Place, everything: Everything
) -> None:
    async with meet(place, "serve", handler=everything, strict=True) as meeting:
        session = await meeting.session()
        async with session.open(Streams) as streams:
            assert await count_with(streams.count, 100) == list(range(100))
    for scenario in ("values", "faults"):
        async with meet(
            place, "call", scenario, handler=everything, strict=True
        ) as meeting:
            assert await meeting.peer.wait() == [f"done {scenario}"]
    async with meet(
        place, "call", "many_connections", "3", handler=everything.by_name, strict=True
    ) as meeting:
        assert await meeting.peer.wait() == ["done many_connections"]


@within(60)
async def test_a_rust_call_on_a_closed_connection_ends_a_strict_session(
    place: Place, everything: Everything
) -> None:
    async with meet(
        place,
        "call",
        "connections",
        handler=everything.by_name,
        strict=True,
        # Rust does not act on the ProtocolError that it gets.
        limits=Limits(close_seconds=0.2),
    ) as meeting:
        session = await meeting.session()
        await session.closed()
        assert isinstance(session.ended_because, SessionProtocolError)
        assert isinstance(session.ended_because, RemoteProtocolError)
