"""`connect` and `serve` over TCP on the loopback interface."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from typing import Any, Protocol

import pytest
import trio
import trio.testing

from roam_trio import (
    CallCancelled,
    ConnectionLost,
    Handler,
    Limits,
    MetadataEntry,
    PayloadTooLarge,
    Rx,
    Server,
    SessionError,
    SessionIoError,
    SessionProtocolError,
    Tx,
    acceptor,
    channel,
    client,
    connect,
    describe,
    dispatcher,
    i32,
    initiator,
    memory_link_pair,
    serve,
    service,
)
from roam_trio.legible import without_secrets
from roam_trio.links.tcp import tcp_link

from .schemes import server_context

ANY = "tcp://127.0.0.1:0"


@service
class Echo(Protocol):
    async def echo(self, message: str) -> str: ...
    async def wait(self) -> None: ...
    async def total(self, numbers: Rx[i32], seen: Tx[i32]) -> i32: ...


class Echoing:
    def __init__(self) -> None:
        self.waiting = 0

    async def echo(self, message: str) -> str:
        return message

    async def wait(self) -> None:
        self.waiting += 1
        try:
            await trio.sleep_forever()
        finally:
            self.waiting -= 1

    async def total(self, numbers: Rx[int], seen: Tx[int]) -> int:
        total = 0
        async for number in numbers:
            await seen.send(number)
            total += number
        return total


@pytest.fixture
async def server(nursery: trio.Nursery) -> Server:
    """A server of `Echo` for the length of a test."""
    return await started(nursery, dispatcher(Echo, Echoing()))


async def started(
    nursery: trio.Nursery, handler: Handler, url: str = ANY, **options: Any
) -> Server:
    async def run(task_status: trio.TaskStatus[Server]) -> None:
        await serve(url, handler, task_status=task_status, **options)

    server: Server = await nursery.start(run)
    return server


def port_of(server: Server) -> int:
    return int(server.url.rpartition(":")[2])


# ---------------------------------------------------------------- working


@pytest.mark.rule("rpc.session-setup", "rpc.caller", "transport.stream.kinds")
async def test_a_client_calls_a_server(server: Server) -> None:
    async with connect(server.url, Echo) as echo:
        assert await echo.echo("hello") == "hello"
        assert repr(echo) == "<EchoClient connected>"
    assert repr(echo) == "<EchoClient disconnected>"
    with pytest.raises(ConnectionLost, match="this side has shut the session down"):
        await echo.echo("too late")


async def test_a_server_tells_the_port_it_has(server: Server) -> None:
    assert port_of(server) > 0
    assert server.url == f"tcp://127.0.0.1:{port_of(server)}"
    assert repr(server) == f"<Server {server.url}, 0 sessions>"


async def test_channels_go_over_tcp(server: Server) -> None:
    tx, rx = channel[int]()
    seen_tx, seen_rx = channel[int]()
    numbers = list(range(-50, 200))
    seen: list[int] = []

    async def produce() -> None:
        async with tx:
            for number in numbers:
                await tx.send(number)

    async def consume() -> None:
        seen.extend([number async for number in seen_rx])

    async with connect(server.url, Echo) as echo, trio.open_nursery() as working:
        working.start_soon(produce)
        working.start_soon(consume)
        assert await echo.total(rx, seen_tx) == sum(numbers)
    assert seen == numbers


async def test_a_connection_is_not_entered_twice_while_it_is_open(
    server: Server,
) -> None:
    connecting = connect(server.url, Echo)
    async with connecting as first:
        with pytest.raises(RuntimeError, match=r"already open; call connect\(\) for"):
            async with connecting:
                raise AssertionError
        assert await first.echo("unharmed") == "unharmed"
    async with connecting as second:
        assert await second.echo("again") == "again"


async def test_what_is_not_entered_tells_how_to_connect(server: Server) -> None:
    connecting: Any = connect(server.url, Echo)
    with pytest.raises(TypeError, match=r"not awaited: write `async with connect"):
        await connecting
    with pytest.raises(AttributeError, match=r"no 'echo': write `async with connect"):
        await connecting.echo("too early")


async def test_a_connection_that_could_not_be_made_can_be_tried_again(
    nursery: trio.Nursery,
) -> None:
    connecting = connect(f"tcp://127.0.0.1:{(port := free_port())}", Echo)
    for _ in range(2):
        with pytest.raises(OSError, match="127"):
            async with connecting:
                raise AssertionError
    await started(nursery, dispatcher(Echo, Echoing()), f"tcp://127.0.0.1:{port}")
    async with connecting as echo:
        assert await echo.echo("now") == "now"


async def test_a_session_is_opened_once() -> None:
    near, far = memory_link_pair(4)
    opening = initiator(near).open()
    async with trio.open_nursery() as working:
        working.start_soon(acceptor(far).run)
        async with opening as session:
            with pytest.raises(RuntimeError, match="open already"):
                async with opening:
                    raise AssertionError
            assert session.caller.is_connected
        with pytest.raises(RuntimeError, match="open already, or was"):
            async with opening:
                raise AssertionError


@pytest.mark.rule("rpc.pipelining")
async def test_several_clients_are_served_at_once(server: Server) -> None:
    async with (
        connect(server.url, Echo) as first,
        connect(server.url, Echo) as second,
        connect(server.url, Echo) as third,
    ):
        clients = [first, second, third]
        with trio.CancelScope() as waiting:
            async with trio.open_nursery() as calls:
                for each in clients:
                    calls.start_soon(each.wait)
                for number, each in enumerate(clients):
                    assert await each.echo(str(number)) == str(number)
                waiting.cancel()


async def test_one_client_leaving_does_not_end_another(server: Server) -> None:
    async with connect(server.url, Echo) as staying:
        async with connect(server.url, Echo) as leaving:
            await leaving.echo("bye")
        assert await staying.echo("still here") == "still here"


@service
class Ask(Protocol):
    async def ask(self, question: str) -> str: ...


class Answering:
    async def ask(self, question: str) -> str:
        return f"{question} Yes."


@pytest.mark.rule("session.symmetry")
async def test_a_server_calls_its_client(nursery: trio.Nursery) -> None:
    answers: list[str] = []
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]

    async def serve_one() -> None:
        async with listener:
            stream = await listener.accept()
        answering = dispatcher(Echo, Echoing())
        async with acceptor(tcp_link(stream)).open(answering) as session:
            answers.append(await client(Ask, session.caller).ask("Ready?"))

    async with trio.open_nursery() as serving:
        serving.start_soon(serve_one)
        handler = dispatcher(Ask, Answering())
        async with connect(f"tcp://127.0.0.1:{port}", Echo, handler) as echo:
            with pytest.raises(ConnectionLost):
                await echo.wait()
    assert answers == ["Ready? Yes."]


HELLO = b"\x06\0\0\0" + bytes.fromhex("00 00 07 00 40 00")
AB = bytes.fromhex("02 01 61 00 01 76 00 01 62 00 01 76 00")


def entries() -> Iterator[MetadataEntry]:
    """Metadata that can be gone over only once."""
    return (MetadataEntry(key, "v") for key in ("a", "b"))


async def receive_frame(stream: trio.SocketStream) -> bytes:
    received = b""
    while len(received) < 4 or len(received) < 4 + received[0]:
        received += await stream.receive_some()
    return received[4:]


@pytest.mark.rule("session.connection-settings.hello", "session.handshake")
async def test_the_options_of_a_server_go_to_every_client(
    nursery: trio.Nursery,
) -> None:
    server = await started(
        nursery,
        dispatcher(Echo, Echoing()),
        max_concurrent_requests=3,
        metadata=entries(),
    )
    for _ in range(2):
        stream = await trio.open_tcp_stream("127.0.0.1", port_of(server))
        async with stream:
            await stream.send_all(HELLO)
            assert await receive_frame(stream) == b"\x00\x01\x01\x03" + AB


@pytest.mark.rule("session.connection-settings.hello", "session.handshake")
async def test_the_options_of_a_client_go_to_its_server() -> None:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    url = f"tcp://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
    heard: list[bytes] = []

    async def hear() -> None:
        async with listeners[0], await listeners[0].accept() as stream:
            heard.append(await receive_frame(stream))

    async with trio.open_nursery() as serving:
        serving.start_soon(hear)
        with pytest.raises(SessionIoError):
            async with connect(
                url, Echo, max_concurrent_requests=5, metadata=entries()
            ):
                pass
    expects = b"\x0fschema-expected\x01\x10" + describe(Echo).fingerprint + b"\x02"
    knows = b"\x09roam-trio\x02\x01\x02"
    assert heard == [b"\x00\x00\x07\x00\x05\x04" + AB[1:] + expects + knows]


@service(name="Testbed")
class Bed(Protocol):
    async def echo(self, message: str) -> str: ...


@pytest.mark.rule(
    "zerocopy.framing",
    "zerocopy.framing.pipeline",
    "zerocopy.framing.pipeline.outgoing",
    "zerocopy.framing.link.stream",
)
async def test_a_call_is_framed_by_value_message_and_link() -> None:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    url = f"tcp://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
    value = b"\x05hello"
    call = bytes.fromhex("00 07 01 00 f3bbf58fa697f1d59a01 00 00") + value
    answer = bytes.fromhex("00 07 01 01 00 00 00") + value
    heard: list[bytes] = []

    async def answer_one() -> None:
        async with listeners[0]:
            stream = await listeners[0].accept()
        async with stream:
            await receive_frame(stream)
            await stream.send_all(b"\x05\0\0\0" + bytes.fromhex("00 01 01 40 00"))
            heard.append(await receive_frame(stream))
            await stream.send_all(bytes([len(answer), 0, 0, 0]) + answer)
            assert await stream.receive_some() == b""

    async with trio.open_nursery() as serving:
        serving.start_soon(answer_one)
        async with connect(url, Bed) as bed:
            assert await bed.echo("hello") == "hello"
    assert heard == [call]


async def test_the_limits_of_both_sides_hold(nursery: trio.Nursery) -> None:
    small = Limits(max_payload=100)
    handler = dispatcher(Echo, Echoing())
    server = await started(nursery, handler)
    careful = await started(nursery, handler, limits=small)
    async with connect(server.url, Echo, limits=small) as echo:
        with pytest.raises(PayloadTooLarge, match="max_payload"):
            await echo.echo("x" * 200)
        assert await echo.echo("small") == "small"
    async with connect(careful.url, Echo) as echo:
        assert await echo.echo("small") == "small"
        with pytest.raises(ConnectionLost):
            await echo.echo("x" * 200)


async def test_strict_peers_get_along(nursery: trio.Nursery) -> None:
    server = await started(nursery, dispatcher(Echo, Echoing()), strict=True)
    async with connect(server.url, Echo, strict=True) as echo:
        assert await echo.echo("strictly") == "strictly"


@pytest.mark.rule("session.message.connection-id")
async def test_a_strict_server_refuses_what_another_tolerates(
    nursery: trio.Nursery, server: Server
) -> None:
    off_the_root = b"\x06\0\0\0" + bytes.fromhex("01 00 07 00 40 00")
    strict = await started(nursery, dispatcher(Echo, Echoing()), strict=True)
    for each, answer in ((server, b"\x00\x01"), (strict, b"\x00\x02")):
        stream = await trio.open_tcp_stream("127.0.0.1", port_of(each))
        async with stream:
            await stream.send_all(off_the_root)
            assert (await receive_frame(stream)).startswith(answer)


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


if has_ipv6():

    async def test_a_client_over_ipv6(nursery: trio.Nursery) -> None:
        server = await started(nursery, dispatcher(Echo, Echoing()), "tcp://[::1]:0")
        assert server.url == f"tcp://[::1]:{port_of(server)}"
        async with connect(server.url, Echo) as echo:
            assert await echo.echo("six") == "six"


async def test_a_server_without_a_host_listens_everywhere(
    nursery: trio.Nursery,
) -> None:
    server = await started(nursery, dispatcher(Echo, Echoing()), "tcp://:0")
    assert server.url == f"tcp://:{port_of(server)}"


# ---------------------------------------------------------------- the ends of things


async def test_the_exception_of_the_block_passes_unchanged(server: Server) -> None:
    error = KeyError("mine")
    with pytest.raises(KeyError) as caught:
        async with connect(server.url, Echo):
            raise error
    assert caught.value is error
    assert error.__cause__ is None
    assert error.__context__ is None


async def test_the_errors_of_calls_pass_unchanged(nursery: trio.Nursery) -> None:
    class Broken(Echoing):
        async def echo(self, message: str) -> str:
            raise RuntimeError("oops")

    server = await started(nursery, dispatcher(Echo, Broken()))
    logging.getLogger("roam_trio.service").disabled = True
    try:
        with pytest.raises(CallCancelled):
            async with connect(server.url, Echo) as echo:
                await echo.echo("hello")
    finally:
        logging.getLogger("roam_trio.service").disabled = False


async def test_a_block_can_be_cancelled(server: Server) -> None:
    with trio.CancelScope() as scope:
        async with connect(server.url, Echo) as echo:
            scope.cancel()
            await echo.wait()
    assert scope.cancelled_caught
    async with connect(server.url, Echo) as echo:
        assert await echo.echo("next") == "next"


@pytest.mark.rule("rpc.cancel")
async def test_a_cancelled_call_ends_its_handler_and_not_the_session(
    nursery: trio.Nursery,
) -> None:
    echoing = Echoing()
    server = await started(nursery, dispatcher(Echo, echoing))
    async with connect(server.url, Echo) as echo:
        async with trio.open_nursery() as calls:
            calls.start_soon(echo.wait)
            while not echoing.waiting:
                await trio.lowlevel.checkpoint()
            calls.cancel_scope.cancel()
        while echoing.waiting:
            await trio.lowlevel.checkpoint()
        assert await echo.echo("hello") == "hello"


async def test_a_server_stops_when_it_is_cancelled() -> None:
    handler = dispatcher(Echo, Echoing())
    async with trio.open_nursery() as serving:
        server = await started(serving, handler)
        url = server.url
        async with connect(url, Echo) as echo:
            assert await echo.echo("hello") == "hello"
            serving.cancel_scope.cancel()
            with pytest.raises((ConnectionLost, trio.Cancelled)):
                await echo.wait()
    with pytest.raises(OSError):  # noqa: PT011 - which one is the platform's choice
        async with connect(url, Echo):
            pass


async def test_a_client_sees_the_end_of_its_server() -> None:
    handler = dispatcher(Echo, Echoing())
    lost: list[Exception] = []

    async def use(url: str, task_status: trio.TaskStatus[None]) -> None:
        async with connect(url, Echo) as echo:
            await echo.echo("hello")
            task_status.started()
            try:
                await echo.wait()
            except ConnectionLost as error:
                lost.append(error)

    async with trio.open_nursery() as clients, trio.open_nursery() as serving:
        server = await started(serving, handler)
        await clients.start(use, server.url)
        serving.cancel_scope.cancel()
    assert "the peer has closed the link" in str(lost[0])


# ---------------------------------------------------------------- what can be wrong


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("http://127.0.0.1:80", "the schemes are: .*tcp"),
        ("127.0.0.1:80", "the schemes are: .*tcp"),
        ("", "the schemes are: .*tcp"),
        ("tpc://127.0.0.1:80", r"did you mean tcp:\?"),
        ("tcp://127.0.0.1", "there is no port"),
        ("tcp:", "there is no port"),
        ("tcp://127.0.0.1:", "there is no port"),
        ("tcp://127.0.0.1:65536", "out of range"),
        ("tcp://127.0.0.1:port", "'port'"),
        ("tcp://127.0.0.1:80/path", "more than host and port"),
        ("tcp://127.0.0.1:80/", "more than host and port"),
        ("tcp://127.0.0.1:80?query", "more than host and port"),
        ("tcp://127.0.0.1:80#fragment", "more than host and port"),
        ("tcp://user:word@127.0.0.1:80", "more than host and port"),
        ("tcp://[::1:80", "IPv6"),
    ],
)
async def test_a_wrong_url_is_refused_with_a_right_one(url: str, problem: str) -> None:
    got = without_secrets(url)
    expected = f"expected a URL like tcp://127.0.0.1:7000, got {got!r}: "
    with pytest.raises(ValueError, match=problem) as caught:
        connect(url, Echo)
    assert str(caught.value).startswith(expected)
    with pytest.raises(ValueError, match=problem) as caught:
        await run_serve(url)
    assert str(caught.value).startswith(expected)


async def run_serve(url: str, **options: Any) -> None:
    await serve(url, dispatcher(Echo, Echoing()), **options)


def test_a_client_needs_a_host() -> None:
    with pytest.raises(ValueError, match="there is no host to connect to"):
        connect("tcp://:7000", Echo)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"max_concurrent_requests": 0}, "max_concurrent_requests"),
        ({"max_concurrent_requests": 2**32}, "max_concurrent_requests"),
        ({"metadata": {"key": -1}}, "key"),
    ],
)
async def test_wrong_options_are_refused_before_there_is_a_connection(
    options: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        connect(ANY, Echo, **options)
    with pytest.raises(ValueError, match=problem):
        await run_serve(ANY, **options)


def test_a_class_that_is_no_service_is_refused_before_there_is_a_connection() -> None:
    with pytest.raises(TypeError, match=r"decorated with @roam_trio\.service"):
        connect("tcp://127.0.0.1:1", Echoing)


@pytest.mark.parametrize("wrong", [Echoing(), Echoing, object()])
async def test_what_is_no_handler_is_refused_before_there_is_a_connection(
    wrong: Any,
) -> None:
    remedy = r"^expected a Handler, got .*(Echoing|object).*; dispatcher\(Adder"
    with pytest.raises(TypeError, match=remedy):
        connect("tcp://127.0.0.1:1", Echo, handler=wrong)
    with pytest.raises(TypeError, match=remedy):
        await serve(ANY, wrong)


@pytest.mark.parametrize("wrong", [None, {"echo": None}])
async def test_a_server_without_a_handler_is_refused(wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"^expected a Handler, got None; dispatcher"):
        await serve(ANY, wrong)


async def test_tls_settings_that_a_server_would_not_use_are_refused() -> None:
    wrong = "ssl_context was given, but no TLS is spoken at memory://echo"
    with pytest.raises(ValueError, match=wrong):
        await run_serve("memory://echo", ssl_context=server_context())


@pytest.mark.parametrize("wrong", [b"tcp://127.0.0.1:0", [None]])
async def test_a_server_at_what_is_no_text_is_refused(wrong: Any) -> None:
    with pytest.raises(TypeError, match="expected a URL as a str, such as 'tcp://"):
        await run_serve(wrong)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


async def test_nobody_there_is_an_os_error() -> None:
    with pytest.raises(OSError):  # noqa: PT011 - which one is the platform's choice
        async with connect(f"tcp://127.0.0.1:{free_port()}", Echo):
            pass


async def test_a_port_that_is_taken_is_an_os_error(server: Server) -> None:
    with pytest.raises(OSError):  # noqa: PT011 - which one is the platform's choice
        await run_serve(server.url)


async def server_that_says(nursery: trio.Nursery, says: bytes) -> str:
    """The URL of a server that says something, and then no more."""

    async def answer(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.send_all(says)
            await stream.send_eof()
            async for _ in stream:
                pass

    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    nursery.start_soon(trio.serve_listeners, answer, listeners)
    return f"tcp://127.0.0.1:{listeners[0].socket.getsockname()[1]}"


@pytest.mark.rule("session.handshake")
@pytest.mark.parametrize(
    ("says", "kind", "problem"),
    [
        (b"", SessionIoError, "the peer closed the link; expected its HelloYourself"),
        (b"SSH-2.0-OpenSSH\r\n", SessionProtocolError, "the peer speaks SSH"),
        (b"\x03\0\0\0ab", SessionIoError, "2 of 3|middle|ended"),
        (b"\x04\0\0\0\xff\xff\xff\xff", SessionProtocolError, "not a message"),
        (b"\x03\0\0\0\x00\x09\x01", SessionProtocolError, "expected HelloYourself"),
        (b"\x05\0\0\0\x00\x02\x02no", SessionProtocolError, "no"),
    ],
    ids=["nothing", "text", "truncated", "garbage", "other message", "refusal"],
)
async def test_a_server_that_speaks_something_else_is_a_session_error(
    nursery: trio.Nursery, says: bytes, kind: type[Exception], problem: str
) -> None:
    url = await server_that_says(nursery, says)
    with pytest.raises(kind, match=problem) as caught:
        async with connect(url, Echo):
            pass
    assert isinstance(caught.value, SessionError)


@pytest.mark.rule("rpc.error.scope")
@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"\xff\xff\xff\xff" + b"\0" * 100,
        b"\x02\0\0\0\xff\xff",
        b"\x06\0\0\0\x00\x00\x06\x00\x40\x00",
        b"\x10\0\0\0cut",
        b"",
    ],
    ids=["http", "huge", "no message", "version 6", "truncated", "nothing"],
)
async def test_a_client_that_sends_garbage_harms_no_other(
    server: Server, caplog: pytest.LogCaptureFixture, garbage: bytes
) -> None:
    async with connect(server.url, Echo) as echo:
        stream = await trio.open_tcp_stream("127.0.0.1", port_of(server))
        async with stream:
            if garbage:
                await stream.send_all(garbage)
            await stream.send_eof()
            async for _ in stream:
                pass
        assert await echo.echo("fine") == "fine"
    assert "a client could not set up a session" in caplog.text
    async with connect(server.url, Echo) as echo:
        assert await echo.echo("fine, too") == "fine, too"


@pytest.mark.rule("rpc.error.scope")
async def test_a_client_that_breaks_the_protocol_later_harms_no_other(
    server: Server,
) -> None:
    async with connect(server.url, Echo) as echo:
        stream = await trio.open_tcp_stream("127.0.0.1", port_of(server))
        async with stream:
            await stream.send_all(b"\x06\0\0\0\x00\x00\x07\x00\x40\x00")
            await stream.send_all(b"\x01\0\0\0\xff")
            received = b"".join([chunk async for chunk in stream])
        assert received.startswith(b"\x05\0\0\0\x00\x01\x01\x40\x00")
        assert await echo.echo("fine") == "fine"
