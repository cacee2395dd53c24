"""Peers that speak something else are named, at once, on either side of any link."""

from __future__ import annotations

import itertools
import logging
import ssl
from pathlib import Path
from typing import Any, Protocol

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from roam_trio import (
    ForeignProtocol,
    Limits,
    SessionError,
    connect,
    dispatcher,
    serve,
    service,
)
from roam_trio.links.foreign import Expected, named, named_payload, unmistakable
from roam_trio.links.framing import FrameDecoder

from .schemes import client_context, server_context


@service
class Nothing(Protocol):
    async def nothing(self) -> None: ...


class NothingImpl:
    async def nothing(self) -> None:
        pass


def client_hello_of_tls() -> bytes:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context()
    tls = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


# A ClientHello as short as some devices send: its first four bytes are a length that
# is allowed.
SHORT_TLS = b"\x16\x03\x01\x00\x2d\x01\x00\x00\x29\x03\x03" + bytes(39)
ALERT = b"\x15\x03\x03\x00\x02\x02\x46"
SETTINGS = b"\0\0\x12\x04\0\0\0\0\0" + bytes(18)
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
PROXY_2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes(12)

FOREIGN = {
    "get": (b"GET /chat?token=hunter2 HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP"),
    "post": (b"POST /rpc HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP"),
    "put": (b"PUT /file HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP"),
    "delete": (b"DELETE / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP"),
    "options": (b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP"),
    "connect": (b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP"),
    "unknown method": (b"BREW /pot HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP"),
    "http/2": (PREFACE + SETTINGS, "HTTP/2"),
    "tls": (client_hello_of_tls(), "TLS"),
    "short tls": (SHORT_TLS, "TLS"),
    "ssh": (b"SSH-2.0-OpenSSH_9.6\r\n", "SSH"),
    "voxl": (b"VOXL\x09\0\0\0", "vox"),
    "voth": (b"VOTH\x09\0\0\0", "vox"),
    "voth in a frame": (b"\x08\0\0\0VOTH\x09\0\0\0", "vox"),
    "proxy 1": (b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n", "PROXY protocol, version 1"),
    "proxy 2": (PROXY_2, "PROXY protocol, version 2"),
    "redis": (b"*1\r\n$4\r\nPING\r\n", "Redis"),
    "redis inline": (b"PING\r\n", "Redis"),
    "smtp": (b"EHLO example.org\r\n", "SMTP"),
    "postgres ssl": (b"\0\0\0\x08\x04\xd2\x16\x2f", "PostgreSQL"),
    "postgres": (b"\0\0\0\x29\0\x03\0\0user\0ada\0", "PostgreSQL"),
    "mqtt": (b"\x10\x0c\0\x04MQTT\x04\x02\0\x3c\0\0", "MQTT"),
    "amqp": (b"AMQP\0\0\x09\x01", "AMQP"),
    "rdp": (b"\x03\0\0\x13\x0e\xe0\0\0\0\0\0\x01\0\x08\0\x03\0\0\0", "RDP"),
    "text": (b"Starting up ...\n", "text, 'Starting up ...'"),
}
"""What clients say first that have come to the wrong port, and what that is."""

ANSWERS = {
    "http": (b"HTTP/1.1 400 Bad Request\r\nServer: a\r\n\r\n", "HTTP (status 400)"),
    "http/2": (SETTINGS, "HTTP/2"),
    "tls": (ALERT, "TLS"),
    "ssh": (b"SSH-2.0-OpenSSH_9.6\r\n", "SSH"),
    "redis": (b"-ERR unknown command\r\n", "Redis"),
    "redis auth": (b"-NOAUTH Authentication required.\r\n", "Redis"),
    "smtp": (b"220 mail.example.org ESMTP\r\n", "SMTP or FTP"),
    "imap": (b"* OK IMAP4rev1 ready\r\n", "IMAP"),
    "pop3": (b"+OK POP3 ready\r\n", "POP3"),
    "mysql": (b"\x4a\0\0\0\x0a8.0.36\0" + bytes(66), "MySQL"),
    "vnc": (b"RFB 003.008\n", "VNC"),
    "rsync": (b"@RSYNCD: 31.0\n", "rsync"),
    "vox": (b"\x08\0\0\0VOTR\x09\x01\0\0", "vox"),
    "text": (b"Starting up ...\n", "text, 'Starting up ...'"),
}
"""What servers say that a client has come to by mistake, and what that is."""

KNOWN = [*FOREIGN.values(), *ANSWERS.values()]


@pytest.mark.parametrize(("came", "name"), KNOWN, ids=[*FOREIGN, *ANSWERS])
def test_first_bytes_are_named_however_few_have_come(came: bytes, name: str) -> None:
    told = named(came) or named_payload(came[4:])
    assert told is not None
    assert name in told
    assert ": " in told.partition(name)[2]  # and what to do
    assert "hunter2" not in told


@pytest.mark.parametrize(
    "method", ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "PROPFIND"]
)
def test_method_of_http_is_known_by_its_first_four_bytes(method: str) -> None:
    assert "HTTP" in str(named(f"{method} / HTTP/1.1\r\n".encode()[:4]))


@pytest.mark.parametrize("length", [4, 5, 6, 7, 11, 60])
def test_tls_is_known_by_any_part_of_its_start(length: int) -> None:
    assert "speaks TLS" in str(named(client_hello_of_tls()[:length]))


def test_what_is_expected_or_unknown_is_not_named() -> None:
    assert named(client_hello_of_tls(), Expected.TLS) is None
    assert named(ALERT, Expected.TLS) is None
    assert named(b"GET / HTTP/1.1\r\n", Expected.WEBSOCKET) is None
    assert named(b"HTTP/1.1 101 Switching", Expected.WEBSOCKET) is None
    for expected in Expected:
        assert named(b"", expected) is None
        assert named(b"\xff\xfe\0\1\2\3\4\5", expected) is None


HELLO_OF_ROAM = b"\x06\0\0\0\0\0\x07\0\x40\0"


def test_roam_is_named_where_something_is_expected_around_it() -> None:
    assert named(HELLO_OF_ROAM) is None
    assert "tls:// with TLS, tcp:// without" in str(named(HELLO_OF_ROAM, Expected.TLS))
    assert "tcp:// or ws://" in str(named(HELLO_OF_ROAM, Expected.WEBSOCKET))


def test_text_is_quoted_in_one_line_that_is_short_and_escaped() -> None:
    told = str(named("grün\t".encode() + b"\x1b[31m" + b"x" * 10_000 + b"\nmore"))
    assert r"text, 'gr\xfcn\t\x1b[31m" in told
    assert len(told) < 300


@pytest.mark.parametrize(
    "came",
    [bytes(range(0x80, 0xC0)), b"abc\0" + bytes(8), b"\xc3\xa4\xff\xff", b"ok\x01\x02"],
)
def test_bytes_that_are_no_text_are_not_quoted_as_one(came: bytes) -> None:
    assert named(came) is None


def test_a_line_is_a_text_whatever_follows_it() -> None:
    told = named(b"Reading the configuration\n" + bytes(range(128, 160)))
    assert told is not None
    assert "'Reading the configuration'" in told


def test_text_that_is_cut_inside_a_character_is_a_text() -> None:
    assert "the peer sent text" in str(named("Gr\u00fc\u00df".encode()[:5]))


def test_no_message_of_a_session_is_taken_for_tls() -> None:
    assert unmistakable(SHORT_TLS)
    payload = b"\0\0\x07\0\x40\0" + bytes(0x10316)
    frame = (0x10316).to_bytes(4, "little") + payload
    assert not unmistakable(frame[:64])
    decoder = FrameDecoder(1 << 20)
    decoder.feed(frame[:64])
    assert not decoder.payloads


def test_later_payload_may_begin_as_it_likes() -> None:
    decoder = FrameDecoder(1 << 20)
    decoder.feed(b"\x01\0\0\0a")
    decoder.feed(SHORT_TLS)
    assert decoder.payloads == [b"a"]


def test_wrong_first_bytes_are_refused_in_pieces_as_well() -> None:
    for came, name in FOREIGN.values():
        decoder = FrameDecoder(1 << 20)
        if name in ("PostgreSQL", "MQTT", "RDP", "vox", "SMTP"):
            continue  # four bytes do not tell, or they are of a frame
        with pytest.raises(ForeignProtocol):  # noqa: PT012 - which piece is the last?
            for position in range(len(came)):
                decoder.feed(came[position : position + 1])
            decoder.ended()


# ---------------------------------------------------------------- both sides of links


def _url(scheme: str, directory: Path) -> str:
    if scheme == "unix":
        return f"unix://{directory}/socket"
    return f"{scheme}://127.0.0.1:0"


async def _raw(url: str) -> trio.abc.HalfCloseableStream:
    if url.startswith("unix:"):
        return await trio.open_unix_socket(url.removeprefix("unix://"))
    return await trio.open_tcp_stream("127.0.0.1", int(url.rpartition(":")[2]))


async def told_by_server(
    scheme: str,
    came: bytes,
    directory: Path,
    caplog: pytest.LogCaptureFixture,
    **options: Any,
) -> str:
    """What a server logs of a client that sends `came`, and then waits."""
    if scheme in ("tls", "wss"):
        options["ssl_context"] = server_context()
    caplog.set_level(logging.WARNING)
    async with trio.open_nursery() as nursery:
        serving = dispatcher(Nothing, NothingImpl())
        # Nothing here depends on a time limit.
        limits = Limits(handshake_seconds=3600)
        server = await nursery.start(
            lambda task_status: serve(
                _url(scheme, directory),
                serving,
                limits=limits,
                task_status=task_status,
                **options,
            )
        )
        stream = await _raw(server.url)
        async with stream:
            await stream.send_all(came)
            with trio.fail_after(30):
                while "could not set up" not in caplog.text:
                    try:
                        if not await stream.receive_some():
                            break
                    except trio.BrokenResourceError:
                        break
            await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    (record,) = caplog.records
    return record.getMessage()


def _expected(scheme: str, what: str, name: str) -> bool:
    """Return True if `what` is nothing foreign at this scheme, or cannot come there."""
    return (
        (scheme == "ws" and name == "HTTP")
        or (scheme == "tls" and name == "TLS")
        or (scheme in ("tls", "ws") and what in ("voth in a frame", "vox"))
    )


def _unexpected(table: dict[str, tuple[bytes, str]]) -> list[tuple[str, str]]:
    return [
        (scheme, what)
        for scheme in ("tcp", "unix", "tls", "ws")
        for what, (_, name) in table.items()
        if not _expected(scheme, what, name)
    ]


@pytest.mark.parametrize(("scheme", "what"), _unexpected(FOREIGN))
async def test_server_names_what_a_client_speaks(
    what: str, scheme: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    came, name = FOREIGN[what]
    told = await told_by_server(scheme, came, tmp_path, caplog)
    assert name in told
    assert "\n" not in told
    assert "hunter2" not in told


@pytest.mark.parametrize("scheme", ["tls", "ws"])
async def test_server_names_roam_without_what_is_around_it(
    scheme: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    told = await told_by_server(scheme, HELLO_OF_ROAM, tmp_path, caplog)
    assert "the peer speaks roam" in told
    assert "URL with the same scheme" in told


async def test_request_that_asks_for_no_websocket_is_explained(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    came = b"GET /?token=hunter2 HTTP/1.1\r\nHost: a\r\n\r\n"
    told = await told_by_server("ws", came, tmp_path, caplog)
    assert "the client asks by HTTP for something else than a WebSocket" in told
    assert "hunter2" not in told


async def test_refused_origin_is_told_with_the_option_that_allows_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    came = (
        b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
        b"Origin: https://example.org\r\n\r\n"
    )
    told = await told_by_server("ws", came, tmp_path, caplog)
    assert "https://example.org" in told
    assert "name it in origins=" in told


async def told_to_client(scheme: str, answer: bytes, directory: Path) -> str:
    """What a client raises whose server answers with `answer`, and closes."""

    async def answering(stream: trio.abc.Stream) -> None:
        async with stream:
            await stream.receive_some()
            await stream.send_all(answer)

    async with trio.open_nursery() as nursery:
        if scheme == "unix":
            url = _url(scheme, directory)
            sock = trio.socket.socket(trio.socket.AF_UNIX)
            await sock.bind(url.removeprefix("unix://"))
            sock.listen()
            listeners = [trio.SocketListener(sock)]
        else:
            listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
            url = f"{scheme}://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        nursery.start_soon(trio.serve_listeners, answering, listeners)
        options: dict[str, Any] = {}
        if scheme == "tls":
            options["ssl_context"] = client_context()
        with pytest.raises((SessionError, OSError)) as caught, trio.fail_after(30):
            async with connect(url, Nothing, **options):
                pass
        nursery.cancel_scope.cancel()
    if scheme == "unix":
        await trio.Path(url.removeprefix("unix://")).unlink()
    return str(caught.value)


@pytest.mark.parametrize(("scheme", "what"), _unexpected(ANSWERS))
async def test_client_names_what_its_server_speaks(
    what: str, scheme: str, tmp_path: Path
) -> None:
    answer, name = ANSWERS[what]
    if scheme == "ws" and what == "http":
        name = "'HTTP/1.1 400 Bad Request', where 101 was expected"
    assert name in await told_to_client(scheme, answer, tmp_path)


@pytest.mark.parametrize("scheme", ["tls", "ws"])
async def test_client_names_roam_without_what_is_around_it(
    scheme: str, tmp_path: Path
) -> None:
    answer = b"\x05\0\0\0\0\x01\x01\x40\0"
    told = await told_to_client(scheme, answer, tmp_path)
    assert "the peer speaks roam" in told


@pytest.mark.parametrize(
    ("scheme", "advice"),
    [("tls", "does it speak TLS at this port?"), ("ws", "does it speak WebSocket")],
)
async def test_server_that_closes_without_a_word_is_asked_about(
    scheme: str, advice: str, tmp_path: Path
) -> None:
    assert advice in await told_to_client(scheme, b"", tmp_path)


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize(
    ("ours", "theirs"), [*itertools.permutations(["tcp", "tls", "ws"], 2)]
)
async def test_two_schemes_that_differ_are_told_to_both_sides(
    ours: str, theirs: str, resume: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    to_serve: dict[str, Any] = {}
    to_connect: dict[str, Any] = {}
    if theirs == "tls":
        to_serve["ssl_context"] = server_context()
    if ours == "tls":
        to_connect["ssl_context"] = client_context()
    async with trio.open_nursery() as nursery:
        server = await nursery.start(
            lambda task_status: serve(
                f"{theirs}://127.0.0.1:0",
                dispatcher(Nothing, NothingImpl()),
                resume=resume,
                task_status=task_status,
                **to_serve,
            )
        )
        url = server.url.replace(theirs, ours, 1)
        with pytest.raises((SessionError, OSError)) as caught, trio.fail_after(30):
            async with connect(url, Nothing, resume=resume, **to_connect):
                pass
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    speaks = {"tcp": "roam", "tls": "TLS", "ws": "HTTP"}
    assert f"the peer speaks {speaks[ours]}" in caplog.text
    told = str(caught.value)
    assert "speaks" in told or "does it speak" in told or "400" in told
