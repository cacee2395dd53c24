"""``?reuse_port=1``: several sockets that listen at one port."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from roam_trio import connect, serving
from roam_trio.transports import LinkOptions, transport_for
from roam_trio.transports.hosts import HostAndPort
from roam_trio.transports.listening import listen_on_tcp
from tests.schemes import client_context, server_context
from tests.transports.test_inherited import HANDLER, Who

needs_it = pytest.mark.skipif(
    not hasattr(socket, "SO_REUSEPORT"), reason="needs SO_REUSEPORT"
)


@needs_it
@pytest.mark.parametrize("scheme", ["tcp", "tls", "ws", "wss"])
async def test_two_servers_listen_at_one_port(scheme: str) -> None:
    is_tls = scheme in ("tls", "wss")
    path = "/rpc?a=1" if scheme in ("ws", "wss") else ""
    theirs: dict[str, Any] = {"ssl_context": server_context()} if is_tls else {}
    ours: dict[str, Any] = {"ssl_context": client_context()} if is_tls else {}
    option = "&reuse_port=1" if path else "?reuse_port=1"
    url = f"{scheme}://127.0.0.1:0{path}{option}"
    async with serving(url, HANDLER, **theirs) as first:
        assert first.url.endswith(path)
        assert "reuse_port" not in first.url
        async with serving(first.url + option, HANDLER, **theirs) as second:
            assert second.url == first.url
            with pytest.raises(OSError, match="port 0 takes a free one"):
                async with serving(first.url, HANDLER, **theirs):
                    pass  # pragma: no cover - it is not entered
            async with connect(first.url, Who, **ours) as client:
                assert await client.transport() == scheme
                assert len(first.sessions) + len(second.sessions) == 1


@needs_it
async def test_every_address_of_a_host_shares_the_port() -> None:
    address = HostAndPort("", 0, reuse_port=True)
    bound, listeners = await listen_on_tcp(address)
    families = {each.socket.family for each in listeners}
    again = (await listen_on_tcp(bound))[1]
    assert {each.socket.getsockname()[1] for each in [*listeners, *again]} == {
        bound.port
    }
    assert len(families) == len(listeners)
    for each in [*listeners, *again]:
        each.socket.close()


@needs_it
async def test_what_listens_already_is_closed_when_the_next_address_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried: list[Any] = []

    async def two(*args: Any, **options: Any) -> list[Any]:
        family, kind = socket.AF_INET, socket.SOCK_STREAM
        return [(family, kind, 0, "", (host, 0)) for host in ("127.0.0.1", "192.0.2.1")]

    monkeypatch.setattr("trio.socket.getaddrinfo", two)
    made = socket.socket.__init__

    def noting(self: socket.socket, *args: Any, **options: Any) -> None:
        made(self, *args, **options)
        tried.append(self)

    monkeypatch.setattr(socket.socket, "__init__", noting)
    with pytest.raises(OSError, match="Cannot assign"):
        await listen_on_tcp(HostAndPort("two", 0, reuse_port=True), "tcp://two:0")
    assert [sock.fileno() for sock in tried] == [-1, -1]


@pytest.mark.parametrize("scheme", ["tcp", "tls", "ws", "wss"])
@pytest.mark.parametrize("query", ["reuse_port=2", "reuse_port=0&reuse_port=1"])
def test_other_values_are_refused(scheme: str, query: str) -> None:
    options = LinkOptions(ssl_context=server_context())
    with pytest.raises(ValueError, match=r"reuse_port is 1 or 0, as in \?reuse_port=1"):
        transport_for(f"{scheme}:").to_listen(f"{scheme}://h:1?{query}", options)


def test_0_is_the_default() -> None:
    url = "tcp://h:1?reuse_port=0"
    assert HostAndPort.to_listen_at(url, "tcp://h:1") == HostAndPort("h", 1)


def test_a_client_has_no_use_for_it() -> None:
    with pytest.raises(ValueError, match="there is more than host and port"):
        transport_for("tcp:").to_connect("tcp://h:1?reuse_port=1", LinkOptions())


def test_a_system_without_it_is_told_what_does_instead(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(socket, "SO_REUSEPORT", raising=False)
    with pytest.raises(ValueError, match="needs a system with SO_REUSEPORT, such as"):
        transport_for("tcp:").to_listen("tcp://h:1?reuse_port=1", LinkOptions())
