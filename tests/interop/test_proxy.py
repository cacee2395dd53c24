"""Proxies that know no service: one in Python between two Rust peers, and one in Rust
between two Python sides."""

from __future__ import annotations

import pytest
import trio

from roam_trio import (
    DeferredHandler,
    ProxyAcceptor,
    acceptor,
    connect,
    proxy_connections,
    serve,
    serving,
)
from roam_trio.links.tcp import tcp_link
from roam_trio.lowlevel import Route, gateway

from ..two_processes.processes import within
from .handlers import Everything
from .peer import Place, meet
from .services import Streams, Values
from .test_channels import count_with, sum_with
from .wire_types import FIGURES

pytestmark = pytest.mark.interop

SCENARIOS = [
    ["values"],
    ["faults"],
    ["sum", "1000"],
    ["count", "1000"],
    ["reversed", "1000"],
    ["draw"],
    ["optional"],
    ["later", "500"],
    ["payloads", str(1024 * 1024)],
    ["meet", "60"],
]


@within(120)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda words: words[0])
async def test_a_proxy_joins_two_rust_peers(place: Place, scenario: list[str]) -> None:
    async with (
        meet(place, "serve", handler=DeferredHandler()) as serving,
        meet(place, "call", *scenario, handler=DeferredHandler()) as calling,
    ):
        near, far = await calling.session(), await serving.session()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(proxy_connections, near.root, far.root)
            assert await calling.peer.wait() == [f"done {scenario[0]}"]


async def pass_on(
    server_url: str, *, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED
) -> None:
    """Listen, and open at the server what is opened here."""
    async with connect(server_url) as server, trio.open_nursery() as nursery:

        async def serve_stream(stream: trio.SocketStream) -> None:
            opening = ProxyAcceptor(server)
            link = tcp_link(stream)
            async with acceptor(link, on_connection=opening).open() as session:
                await session.closed()

        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listener.socket.getsockname()[1]
        task_status.started(f"tcp://127.0.0.1:{port}")
        await trio.serve_listeners(serve_stream, [listener], handler_nursery=nursery)


@pytest.fixture
def place_of_rust(executable, language, tmp_path) -> Place:
    return Place(executable, language, "tcp", tmp_path, "initiator")


@within(120)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda words: words[0])
async def test_a_proxy_opens_for_one_rust_peer_at_the_other(
    place_of_rust: Place, nursery: trio.Nursery, scenario: list[str]
) -> None:
    place = place_of_rust
    async with place.peer("serve", "listen", place.address()) as server:
        url = await nursery.start(pass_on, server.url)
        words = ["call", "dial", url, *scenario, "--open", "values"]
        async with place.peer(*words) as caller:
            assert await caller.wait() == [f"done {scenario[0]}"]


@within(120)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda words: words[0])
async def test_a_gateway_passes_a_rust_client_on_to_a_rust_server(
    place_of_rust: Place, scenario: list[str]
) -> None:
    place = place_of_rust
    async with (
        place.peer("serve", "listen", place.address()) as server,
        gateway([Route("values", server.url)]) as passing_on,
        serving("tcp://127.0.0.1:0", {}, on_connection=passing_on) as here,
    ):
        words = ["call", "dial", here.url, *scenario, "--open", "values"]
        async with place.peer(*words) as caller:
            assert await caller.wait() == [f"done {scenario[0]}"]


@within(60)
async def test_a_proxy_passes_on_what_a_rust_peer_rejects(
    place_of_rust: Place, nursery: trio.Nursery
) -> None:
    place = place_of_rust
    async with place.peer("serve", "listen", place.address()) as server:
        url = await nursery.start(pass_on, server.url)
        async with place.peer("call", "dial", url, "connections") as caller:
            said = await caller.wait()
    assert said == ["opened 1 3", "rejected", "closed", "done connections"]


@within(60)
async def test_a_rust_proxy_joins_two_python_sides(
    place_of_rust: Place, nursery: trio.Nursery, everything: Everything
) -> None:
    place = place_of_rust
    server = await nursery.start(serve, place.address(), everything.by_name)
    async with (
        place.peer("proxy", place.address(), server.url) as proxy,
        connect(proxy.url) as session,
        session.open(Values) as values,
        session.open(Streams) as streams,
    ):
        assert await values.figures(FIGURES) == FIGURES
        assert await sum_with(streams.sum, 1000) == 499_500
        assert await count_with(streams.count, 1000) == list(range(1000))
