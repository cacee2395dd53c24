"""The registry in Redis, against a server that answers as each test says."""

from __future__ import annotations

import logging
import ssl
import sys
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
import trio
import trustme

from roam_trio import Address, RedisRegistry
from roam_trio.endpoints.registry import redis_connection
from roam_trio.endpoints.registry.entries import text_of
from roam_trio.endpoints.registry.redis_url import RedisRefusal, whereabouts
from tests.endpoints.registry.fake_redis import ANSWERS, FakeRedis, fake_redis

LEASE = 60.0
"""Long, so that nothing depends on the time."""


class There:
    """A fake server, and the registry there."""

    def __init__(self, redis: FakeRedis, port: int) -> None:
        self.redis = redis
        self.port = port
        self.registry = RedisRegistry(f"redis://127.0.0.1:{port}", lease=LEASE)
        self.service = self.registry.service("bank")


@pytest.fixture
async def there() -> AsyncIterator[There]:
    async with fake_redis() as (redis, port):
        yield There(redis, port)


def bulk(text: str) -> bytes:
    data = text.encode()
    return b"$%d\r\n%b\r\n" % (len(data), data)


def members(*pairs: tuple[str, float]) -> bytes:
    found = [b"*2\r\n" + bulk(text) + b",%r\r\n" % score for text, score in pairs]
    return b"*%d\r\n" % len(pairs) + b"".join(found)


async def test_entries_are_a_sorted_set_by_the_end_of_their_leases(
    there: There,
) -> None:
    a = text_of(Address("tcp://a:1"), "id")
    there.redis.answers["ZRANGEBYSCORE"] = members((a, 105.0))
    async with there.registry.open("bank") as entries:
        await entries.put(["one", "two"], 5.0)
        await entries.remove(["one"])
        (entry,) = await entries.read()
    assert (entry.text, entry.seconds) == (a, 4.5)
    key = "roam-trio:bank"
    assert there.redis.commands == [
        ["HELLO", "3"],
        ["TIME"],
        ["ZADD", key, "105.5", "one", "105.5", "two"],
        ["ZREMRANGEBYSCORE", key, "-inf", "100.5"],
        ["EXPIRE", key, "86400"],
        ["PUBLISH", key, "announced"],
        ["ZREM", key, "one"],
        ["PUBLISH", key, "withdrawn"],
        ["TIME"],
        ["ZRANGEBYSCORE", key, "(100.5", "+inf", "WITHSCORES", "LIMIT", "0", "4096"],
    ]


async def test_only_what_is_new_is_published(there: There) -> None:
    there.redis.answers["ZADD"] = b":0\r\n"
    async with there.registry.open("bank") as entries:
        await entries.put(["one"], 5.0)
    assert "PUBLISH" not in [each[0] for each in there.redis.commands]


async def test_changes_are_heard(there: There) -> None:
    async with there.registry.open("bank") as entries:
        await entries.changed()
        assert there.redis.commands[-1] == ["SUBSCRIBE", "roam-trio:bank"]
        for _ in range(2):
            message = b">3\r\n+message\r\n+roam-trio:bank\r\n+announced\r\n"
            await there.redis.streams[0].send_all(message)
            await entries.changed()
        with trio.move_on_after(0.01) as scope:
            await entries.changed()
        assert scope.cancelled_caught
        await there.redis.streams[0].aclose()
        for _ in range(2):
            with pytest.raises(OSError, match="the connection is lost"):
                await entries.changed()


async def test_a_user_who_may_not_publish_or_subscribe_can_do_the_rest(
    there: There, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_connection, "_SUBSCRIBING_SECONDS", 0.01)
    there.redis.answers |= dict.fromkeys(
        ("PUBLISH", "SUBSCRIBE"), b"-NOPERM No permissions\r\n"
    )
    async with there.registry.open("bank") as entries:
        await entries.put(["one"], 5.0)
        await entries.changed()
        assert await entries.read() == []
        with trio.move_on_after(0.01) as scope:
            await entries.changed()
        assert scope.cancelled_caught


