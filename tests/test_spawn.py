"""`spawn`: a client of a program that is started for it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Protocol

import pytest
import trio

from roam_trio import (
    ConnectionLost,
    OfferedServices,
    Session,
    SessionError,
    SessionIoError,
    current_call,
    describe_remote,
    dispatcher,
    reserved_services,
    serve,
    service,
    spawn,
)

from .test_schemes import Echo, EchoImpl

ROOT = Path(__file__).parent.parent

SERVER = [sys.executable, "-W", "error", "-m", "tests.test_spawn"]


@service
class Asking(Protocol):
    async def offered(self) -> list[str]:
        """Return the names of the services that the caller offers."""
        ...


class AskingImpl:
    async def offered(self) -> list[str]:
        return list(await describe_remote(current_call().connection.session))


async def serve_echo() -> None:
    """What the program does."""
    offered = {"asking": dispatcher(Asking, AskingImpl())}
    root = dispatcher(Echo, EchoImpl())
    acceptor = OfferedServices(offered, reserved=reserved_services, root=root)
    await serve("stdio:", root, on_connection=acceptor)
    print("served")


async def test_program_is_served_by_and_ends_with_the_block(
    capfd: pytest.CaptureFixture[str],
) -> None:
    connecting = spawn(SERVER, Echo, cwd=ROOT)
    for _ in range(2):
        async with connecting as echo:
            assert await echo.echo("hello") == "hello"
            assert await echo.echo("x" * 200_000) == "x" * 200_000
    assert capfd.readouterr().err == "served\n" * 2


async def test_without_a_service_there_is_a_session() -> None:
    async with spawn(SERVER, cwd=ROOT) as session:
        assert isinstance(session, Session)
        assert session.caller.is_connected


async def test_both_sides_describe_what_they_offer() -> None:
    offered = {"echo": dispatcher(Echo, EchoImpl())}
    async with spawn(SERVER, None, offered, cwd=ROOT, reflection=True) as session:
        assert list(await describe_remote(session)) == ["asking", "echo"]
        async with session.open(Asking) as asking:
            assert await asking.offered() == ["echo"]


async def test_end_of_the_program_ends_the_session() -> None:
    code = "import os, time; os.write(1, bytes.fromhex('050000000001014000')); "
    code += "os.read(0, 10); os._exit(3)"
    async with spawn([sys.executable, "-S", "-c", code], Echo) as echo:
        with pytest.raises(ConnectionLost):
            await echo.echo("hello")


async def test_program_that_serves_nothing_is_a_session_error_with_a_note() -> None:
    program = [sys.executable, "-S", "-c", "import os; os._exit(5)"]
    with pytest.raises(SessionIoError, match="closed the link") as caught:
        async with spawn(program, Echo):
            raise AssertionError
    assert isinstance(caught.value, SessionError)
    (note,) = caught.value.__notes__
    assert note.endswith("has ended: exit code 5")


async def test_error_of_the_block_passes_unchanged() -> None:
    error = KeyError("mine")
    with pytest.raises(KeyError) as caught:
        async with spawn(SERVER, Echo, cwd=ROOT):
            raise error
    assert caught.value is error


async def test_spawning_can_be_cancelled_anywhere() -> None:
    hello_yourself = "bytes.fromhex('050000000001014000')"
    code = f"import os; os.write(1, {hello_yourself}); os.read(0, 99); os.read(0, 99)"
    program = [sys.executable, "-S", "-E", "-c", code]
    reached = 0

    async def use() -> None:
        nonlocal reached
        async with spawn(program, Echo):
            reached += 1

    # Most of its time passes without a step of the run, so this goes by the clock.
    milliseconds = 0.0
    while reached < 3:
        with trio.move_on_after(milliseconds / 1000):
            await use()
        milliseconds = milliseconds * 1.2 + 0.5


@pytest.mark.parametrize(
    ("command", "options", "kind", "problem"),
    [
        ("adder", {}, TypeError, "expected a command as a list"),
        ([], {}, ValueError, "expected a command"),
        (["adder"], {"grace": -1}, ValueError, "grace"),
        (["adder"], {"max_concurrent_requests": 0}, ValueError, "max_concurrent"),
        (["adder"], {"handler": object()}, TypeError, "expected a Handler"),
        (["adder"], {"service": EchoImpl}, TypeError, "decorated with"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_started(
    command: Any, options: dict[str, Any], kind: type[Exception], problem: str
) -> None:
    with pytest.raises(kind, match=problem):
        spawn(command, **options)


if __name__ == "__main__":
    trio.run(serve_echo)
