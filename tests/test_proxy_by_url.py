"""`ProxyAcceptor` with a URL: a session with the far side for each client."""

from __future__ import annotations

from typing import Any, Protocol

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from roam_trio import (
    ConnectionSettings,
    Parity,
    Peer,
    ProxyAcceptor,
    Refused,
    SessionRejected,
    connect,
    current_call,
    dispatcher,
    service,
    serving,
)
from roam_trio.metadata import NO_METADATA


@service
class Adder(Protocol):
    async def add(self, left: int, right: int) -> int: ...
    async def whose(self) -> str: ...


class AdderImpl:
    async def add(self, left: int, right: int) -> int:
        return left + right

    async def whose(self) -> str:
        session = current_call().connection.session
        if session not in SEEN:
            SEEN.append(session)
        return str(SEEN.index(session))


SEEN: list[object] = []
"""Sessions of the far side; kept, as the address of one that is gone may come again."""

FAR: dict[str, Any] = {"adder": dispatcher(Adder, AdderImpl())}


async def test_a_client_reaches_the_services_of_the_far_side() -> None:
    async with (
        serving("tcp://127.0.0.1:0", FAR) as far,
        serving("memory://near", {}, on_connection=ProxyAcceptor(far.url)) as near,
        connect(near.url) as session,
    ):
        assert far.sessions == ()  # until the first connection
        async with session.open(Adder) as adder:
            assert await adder.add(1, 2) == 3
        with pytest.raises(SessionRejected, match="services: adder"):
            async with session.open(Adder, "other"):
                pass


async def test_each_client_has_a_far_session_that_ends_with_its_own() -> None:
    async with (
        serving("memory://far", FAR) as far,
        serving("memory://near-2", {}, on_connection=ProxyAcceptor(far.url)) as near,
    ):
        async with connect(near.url) as one, one.open(Adder) as adder:
            async with connect(near.url) as two, two.open(Adder) as other:
                async with two.open(Adder) as again:
                    whose = await other.whose()
                    assert whose == await again.whose()
                    assert whose != await adder.whose()
                assert len(far.sessions) == 2
            await wait_all_tasks_blocked()
            assert len(far.sessions) == 1
            assert await adder.add(1, 2) == 3
        await wait_all_tasks_blocked()
        assert far.sessions == ()


async def test_a_far_session_that_has_ended_is_opened_anew() -> None:
    async with (
        serving("memory://far-3", FAR) as far,
        serving("memory://near-3", {}, on_connection=ProxyAcceptor(far.url)) as near,
        connect(near.url) as session,
    ):
        async with session.open(Adder) as adder:
            first = await adder.whose()
        await far.sessions[0].shutdown()
        await wait_all_tasks_blocked()
        async with session.open(Adder) as adder:
            assert await adder.whose() != first


async def test_a_far_side_that_cannot_be_reached_is_told_without_its_address(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with serving("tcp://127.0.0.1:0", FAR) as far:
        gone = far.url
    async with (
        serving("memory://near-4", {}, on_connection=ProxyAcceptor(gone)) as near,
        connect(near.url) as session,
    ):
        with pytest.raises(SessionRejected, match="cannot be reached") as caught:
            async with session.open(Adder):
                pass
        assert session.ended_because is None
    assert "127.0.0.1" not in str(caught.value)
    assert "a proxy cannot reach the far side" in caplog.text


async def test_options_of_the_far_session_come_with_a_function() -> None:
    asked: list[Any] = []

    async def welcome(peer: Peer) -> None:
        asked.append(peer.metadata.get("authorization"))
        if asked[-1] is None:
            raise Refused("denied", "who are you?")

    async with serving("memory://far-5", FAR, on_session=welcome) as far:
        token = {"authorization": "proxy"}
        with_token = ProxyAcceptor(lambda: connect(far.url, metadata=token))
        async with (
            serving("memory://near-5", {}, on_connection=with_token) as near,
            connect(near.url) as session,
            session.open(Adder) as adder,
        ):
            assert await adder.add(1, 2) == 3
        async with (
            serving("memory://b", {}, on_connection=ProxyAcceptor(far.url)) as near,
            connect(near.url) as session,
        ):
            with pytest.raises(SessionRejected, match="cannot be reached"):
                async with session.open(Adder):
                    pass
    assert asked == ["proxy", None]


async def test_a_session_is_shared_by_all_clients() -> None:
    async with (
        serving("memory://far-6", FAR) as far,
        connect(far.url) as upstream,
        serving("memory://near-6", {}, on_connection=ProxyAcceptor(upstream)) as near,
        connect(near.url) as one,
        connect(near.url) as two,
        one.open(Adder) as adder,
        two.open(Adder) as other,
    ):
        assert await adder.whose() == await other.whose()
        assert len(far.sessions) == 1


def test_a_wrong_url_is_an_error_at_once() -> None:
    with pytest.raises(ValueError, match="the schemes are"):
        ProxyAcceptor("nothing://here")


async def test_several_openings_at_once_make_one_far_session() -> None:
    async with (
        serving("tcp://127.0.0.1:0", FAR) as far,
        serving("memory://near-7", {}, on_connection=ProxyAcceptor(far.url)) as near,
        connect(near.url) as session,
    ):
        sums: list[int] = []

        async def use() -> None:
            async with session.open(Adder) as adder:
                sums.append(await adder.add(1, 2))

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(use)
        assert sums == [3] * 5
        assert len(far.sessions) == 1


async def test_a_proxy_accepts_in_tasks_of_a_session_only() -> None:
    acceptor = ProxyAcceptor(["tcp://127.0.0.1:1", "tcp://127.0.0.1:2"])
    assert repr(acceptor) == "<ProxyAcceptor to a session for each client>"
    with pytest.raises(RuntimeError, match="in tasks of a session"):
        await acceptor.accept(2, ConnectionSettings(Parity.ODD, 1), NO_METADATA)


async def test_a_proxy_names_the_session_that_its_clients_share() -> None:
    async with serving("memory://far-9", FAR) as far, connect(far.url) as session:
        assert repr(ProxyAcceptor(session)) == f"<ProxyAcceptor to {session!r}>"