async def test_a_user_logs_in_and_takes_a_database(there: There) -> None:
    url = f"redis://ada:s%2Fecret@127.0.0.1:{there.port}/7"
    registry = RedisRegistry(url)
    assert await registry.service("bank").resolve() == []
    assert there.redis.commands[:2] == [
        ["HELLO", "3", "AUTH", "ada", "s/ecret"],
        ["SELECT", "7"],
    ]
    there.redis.answers["HELLO"] = b"-WRONGPASS invalid username-password pair\r\n"
    with pytest.raises(OSError, match=r"cannot log in: .*pair") as caught:
        await registry.service("bank").resolve()
    shown = f"{caught.value} {registry!r} {registry.service('x')!r} {vars(registry)}"
    assert "cret" not in shown


@pytest.mark.parametrize(
    ("command", "answer", "problem"),
    [
        ("TIME", b"+never\r\n", "the answer is not a time"),
        ("TIME", b"*2\r\n+a\r\n+b\r\n", "the answer is not a time"),
        ("TIME", None, "the connection is lost"),
        ("TIME", b"-ERR no\r\n", "TIME has failed: no"),
        ("TIME", b"-LOADING it is\r\n", "the connection is lost"),
        ("TIME", b"what?\r\n", "Unknown RESP data type"),
        ("ZRANGEBYSCORE", b":1\r\n", "not a list of members and scores"),
        ("ZRANGEBYSCORE", b"*1\r\n:1\r\n", "not a list of members and scores"),
        ("ZRANGEBYSCORE", b"*1\r\n*2\r\n:1\r\n:1\r\n", "not a list of members"),
        ("HELLO", None, "cannot log in"),
        ("HELLO", b"-NOAUTH Authentication required.\r\n", "cannot log in"),
        ("HELLO", b"HTTP/1.1 400 Bad Request\r\n\r\n", "cannot log in"),
    ],
)
async def test_answers_that_are_wrong_are_told_and_nothing_else(
    there: There,
    caplog: pytest.LogCaptureFixture,
    command: str,
    answer: bytes | None,
    problem: str,
) -> None:
    there.redis.answers[command] = answer
    with pytest.raises(OSError, match=problem):
        await there.service.resolve()
    assert [each for each in caplog.records if each.levelno >= logging.WARNING] == []


async def test_entries_that_are_no_text_are_passed_on_to_be_left_out(
    there: There,
) -> None:
    there.redis.answers["ZRANGEBYSCORE"] = b"*1\r\n*2\r\n$2\r\n\xff\xfe\r\n,105.0\r\n"
    assert await there.service.resolve() == []


async def test_what_comes_for_one_command_is_bounded(
    there: There, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_connection, "MOST_BYTES", 10_000)
    there.redis.answers["ZRANGEBYSCORE"] = members(("x" * 20_000, 105.0))
    with pytest.raises(OSError, match="the connection is lost: more than 10000 bytes"):
        await there.service.resolve()
    there.redis.answers |= ANSWERS
    async with there.registry.open("bank") as entries:
        for _ in range(500):
            assert await entries.read() == []


async def test_a_server_that_does_not_answer_is_left(there: There) -> None:
    registry = RedisRegistry(f"redis://127.0.0.1:{there.port}", lease=0.05)
    for command in ("TIME", "HELLO"):
        there.redis.answers[command] = b""
        with pytest.raises(OSError, match="it does not answer in time"):
            await registry.service("bank").resolve()


async def test_leaving_is_quiet_at_any_time(
    there: There, caplog: pytest.LogCaptureFixture
) -> None:
    for command in ("TIME", "HELLO"):
        there.redis.answers[command] = b""
        with trio.move_on_after(0.02) as scope:
            await there.service.resolve()
        assert scope.cancelled_caught
    assert [each for each in caplog.records if each.levelno >= logging.WARNING] == []


async def test_an_entry_can_be_removed_while_everything_is_cancelled(
    there: There,
) -> None:
    with trio.CancelScope() as scope:
        async with there.registry.open("bank") as entries:
            scope.cancel()
            with trio.CancelScope(shield=True):
                await entries.remove(["one"])
    assert there.redis.commands[-2][0] == "ZREM"


async def test_a_connection_that_was_lost_fails_whatever_is_asked(
    there: There,
) -> None:
    async with there.registry.open("bank") as entries:
        await there.redis.streams[0].aclose()
        for ask in (entries.changed, entries.read, entries.changed):
            with pytest.raises(OSError, match="the connection is lost"):
                await ask()


