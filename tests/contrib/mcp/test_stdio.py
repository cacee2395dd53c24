"""Tools over standard input and output of a process, and lines without a process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio
import trio.testing
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from examples.library import Library, LibraryImpl
from roam_trio import dispatcher, serve
from roam_trio.contrib.mcp.stdio import Lines, Writer, standard_stream

ROOT = Path(__file__).parents[3]

PROGRAM = """
import sys, trio
from examples.library import Library
from roam_trio import connect, describe
from roam_trio.contrib.mcp import serve_tools

async def main():
    async with connect(sys.argv[1]) as session:
        described = {"library": describe(Library)}
        await serve_tools(session, described, allow=described)

trio.run(main)
"""


@pytest.mark.slow
async def test_a_program_offers_tools_to_the_official_client(
    nursery: trio.Nursery,
) -> None:
    handlers = {"library": dispatcher(Library, LibraryImpl())}
    server = await nursery.start(serve, "tcp://127.0.0.1:0", handlers)
    parameters = StdioServerParameters(
        command=sys.executable, args=["-c", PROGRAM, server.url], cwd=ROOT
    )
    async with Client(stdio_client(parameters)) as client:
        listed = await client.list_tools()
        assert [each.name for each in listed.tools] == [
            "library_lend",
            "library_admit",
        ]
        result = await client.call_tool("library_admit", {"member": "Ada"})
        assert result.structured_content == {"result": "Good morning, Ada."}


PING = b'{"jsonrpc": "2.0", "id": 7, "method": "ping"}\n'


@pytest.mark.slow
async def test_a_signal_ends_a_program_that_waits_for_a_line(
    nursery: trio.Nursery,
) -> None:
    handlers = {"library": dispatcher(Library, LibraryImpl())}
    server = await nursery.start(serve, "tcp://127.0.0.1:0", handlers)
    program = await trio.lowlevel.open_process(
        [sys.executable, "-c", PROGRAM, server.url],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert program.stdin is not None
    assert program.stdout is not None
    with trio.fail_after(30):
        try:
            await program.stdin.send_all(PING)
            assert b'"id":7' in await program.stdout.receive_some()
            program.send_signal(signal.SIGINT)
            await program.wait()
        finally:
            program.kill()
            await program.stdin.aclose()
            await program.stdout.aclose()
            await program.wait()


async def lines_of(*chunks: bytes, most: int = 100) -> list[str]:
    send, receive = trio.testing.memory_stream_one_way_pair()
    for chunk in chunks:
        await send.send_all(chunk)
    send.close()
    return [line async for line in Lines(receive, most)]


@pytest.mark.parametrize(
    ("sent", "lines"),
    [
        (b"", []),
        (b"a\nb\n", ["a", "b"]),
        (b"a\n\nb", ["a", "", "b"]),
        ("é\n".encode(), ["é"]),
        (b"\xff\n", ["\ufffd"]),
    ],
)
async def test_lines_come_whole(sent: bytes, lines: list[str]) -> None:
    assert await lines_of(sent) == lines


async def test_a_line_that_is_too_long_comes_empty_and_the_next_whole() -> None:
    assert await lines_of(b"x" * 20 + b"\nnext\n", most=10) == ["", "next"]
    send, receive = trio.testing.memory_stream_one_way_pair()
    lines = Lines(receive, 10)
    async with trio.open_nursery() as nursery:
        found: list[str] = []

        async def read() -> None:
            found.extend([line async for line in lines])

        nursery.start_soon(read)
        for chunk in (b"x" * 20, b"y" * 5 + b"\nnext", b" one\n"):
            await send.send_all(chunk)
            await trio.testing.wait_all_tasks_blocked()
        send.close()
    assert found == ["", "next one"]


async def test_lines_and_texts_go_through_descriptors() -> None:
    reading, writing = os.pipe()
    async with (
        trio.lowlevel.FdStream(reading) as source,
        standard_stream(writing) as sink,
    ):
        os.close(writing)
        writer = Writer(sink)
        await writer.write("é\n")
        await writer.flush()
        assert await anext(Lines(source)) == "é"
