"""Getting through: time limits, servers that are not up yet, and several addresses."""

from __future__ import annotations

import errno
import itertools
import socket
import ssl
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from roam_trio import connect
from roam_trio.errors import LinkError
from roam_trio.links.base import Link
from roam_trio.links.memory import memory_link_pair
from roam_trio.transports import (
    LinkFactory,
    LinkOptions,
    ListenerFactory,
    Transport,
    dialer,
    register_transport,
    registry,
)


def refused() -> OSError:
    return ConnectionRefusedError(errno.ECONNREFUSED, "refused")


class Scripted(Transport):
    """Does at each attempt what it is told to."""

    example = "scripted://name"

    def __init__(self) -> None:
        self.script: dict[str, list[Exception | float | None]] = {}
        self.attempts: list[tuple[str, float]] = []

    def to_connect(self, url: str, options: LinkOptions) -> LinkFactory:
        name = url.removeprefix("scripted://")

        async def attempt() -> Link:
            self.attempts.append((name, trio.current_time()))
            todo = self.script[name]
            step = todo.pop(0) if len(todo) > 1 else todo[0]
            if isinstance(step, Exception):
                raise step
            await trio.sleep(step or 0)
            return memory_link_pair(1)[0]

        return attempt

    def to_listen(self, url: str, options: LinkOptions) -> ListenerFactory:
        raise NotImplementedError


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Scripted:
    monkeypatch.setattr(registry, "_transports", dict(registry._transports))
    transport = Scripted()
    register_transport("scripted", transport)
    return transport


async def test_dialer_makes_a_fresh_link_each_time(scripted: Scripted) -> None:
    scripted.script = {"a": [None]}
    dial = dialer("scripted://a")
    assert repr(dial) == "<Dialer of scripted://a>"
    assert await dial() is not await dial()


async def test_server_that_does_not_answer_is_given_up(
    scripted: Scripted, autojump_clock: MockClock
) -> None:
    scripted.script = {"a": [1000.0]}
    dial = dialer("scripted://a", connect_timeout=3)
    began = trio.current_time()
    with pytest.raises(
        TimeoutError, match=r"no answer in 3 seconds \(connect_timeout\).*scripted://a"
    ):
        await dial()
    assert trio.current_time() - began == 3


async def test_server_that_is_not_up_yet_is_waited_for(
    scripted: Scripted, autojump_clock: MockClock
) -> None:
    missing = FileNotFoundError(errno.ENOENT, "no such file", "/run/a")
    scripted.script = {"a": [refused(), missing, *[refused()] * 7, None]}
    began = trio.current_time()
    await dialer("scripted://a", wait_for=60)()
    times = [time - began for _, time in scripted.attempts]
    pauses = [after - before for before, after in itertools.pairwise(times)]
    assert pauses == pytest.approx([0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0, 2.0])


async def test_waiting_ends_in_time_with_the_last_error(
    scripted: Scripted, autojump_clock: MockClock
) -> None:
    scripted.script = {"a": [refused()]}
    began = trio.current_time()
    with pytest.raises(ConnectionRefusedError):
        await dialer("scripted://a", wait_for=5)()
    assert trio.current_time() - began == pytest.approx(5)
    assert scripted.attempts[-1][1] - began == pytest.approx(5)


async def test_nothing_is_tried_again_unasked(scripted: Scripted) -> None:
    scripted.script = {"a": [refused(), None]}
    with pytest.raises(ConnectionRefusedError):
        await dialer("scripted://a")()