async def test_nobody_listens(there: There) -> None:
    registry = RedisRegistry("redis://127.0.0.1:1", lease=LEASE)
    with pytest.raises(OSError, match="are unknown: "):
        await registry.service("bank").resolve()
    registry = RedisRegistry("unix:///nowhere/socket", lease=LEASE)
    with pytest.raises(OSError, match=r"are unknown: .*No such file"):
        await registry.service("bank").resolve()


async def test_a_unix_socket(tmp_path: Path) -> None:
    redis, path = FakeRedis(), tmp_path / "socket"
    sock = trio.socket.socket(trio.socket.AF_UNIX)
    await sock.bind(str(path))
    sock.listen()
    async with trio.open_nursery() as nursery:
        listener = _UnixListener(sock)
        nursery.start_soon(trio.serve_listeners, redis.serve, [listener])
        service = RedisRegistry(f"unix://{path}?db=3").service("bank")
        assert await service.resolve() == []
        nursery.cancel_scope.cancel()
    path.unlink()
    assert ["SELECT", "3"] in redis.commands


class _UnixListener(trio.abc.Listener[trio.SocketStream]):
    def __init__(self, sock: trio.socket.SocketType) -> None:
        self._sock = sock

    async def accept(self) -> trio.SocketStream:
        return trio.SocketStream((await self._sock.accept())[0])

    async def aclose(self) -> None:
        self._sock.close()


async def test_tls_checks_the_certificate_of_the_server() -> None:
    ca = trustme.CA()
    mine = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert("localhost").configure_cert(mine)
    trusting = ssl.create_default_context()
    ca.configure_trust(trusting)
    redis = FakeRedis()
    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(
            partial(trio.serve_ssl_over_tcp, redis.serve, 0, mine, host="localhost")
        )
        port = listener.transport_listener.socket.getsockname()[1]
        url = f"rediss://localhost:{port}"
        service = RedisRegistry(url, ssl_context=trusting).service("bank")
        assert await service.resolve() == []
        with pytest.raises(OSError, match="certificate"):
            await RedisRegistry(url).service("bank").resolve()
        other = RedisRegistry(f"rediss://127.0.0.1:{port}", ssl_context=trusting)
        with pytest.raises(OSError, match="certificate"):
            await other.service("bank").resolve()
        nursery.cancel_scope.cancel()


async def test_a_server_without_tls_is_no_server_with_tls() -> None:
    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(
            partial(trio.serve_tcp, trio.aclose_forcefully, 0, host="127.0.0.1")
        )
        port = listener.socket.getsockname()[1]
        registry = RedisRegistry(f"rediss://127.0.0.1:{port}", lease=LEASE)
        with pytest.raises(OSError, match=r"are unknown: .*lost during the TLS"):
            await registry.service("bank").resolve()
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("http://u:secret@h", "the schemes are: redis, rediss, unix"),
        ("redis://u:secret@", "there is no host"),
        ("redis://u:secret@h:x", "cast to integer"),
        ("redis://u:secret@h/one", "the database is not a number"),
        ("redis://u:secret@h?db=secret", "the only option is"),
        ("redis://u:secret@h#fragment", "the only option is"),
        ("unix://?db=1", "there is no path"),
        ("unix:///x?db=", "the database is not a number"),
        ("unix:///x?DB=1", "the only option is"),
    ],
)
def test_wrong_urls_are_refused_without_their_secrets(url: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem) as caught:
        RedisRegistry(url)
    assert "secret" not in str(caught.value)


def test_what_is_left_out_of_a_url_has_defaults() -> None:
    where = whereabouts("redis://h", None)
    assert (where.host, where.port, where.db) == ("h", 6379, 0)
    assert (where.username, where.password, where.ssl_context) == (None, None, None)
    where = whereabouts("rediss://:pass@[::1]:7/2", None)
    assert (where.host, where.port, where.db) == ("::1", 7, 2)
    assert (where.username, where.password) == (None, "pass")
    assert where.ssl_context is not None
    assert where.ssl_context.check_hostname
    with pytest.raises(ValueError, match="an ssl_context is only for rediss"):
        RedisRegistry("redis://h", ssl_context=ssl.create_default_context())


def test_the_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, redis_connection.__name__)
    monkeypatch.setitem(sys.modules, "coredis.connection", None)
    with pytest.raises(ImportError, match=r"pip install '\.\[registry\]'"):
        RedisRegistry("redis://h")


def test_a_refusal_is_an_os_error() -> None:
    assert issubclass(RedisRefusal, OSError)
