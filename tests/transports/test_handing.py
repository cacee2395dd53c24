"""Connections that a parent accepts and passes to a worker."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from roam_trio import connect, serve, serving
from roam_trio.transports import LinkListener, LinkOptions, transport_for
from roam_trio.transports.handing import MOST_GIVEN, Hand, HandedConnections
from roam_trio.transports.inherited import url_handed
from roam_trio.transports.listening import SocketClient
from tests.schemes import client_context, server_context
from tests.transports.test_inherited import HANDLER, Who

AT = "tcp://127.0.0.1:7000"


def copy_of(sock: socket.socket) -> socket.socket:
    return socket.socket(fileno=os.dup(sock.fileno()))


@contextmanager
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


async def pass_on(listener: LinkListener, hand: Hand, most: int = 9) -> None:
    """What a parent does."""
    for _ in range(most):
        client = await listener.accept()
        assert isinstance(client, SocketClient)
        hand.give(client.take_socket())


async def listening(url: str) -> LinkListener:
    listener, *others = await transport_for(url).to_listen(url, LinkOptions())()
    assert others == []
    return listener


@pytest.mark.parametrize("scheme", ["tcp", "tls", "ws", "wss", "unix", "fd"])
async def test_connections_are_served_that_another_process_has_accepted(
    scheme: str, tmp_path: Path, nursery: trio.Nursery
) -> None:
    options: dict[str, Any] = {}
    at = f"{scheme}://127.0.0.1:0"
    if scheme in ("tls", "wss"):
        options["ssl_context"] = server_context()
    if scheme in ("ws", "wss"):
        at += "/rpc?a=1"
    bound = f"unix://{tmp_path}/s" if scheme == "unix" else "tcp://127.0.0.1:0"
    listener = await listening(bound)
    url = bound if scheme == "unix" else listener.url.replace("tcp:", f"{scheme}:")
    if scheme in ("ws", "wss"):
        url += "/rpc?a=1"
    if scheme == "fd":
        at, url = "fd://3", listener.url
    with pair() as (ours, theirs):
        hand = Hand(ours, url)
        async with serving(url_handed(at, theirs), HANDLER, **options) as server:
            theirs.close()  # the server has a copy
            nursery.start_soon(pass_on, listener, hand)
            assert server.url == url
            trust = {"ssl_context": client_context()} if options else {}
            for _ in range(3):
                async with connect(url, Who, **trust) as client:
                    expected = "tcp" if scheme == "fd" else scheme
                    assert await client.transport() == expected
                    assert len(server.sessions) == 1
                with trio.fail_after(5):
                    assert await hand.over() == 1
        with pytest.raises(trio.EndOfChannel):
            await hand.over()
        with copy_of(ours) as one, pytest.raises(OSError, match="Broken pipe"):
            hand.give(one)
        hand.close()
    nursery.cancel_scope.cancel()
    listener.close()


async def test_what_was_passed_is_served_before_the_end(nursery: trio.Nursery) -> None:
    listener = await listening("tcp://127.0.0.1:0")
    with pair() as (ours, theirs):
        hand = Hand(ours, listener.url)
        stream = await trio.open_tcp_stream("127.0.0.1", int(listener.url[16:]))
        await pass_on(listener, hand, 1)
        hand.finish()
        handed = HandedConnections(theirs)
        assert await handed.url() == listener.url
        async with await handed.accept() as taken:
            await stream.send_all(b"hello")
            assert await taken.receive_some() == b"hello"
        with pytest.raises(trio.EndOfChannel):
            await handed.accept()
        hand.close()
        handed.over()  # nobody listens, and nothing happens
        await stream.aclose()
    listener.close()


async def test_a_server_ends_when_its_parent_passes_no_more(
    nursery: trio.Nursery,
) -> None:
    with pair() as (ours, theirs):
        hand = Hand(ours, AT)
        async with trio.open_nursery() as serving_it:
            await serving_it.start(serve, url_handed(AT, theirs), HANDLER)
            hand.close()


async def test_refused_clients_are_over_too(nursery: trio.Nursery) -> None:
    listener = await listening("tcp://127.0.0.1:0")
    with pair() as (ours, theirs):
        hand = Hand(ours, listener.url)
        nursery.start_soon(pass_on, listener, hand)
        at = url_handed(AT, theirs)
        async with serving(at, HANDLER, max_sessions=1), connect(listener.url):
            with pytest.raises(Exception, match="max_sessions"):
                async with connect(listener.url):
                    pass  # pragma: no cover - it is refused
            assert await hand.over() == 1
    nursery.cancel_scope.cancel()
    listener.close()


async def test_a_worker_that_takes_none_is_busy() -> None:
    with pair() as (ours, theirs):
        hand = Hand(ours, AT)

        for _ in range(MOST_GIVEN):
            hand.give(copy_of(theirs))
        with copy_of(theirs) as one, pytest.raises(trio.WouldBlock):
            hand.give(one)
        handed = HandedConnections(theirs)
        await handed.url()
        stream = await handed.accept()
        with trio.move_on_after(0.01):
            await hand.over()  # reads that it is taken
        hand.give(copy_of(theirs))
        await stream.aclose()
        hand.close()


async def test_a_worker_is_busy_whose_socket_is_full(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def is_full(*args: Any) -> int:
        raise BlockingIOError

    monkeypatch.setattr(socket, "send_fds", is_full)
    with pair() as (ours, _):
        hand = Hand(ours, AT)
        with copy_of(ours) as one, pytest.raises(trio.WouldBlock):
            hand.give(one)
        assert hand.left() == []


async def test_what_a_worker_has_not_taken_goes_to_another_one() -> None:
    with pair() as (ours, theirs):
        hand = Hand(ours, AT)
        here, there = socket.socketpair()
        for _ in range(3):
            hand.give(copy_of(there))
        there.close()
        handed = HandedConnections(theirs)
        await handed.url()
        taken = await handed.accept()
        theirs.close()
        with pytest.raises(trio.EndOfChannel):
            await hand.over()
        left = hand.left()
        assert len(left) == 2
        assert hand.left() == []
        left[0].send(b"still open")
        assert here.recv(99) == b"still open"
        for each in (*left, here):
            each.close()
        await taken.aclose()
        hand.finish()  # too late, and nothing happens
        hand.close()


async def test_reports_that_find_no_room_come_later() -> None:
    with pair() as (ours, theirs):
        hand, handed = Hand(ours, AT), HandedConnections(theirs)
        await handed.url()
        for _ in range(20_000):
            handed.over()
        reported, seen, rounds = 20_000, 0, 0
        while seen < reported:
            seen += await hand.over()
            rounds += 1
            if seen < reported:
                handed.over()  # with those before it, as there is room now
                reported += 1
    assert 4 < rounds < 20


async def test_a_connection_without_a_descriptor_is_lost_and_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def none_left(sock: socket.socket, size: int, most: int) -> Any:
        return sock.recv(size), [], 0, None

    monkeypatch.setattr(socket, "recv_fds", none_left)
    with pair() as (ours, theirs):
        hand, handed = Hand(ours, AT), HandedConnections(theirs)
        await handed.url()
        hand.give(copy_of(theirs))
        with pytest.raises(OSError, match="Too many open files") as caught:
            await handed.accept()
        assert caught.value.errno == errno.EMFILE
        assert await hand.over() == 1
        assert hand.left() == []


async def test_waiting_for_a_connection_and_for_reports_can_be_given_up() -> None:
    with pair() as (ours, theirs):
        hand, handed = Hand(ours, AT), HandedConnections(theirs)
        await handed.url()
        async with trio.open_nursery() as waiting:
            waiting.start_soon(hand.over)
            waiting.start_soon(handed.accept)
            await wait_all_tasks_blocked()
            waiting.cancel_scope.cancel()


@pytest.mark.parametrize("line", [b"", b"tcp://", b"x" * 70_000])
async def test_a_socket_without_a_parent_is_refused(line: bytes) -> None:
    with pair() as (ours, theirs):
        ours.setblocking(True)
        async with trio.open_nursery() as nursery:

            def say() -> None:
                ours.sendall(line)
                ours.shutdown(socket.SHUT_WR)

            nursery.start_soon(partial(trio.to_thread.run_sync, say))
            with pytest.raises(OSError, match="no parent passes connections on it"):
                async with serving(f"fd://handed:{theirs.fileno()}", HANDLER):
                    pass  # pragma: no cover - it is not entered
            theirs.recv(100_000)
