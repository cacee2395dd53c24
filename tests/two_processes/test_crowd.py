"""One peer cannot bring a server over its memory, whatever it sends."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trio

from roam_trio import Limits, Message, Parity, connect, serving
from roam_trio.metadata import NO_METADATA
from roam_trio.wire.envelope import encode_message
from roam_trio.wire.messages import (
    PROTOCOL_VERSION,
    ConnectionSettings,
    Hello,
    RequestCall,
)

from .crowd import CROWD, METHODS, Accepting, Crowd
from .fillings import FILLINGS, Filling, opening
from .memory import MIB
from .processes import ListeningProcess, within

CONNECTIONS = 4096


def resident(pid: int, name: str = "VmHWM") -> int:
    """Return the memory of a process at its peak, in bytes."""
    status = Path(f"/proc/{pid}/status").read_text("ascii")
    found = re.search(rf"{name}:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) * 1024


def stream_of(filling: Filling, connections: int) -> Iterator[bytes]:
    """The stream of a client that fills its connections one after the other."""
    yield framed(
        [Hello(0, PROTOCOL_VERSION, ConnectionSettings(Parity.ODD, 64), NO_METADATA)]
    )
    for number in range(1, 2 * connections, 2):
        yield framed([opening(number)])
        messages: list[Message] = []
        for message in filling(number):
            messages.append(message)
            if len(messages) == 16:
                yield framed(messages)
                messages = []
        yield framed(messages)


def framed(messages: list[Message]) -> bytes:
    stream = bytearray()
    for message in messages:
        payload = b"".join(encode_message(message))
        stream += len(payload).to_bytes(4, "little") + payload
    return bytes(stream)


async def fill(url: str, filling: Filling, connections: int, seconds: float) -> bool:
    """Send all of it, and read what comes. Return True if the server has cut it off."""
    where = urlsplit(url)
    assert where.port is not None
    stream = await trio.open_tcp_stream("127.0.0.1", where.port)

    async def read() -> None:
        async for _ in stream:
            pass

    is_cut = False
    with trio.move_on_after(seconds):
        async with stream, trio.open_nursery() as nursery:
            nursery.start_soon(read)
            try:
                for piece in stream_of(filling, connections):
                    await stream.send_all(piece)
                await trio.sleep(1)
            except trio.BrokenResourceError:
                is_cut = True
            nursery.cancel_scope.cancel()
    return is_cut


async def others_go_on(url: str) -> None:
    async with connect(url, Crowd) as crowd:
        for _ in range(10):
            assert await crowd.ping() == 1


@pytest.mark.slow
@pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="reads the memory in /proc"
)
@pytest.mark.parametrize("name", FILLINGS)
@within(180)
async def test_one_peer_cannot_bring_a_server_over_its_memory(name: str) -> None:
    async with ListeningProcess("tests.two_processes.crowd", "256") as server:
        await others_go_on(server.url)
        idle = resident(server.process.pid)
        async with connect(server.url, Crowd) as beside:
            is_cut = await fill(server.url, FILLINGS[name](), CONNECTIONS, 40)
            assert await beside.ping() == 1
        peak = resident(server.process.pid)
        print(f"{name}: idle {idle // MIB}, peak {peak // MIB} MiB, cut off: {is_cut}")
        assert peak < 300 * MIB
        await others_go_on(server.url)


HELLO = framed(
    [Hello(0, PROTOCOL_VERSION, ConnectionSettings(Parity.ODD, 64), NO_METADATA)]
)
HALF = bytes(8 * MIB)
HALF_OF_A_HANDSHAKE = (68_000).to_bytes(4, "little") + bytes(67_000)
HALF_A_PAYLOAD = (16 * MIB).to_bytes(4, "little") + HALF
CALLS = framed(
    [
        RequestCall(0, number, METHODS["large"].id, (), NO_METADATA, b"")
        for number in range(1, 121, 2)
    ]
)

CROWDS = {
    "half payloads before the handshake": (900, b"", HALF_A_PAYLOAD),
    "half handshakes": (900, b"", HALF_OF_A_HANDSHAKE),
    "half payloads on many sessions": (900, HELLO, HALF_A_PAYLOAD),
    "responses not read": (100, HELLO, CALLS),
}
"""The number of links, what each says first, and what it says when it was answered."""


async def crowd_in(url: str, number: int, first: bytes, then: bytes) -> None:
    """Say something on many links, and read nothing but the answer to the first."""
    where = urlsplit(url)
    assert where.port is not None
    port = where.port

    async def one() -> None:
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            with suppress(trio.BrokenResourceError):
                await stream.send_all(first)
                if first:
                    await stream.receive_some(1)
                await stream.send_all(then)
                await trio.sleep_forever()

    with trio.move_on_after(12):
        async with trio.open_nursery() as nursery:
            for _ in range(number):
                nursery.start_soon(one)


@pytest.mark.slow
@pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="reads the memory in /proc"
)
@pytest.mark.parametrize("name", CROWDS)
@within(120)
async def test_many_links_cannot_bring_a_server_over_its_memory(name: str) -> None:
    async with ListeningProcess("tests.two_processes.crowd", "256") as server:
        await others_go_on(server.url)
        idle = resident(server.process.pid)
        async with connect(server.url, Crowd) as beside:
            await crowd_in(server.url, *CROWDS[name])
            assert await beside.ping() == 1
        peak = resident(server.process.pid)
        print(f"{name}: idle {idle // MIB}, peak {peak // MIB} MiB")
        assert peak < 300 * MIB
        await others_go_on(server.url)


QUICK = ("sleeping calls", "sets", "blobs", "long metadata", "items", "early messages")


@pytest.mark.parametrize("name", QUICK)
@within(60)
async def test_one_peer_makes_a_server_count_no_more_than_it_may(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "roam_trio")
    memory, most = 2 * MIB, 0
    limits = Limits(session_bytes=1000 * MIB, session_tasks=10**6)
    async with (
        serving(
            "tcp://127.0.0.1:0",
            CROWD,
            on_connection=Accepting(),
            memory=memory,
            limits=limits,
        ) as server,
        connect(server.url, Crowd) as beside,
    ):
        budget = server.sessions[0]._run.terms.budget._server
        assert budget is not None
        is_filled = trio.Event()

        async def fill_it() -> None:
            await fill(server.url, FILLINGS[name](), 10, 20)
            is_filled.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(fill_it)
            while not is_filled.is_set():
                most = max(most, budget.bytes)
                assert await beside.ping() == 1
    assert memory // 2 < most <= memory