@pytest.mark.parametrize(
    "error",
    [
        PermissionError(errno.EACCES, "not for you"),
        ssl.SSLCertVerificationError(1, "not this certificate"),
        socket.gaierror(socket.EAI_NONAME, "no such host"),
        LinkError("it speaks something else"),
        OSError("of no known kind"),
        ValueError("a mistake of this program's"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_what_cannot_pass_is_raised_at_once(
    scripted: Scripted, error: Exception
) -> None:
    scripted.script = {"a": [error, None]}
    with pytest.raises(type(error)) as caught:
        await dialer("scripted://a", wait_for=60)()
    assert caught.value is error


@pytest.mark.parametrize(
    "error",
    [
        TimeoutError(errno.ETIMEDOUT, "no answer"),
        OSError(errno.ENETUNREACH, "no network"),
        socket.gaierror(socket.EAI_AGAIN, "name servers are busy"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_what_can_pass_is_waited_for(
    scripted: Scripted, autojump_clock: MockClock, error: Exception
) -> None:
    scripted.script = {"a": [error, None]}
    await dialer("scripted://a", wait_for=60)()
    assert len(scripted.attempts) == 2


async def test_tcp_server_that_comes_up_later_is_reached(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
        links: list[Link] = []

        async def connect() -> None:
            dial = dialer(f"tcp://127.0.0.1:{port}", wait_for=60)
            links.append(await dial())

        nursery.start_soon(connect)
        await trio.sleep(1)
        assert not links
        sock.listen()
        await trio.sleep(5)
        tx, rx = links[0].split()
        await tx.abort()
        await rx.close()


async def test_urls_are_tried_in_turn(
    scripted: Scripted, autojump_clock: MockClock
) -> None:
    scripted.script = {
        "a": [PermissionError(errno.EACCES, "not for you")],
        "b": [1000.0],
        "c": [LinkError("it speaks something else")],
        "d": [None],
        "e": [None],
    }
    dial = dialer([f"scripted://{name}" for name in "abcde"], connect_timeout=2)
    for _ in range(2):
        scripted.attempts.clear()
        await dial()
        assert [name for name, _ in scripted.attempts] == ["a", "b", "c", "d"]


async def test_error_of_several_urls_tells_what_became_of_each(
    scripted: Scripted, autojump_clock: MockClock
) -> None:
    first, other = refused(), LinkError("it speaks something else")
    scripted.script = {"a": [first], "b": [1000.0], "c": [other]}
    dial = dialer([f"scripted://{name}" for name in "abc"], connect_timeout=2)
    with pytest.raises(ConnectionError) as caught:
        await dial()
    assert str(caught.value) == (
        "none of 3 URLs answered: "
        "scripted://a: [Errno 111] refused; "
        "scripted://b: [Errno 110] no answer in 2 seconds (connect_timeout): "
        "'scripted://b'; "
        "scripted://c: it speaks something else"
    )
    group = caught.value.__cause__
    assert isinstance(group, ExceptionGroup)
    assert (group.exceptions[0], group.exceptions[2]) == (first, other)


NOT_A_NAME = (socket.EAI_NONAME, "Name or service not known")
UNTRUSTED = "certificate verify failed: self-signed certificate"


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (refused(), "[Errno 111] refused: 'scripted://a'"),
        (
            socket.gaierror(*NOT_A_NAME),
            f"[Errno {NOT_A_NAME[0]}] {NOT_A_NAME[1]}: 'scripted://a'",
        ),
        (
            ssl.SSLCertVerificationError(1, UNTRUSTED),
            f"{UNTRUSTED}: 'scripted://a'",
        ),
        (OSError("of no known kind"), "of no known kind: 'scripted://a'"),
        (
            FileNotFoundError(errno.ENOENT, "no such file", "/run/a"),
            "[Errno 2] no such file: '/run/a'",
        ),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
async def test_error_of_one_url_names_it_and_is_of_the_kind_it_was(
    scripted: Scripted, error: Exception, text: str
) -> None:
    scripted.script = {"a": [error]}
    with pytest.raises(type(error)) as caught:
        await dialer("scripted://a")()
    assert str(caught.value) == text


@pytest.mark.parametrize("scheme", ["tcp", "tls", "ws", "wss"])
async def test_refused_connection_says_so_and_names_the_url(scheme: str) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))  # and does not listen
        url = f"{scheme}://127.0.0.1:{sock.getsockname()[1]}"
        with pytest.raises(OSError, match="Connection refused") as one:
            await dialer(url)()
        with pytest.raises(OSError, match="Connection refused") as several:
            await dialer([url, "memory://nobody"])()
    assert str(one.value).endswith(f": '{url}'")
    assert f"{url}: all attempts to connect to" in str(several.value)
    assert "memory://nobody: [Errno 111]" in str(several.value)


async def test_error_of_a_host_tells_what_became_of_each_address(
    scripted: Scripted,
) -> None:
    def none_of(*each: Exception) -> OSError:
        error = OSError("all attempts failed")
        error.__cause__ = ExceptionGroup("all attempts failed", each)
        return error

    away = OSError(errno.ENETUNREACH, "no network")
    scripted.script = {"a": [none_of(refused(), away, refused())]}
    with pytest.raises(OSError, match="all attempts") as caught:
        await dialer("scripted://a")()
    assert str(caught.value) == (
        "all attempts failed ([Errno 111] refused; [Errno 101] no network): "
        "'scripted://a'"
    )


async def test_several_urls_are_waited_for_if_one_of_them_may_come_up(
    scripted: Scripted, autojump_clock: MockClock
) -> None:
    never = PermissionError(errno.EACCES, "not for you")
    scripted.script = {"a": [never], "b": [refused(), refused(), None]}
    await dialer(["scripted://a", "scripted://b"], wait_for=60)()
    assert [name for name, _ in scripted.attempts] == ["a", "b"] * 3
    scripted.script = {"a": [never], "b": [never, None]}
    with pytest.raises(ConnectionError, match="none of 2 URLs"):
        await dialer(["scripted://a", "scripted://b"], wait_for=60)()


async def test_every_address_of_a_host_is_tried(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]

    class Resolver(trio.abc.HostnameResolver):
        async def getaddrinfo(self, *args: Any) -> Any:
            tcp = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
            return [(*tcp, (host, port)) for host in ("127.0.0.2", "127.0.0.1")]

        async def getnameinfo(self, *args: Any) -> Any:
            raise NotImplementedError

    trio.socket.set_custom_hostname_resolver(Resolver())
    async with listener:
        link = await dialer(f"tcp://several.invalid:{port}")()
        (await listener.accept()).socket.close()
    tx, rx = link.split()
    await tx.abort()
    await rx.close()


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"connect_timeout": 0}, "connect_timeout: expected a number of seconds above"),
        ({"wait_for": -1}, "wait_for: expected a finite number of seconds from 0"),
        ({"wait_for": float("inf")}, "wait_for: expected a finite number"),
    ],
)
def test_wrong_times_are_refused(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        dialer("memory://a", **options)


def test_no_url_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="expected at least one URL"):
        dialer([])


@pytest.mark.parametrize("wrong", [b"tcp://127.0.0.1:1", None, 7000, [None]])
def test_what_is_no_text_is_refused_with_a_url(wrong: Any) -> None:
    with pytest.raises(
        TypeError, match=r"expected a URL as a str, such as 'tcp://.*, got [bN7]"
    ):
        dialer(wrong)


def test_tls_settings_that_would_not_be_used_are_refused() -> None:
    options = LinkOptions(ssl_context=ssl.create_default_context())
    with pytest.raises(ValueError, match="ssl_context was given, but no TLS is spoken"):
        dialer(["tcp://localhost:1", "memory://a"], options)


@pytest.mark.parametrize("resume", [False, True])
def test_connect_reads_its_urls_once(
    resume: bool, scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    def to_connect(url: str, options: LinkOptions) -> LinkFactory:
        read.append(url)
        return Scripted.to_connect(scripted, url, options)

    monkeypatch.setattr(scripted, "to_connect", to_connect)
    connect(["scripted://a", "scripted://b"], resume=resume)
    assert read == ["scripted://a", "scripted://b"]


async def test_dialer_without_waiting_gives_up_at_once(
    scripted: Scripted, autojump_clock: MockClock
) -> None:
    scripted.script["a"] = [refused()]
    dial = dialer("scripted://a", wait_for=60).without_waiting()
    with pytest.raises(OSError, match="refused"):
        await dial()
    assert trio.current_time() == scripted.attempts[0][1]
