"""The option `busy_poll` of `connect` and `serve`: where it can be, and its work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio

from roam_trio import Server, connect, dispatcher, serve, service
from roam_trio.conduits.bare import BareConduitAcceptor
from roam_trio.session.requests_polled import PolledRequests
from roam_trio.session.terms import LONGEST_POLL
from roam_trio.transports import transport_for
from roam_trio.wire.envelope import MessageFamily


@service
class Doubler:
    async def double(self, number: int) -> int: ...


class Doubling:
    async def double(self, number: int) -> int:
        return 2 * number


HANDLER = dispatcher(Doubler, Doubling())


@pytest.mark.parametrize(
    ("url", "can"),
    [
        ("tcp://127.0.0.1:1", True),
        ("unix:///run/a.sock", True),
        ("fd://3", True),
        ("fd+tls://3", False),
        ("fd+ws://3", False),
        ("tls://example.org:1", False),
        ("ws://example.org", False),
        ("memory://busy", False),
    ],
)
def test_sockets_without_more_can_be_polled(url: str, can: bool) -> None:
    assert transport_for(url).can_be_polled is can


@pytest.mark.parametrize("url", ["tcp://127.0.0.1:0", "unix://{}/a.sock"])
async def test_both_sides_may_poll(
    nursery: trio.Nursery, tmp_path: Path, url: str
) -> None:
    async def start(task_status: trio.TaskStatus[Server]) -> None:
        await serve(
            url.format(tmp_path), HANDLER, busy_poll=10e-6, task_status=task_status
        )

    server: Server = await nursery.start(start)
    async with connect(server.url, busy_poll=10e-6) as session:
        assert isinstance(session.root.connection_run.requests, PolledRequests)
    connecting = connect(server.url, Doubler, busy_poll=10e-6)
    async with connecting as doubler:
        for number in range(50):
            assert await doubler.double(number) == 2 * number
    await server.shutdown()


@pytest.mark.parametrize(
    ("url", "options", "told"),
    [
        ("tls://example.org:1", {}, "busy_poll: .* got tls://example.org:1"),
        (["tcp://127.0.0.1:1", "ws://h"], {}, "busy_poll: .* got ws://h"),
        ("tcp://127.0.0.1:1", {"resume": True}, "busy_poll: .* without resume="),
        ("tcp://127.0.0.1:1", {"busy_poll": 0}, "busy_poll: .* above 0, got 0"),
        ("tcp://127.0.0.1:1", {"busy_poll": 0.1}, f"at most {LONGEST_POLL} seconds"),
    ],
)
def test_connect_refuses_it_where_it_cannot_be(
    url: Any, options: dict[str, Any], told: str
) -> None:
    with pytest.raises(ValueError, match=told):
        connect(url, **{"busy_poll": 10e-6, **options})


@pytest.mark.parametrize(
    ("url", "options", "told"),
    [
        ("ws://127.0.0.1:0", {}, "busy_poll: .* got ws://127.0.0.1:0"),
        ("tcp://127.0.0.1:0", {"resume": True}, "busy_poll: .* without resume="),
        (BareConduitAcceptor(MessageFamily()), {}, "busy_poll: .* only with URLs"),
    ],
)
async def test_serve_refuses_it_where_it_cannot_be(
    url: Any, options: dict[str, Any], told: str
) -> None:
    with pytest.raises(ValueError, match=told):
        await serve(url, HANDLER, busy_poll=10e-6, **options)
