"""URLs that each transport accepts."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
import trio

from roam_trio.errors import LinkError
from roam_trio.legible import without_secrets
from roam_trio.transports import LinkOptions, transport_for

OPTIONS = LinkOptions()


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("unix://host/path", "there is a host"),
        ("unix://relative.sock", "there is a host"),
        ("unix:", "there is no path"),
        ("unix://", "there is no path"),
        ("unix:///run/", "there is no path"),
        ("unix:///run/a#b", "write # in a path as %23"),
        ("unix:///run/a?colour=red", "'colour' is not an option; there is only mode"),
        (
            "unix:///run/a?mode=rw",
            r"its mode is not one; it is octal, as in \?mode=600",
        ),
        ("unix:///run/a?mode=1777", "its mode is not one"),
        ("unix:///run/a?mode=", "its mode is not one"),
        ("stdio://", "there is more than the scheme"),
        ("stdio:name", "there is more than the scheme"),
        ("tls://127.0.0.1", "there is no port"),
        ("ws://user@127.0.0.1/", "there is more than host, port and path"),
        ("wss://127.0.0.1/#part", "there is more than host, port and path"),
        ("ws://[::1", "Invalid IPv6"),
        ("memory://", "there is no name"),
        ("memory:name", "there is no name"),
        ("memory://a/b", "there is no name, or more than one"),
    ],
)
def test_wrong_url_is_refused_with_a_right_one(url: str, problem: str) -> None:
    transport = transport_for(url)
    for use in (transport.to_connect, transport.to_listen):
        with pytest.raises(ValueError, match=problem) as caught:
            use(url, OPTIONS)
        expected = (
            f"expected a URL like {transport.example}, got {without_secrets(url)!r}: "
        )
        assert str(caught.value).startswith(expected)


@pytest.mark.parametrize("scheme", ["tcp", "tls", "ws", "wss"])
def test_client_needs_a_host(scheme: str) -> None:
    with pytest.raises(ValueError, match="there is no host to connect to"):
        transport_for(f"{scheme}:").to_connect(f"{scheme}://:7000", OPTIONS)


@pytest.mark.parametrize("scheme", ["tcp", "tls", "ws", "wss"])
def test_port_0_is_refused_to_a_client_and_told_what_it_is_for(scheme: str) -> None:
    with pytest.raises(ValueError, match=r"port 0 is for servers, .*Server\.url"):
        transport_for(f"{scheme}:").to_connect(f"{scheme}://127.0.0.1:0", OPTIONS)


def test_web_pages_have_to_come_as_a_list() -> None:
    page = "https://a.org"
    with pytest.raises(
        TypeError, match=r"^origins: expected a list, such as .*, got 'https://a.org'$"
    ):
        LinkOptions(origins=page)
    assert LinkOptions(origins=[page]).origins == [page]


@pytest.mark.parametrize("name", ["plain", "with space", "50%", "ünï"])
async def test_path_of_a_socket_may_be_any(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    url = path.as_uri().replace("file:", "unix:")
    (listener,) = await transport_for(url).to_listen(f"{url}?mode=640", OPTIONS)()
    assert listener.url == url
    assert stat.S_IMODE(os.lstat(path).st_mode) == 0o640
    link = await transport_for(url).to_connect(listener.url, OPTIONS)()
    for each in (link, await (await listener.accept())()):
        tx, rx = each.split()
        await tx.abort()
        await rx.close()
    listener.close()


async def test_path_of_a_socket_may_be_relative(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (listener,) = await transport_for("unix:").to_listen("unix:near.sock", OPTIONS)()
    assert listener.url == "unix:near.sock"
    assert stat.S_ISSOCK(os.lstat(tmp_path / "near.sock").st_mode)
    listener.close()


async def test_one_port_is_listened_on_at_every_address_of_the_machine() -> None:
    listeners = await transport_for("tcp:").to_listen("tcp://:0", OPTIONS)()
    assert len({listener.url for listener in listeners}) == 1
    for listener in listeners:
        listener.close()


async def test_name_in_memory_belongs_to_one_listener_until_it_closes() -> None:
    listen = transport_for("memory:").to_listen("memory://one", OPTIONS)
    connect = transport_for("memory:").to_connect("memory://one", OPTIONS)
    with pytest.raises(ConnectionRefusedError, match="memory://one"):
        await connect()
    (first,) = await listen()
    with pytest.raises(OSError, match="a server already listens under this name"):
        await listen()
    first.close()
    (second,) = await listen()
    first.close()
    with pytest.raises(OSError, match="already"):
        await listen()
    second.close()


async def test_client_in_memory_is_refused_when_the_listener_closes_before_it_accepts(
    nursery: trio.Nursery,
) -> None:
    (listener,) = await transport_for("memory:").to_listen("memory://one", OPTIONS)()
    refused: list[OSError] = []

    async def connect() -> None:
        try:
            await transport_for("memory:").to_connect("memory://one", OPTIONS)()
        except ConnectionRefusedError as error:
            refused.append(error)

    nursery.start_soon(connect)
    await trio.testing.wait_all_tasks_blocked()
    listener.close()
    await trio.testing.wait_all_tasks_blocked()
    assert len(refused) == 1


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("/a b", "/a%20b"),
        ("/a%20b", "/a%20b"),
        ("/gr\u00fcn?q=\u00f6 \u00e4", "/gr%C3%BCn?q=%C3%B6%20%C3%A4"),
        ("/100%", "/100%25"),
        ("/a%2", "/a%252"),
        ('/"<>[]{}|^`\\', "/%22%3C%3E%5B%5D%7B%7D%7C%5E%60%5C"),
        ("/a;b=c,d/(e)*!'$&+~@:", "/a;b=c,d/(e)*!'$&+~@:"),
        ("?q=a+b&c=%26", "?q=a+b&c=%26"),
    ],
)
async def test_path_of_a_websocket_goes_percent_encoded(
    written: str, sent: str, nursery: trio.Nursery
) -> None:
    requests: list[bytes] = []

    async def note(stream: trio.SocketStream) -> None:
        async with stream:
            requests.append(await stream.receive_some())

    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    nursery.start_soon(trio.serve_listeners, note, [listener])
    url = f"ws://127.0.0.1:{listener.socket.getsockname()[1]}{written}"
    with pytest.raises(LinkError):
        await transport_for(url).to_connect(url, OPTIONS)()
    target = sent if sent.startswith("/") else f"/{sent}"
    assert requests[0].startswith(f"GET {target} HTTP/1.1\r\n".encode())


@pytest.mark.parametrize("path", ["/a b", "/gr\u00fcn", "/100%"])
async def test_server_and_client_of_a_websocket_encode_alike(
    path: str, nursery: trio.Nursery
) -> None:
    url = f"ws://127.0.0.1:0{path}"
    (listener,) = await transport_for(url).to_listen(url, OPTIONS)()

    async def accept() -> None:
        link = await (await listener.accept())()
        tx, rx = link.split()
        await tx.abort()
        await rx.close()

    nursery.start_soon(accept)
    port = listener.url.split(":")[2].split("/")[0]
    link = await transport_for(url).to_connect(url.replace(":0", f":{port}"), OPTIONS)()
    tx, rx = link.split()
    await tx.abort()
    await rx.close()
    listener.close()


@pytest.mark.parametrize("char", ["\n", "\r", "\t", "\0", "\x7f", "\x85", "\u2028"])
@pytest.mark.parametrize("scheme", ["tcp", "tls", "ws", "wss", "unix", "memory"])
def test_control_character_in_a_url_is_refused(scheme: str, char: str) -> None:
    for url in (f"{scheme}://127.0.0.1:1/a{char}X-Evil: 1", f"{scheme}://a{char}b:1"):
        with pytest.raises(ValueError, match="there is a control character") as caught:
            transport_for(url)
        assert char not in str(caught.value)
        assert f"at position {url.index(char)}" in str(caught.value)


@pytest.mark.parametrize("char", [" ", "<", '"', "|", "\\"])
@pytest.mark.parametrize("scheme", ["tcp", "tls", "ws", "wss"])
def test_character_that_no_host_has_is_refused(scheme: str, char: str) -> None:
    url = f"{scheme}://a{char}b:7000"
    with pytest.raises(ValueError, match="in the host"):
        transport_for(url).to_connect(url, OPTIONS)
