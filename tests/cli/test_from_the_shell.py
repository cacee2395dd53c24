"""The commands of docs/from-the-shell.md print what the page says."""

from __future__ import annotations

import os
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path

import pytest
import trio
import trustme

from examples.weather import handlers
from roam_trio import AnySession, Observer, Server, serving
from roam_trio.cli.tls_options import server_tls
from roam_trio.lowlevel import Route, gateway
from tests.cli.live import invoke, live, living
from tests.cli.terminals import ROOT

PAGE = ROOT / "docs" / "from-the-shell.md"


_COMMAND = re.compile(r"^\$ (.*)\n((?:[^$].*\n|\n)*)", re.M)


def commands(kind: str = "console") -> list[tuple[str, str]]:
    """Return the commands of the page, each with what it prints."""
    found: list[tuple[str, str]] = []
    for block in re.findall(rf"```{kind}\n(.*?)```", PAGE.read_text("utf-8"), re.S):
        found += _COMMAND.findall(block)
    return found


def certificate(directory: Path) -> None:
    """Make the files that the page makes with openssl."""
    ca = trustme.CA()
    made = ca.issue_cert("weather.example")
    ca.cert_pem.write_to_path(str(directory / "ca.pem"))
    made.private_key_pem.write_to_path(str(directory / "key.pem"))
    for blob in made.cert_chain_pems:
        blob.write_to_path(str(directory / "cert.pem"), append=True)


CALLS = [each for each in commands() if not each[0].endswith("&")]
IN_THIS_PROCESS = [each for each in CALLS if not re.search(r"[|>]|\.json", each[0])]
"""Those that need no shell."""


def test_page_shows_the_seven_things() -> None:
    text = "\n".join(command for command, _ in CALLS)
    for thing in ("list", "describe", "call", "printf", "-H", "--timeout", "--ca"):
        assert thing in text
    assert len(CALLS) >= 14


class _Ready(Observer):
    """Waits for the session with a server."""

    def __init__(self) -> None:
        self.event = trio.Event()

    def server_ready(self, url: str, session: AnySession) -> None:
        self.event.set()


@asynccontextmanager
async def gateway_to(server: str) -> AsyncIterator[Server]:
    """Have the gateway of the page."""
    ready = _Ready()
    async with (
        gateway([Route("weather", server)], observer=ready) as passing_on,
        serving(
            "tcp://127.0.0.1:0", {}, on_connection=passing_on, reflection=True
        ) as here,
    ):
        await ready.event.wait()  # its session is no leak of the first test
        yield here


@pytest.fixture(scope="module")
def urls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    directory = tmp_path_factory.mktemp("tls")
    certificate(directory)
    context = server_tls(directory / "cert.pem", directory / "key.pem", None)
    with (
        live(handlers(), reflection=True) as plain,
        live(handlers(), "tls://127.0.0.1:0", ssl_context=context) as tls,
        living(partial(gateway_to, plain)) as between,
    ):
        yield {
            "tcp://127.0.0.1:7000": plain,
            "tls://127.0.0.1:7443": tls,
            "tcp://127.0.0.1:7001": between,
            "cert.pem": str(directory / "ca.pem"),
        }


@pytest.mark.parametrize(("command", "printed"), IN_THIS_PROCESS)
def test_command_prints_what_the_page_says(
    urls: dict[str, str], command: str, printed: str
) -> None:
    program, *args = shlex.split(command)
    result = invoke(*(urls.get(each, each) for each in args))
    assert program == "roam-trio"
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == printed


@pytest.mark.usefixtures("terminal")
def test_description_for_people_is_that_of_the_page(urls: dict[str, str]) -> None:
    ((command, printed),) = commands("text")
    args = shlex.split(command)[1:]
    assert invoke(*(urls.get(each, each) for each in args)).stdout == printed


# ---------------------------------------------------------------- in a shell


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


@contextmanager
def running(command: str, port: int, **options: object) -> Iterator[None]:
    """Run a server of the page until the end of the block."""
    with subprocess.Popen(
        shlex.split(f"exec {command}")[1:], stdout=subprocess.PIPE, **options
    ) as server:  # type: ignore[call-overload]
        assert server.stdout is not None
        try:
            assert f":{port}" in server.stdout.readline().decode()
            yield
        finally:
            server.terminate()
            assert server.wait(30) == 0


@pytest.mark.slow
def test_page_is_followed_in_a_shell(tmp_path: Path) -> None:
    ports = {number: str(free_port()) for number in ("7001", "7443", "7000")}

    def at_free_ports(command: str) -> str:
        return re.sub(r"\b7(000|001|443)\b", lambda found: ports[found[0]], command)

    script = tmp_path / "bin" / "roam-trio"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m roam_trio "$@"\n')
    script.chmod(0o755)
    certificate(tmp_path)
    environment = {
        **os.environ,
        "PATH": f"{script.parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }
    options = {"cwd": tmp_path, "env": environment}
    with ExitStack() as servers:
        for command, printed in commands():
            command = at_free_ports(command)
            if command.endswith("&"):
                port = next(each for each in ports.values() if each in command)
                program = command.removesuffix("&").replace("roam-trio", str(script), 1)
                servers.enter_context(running(program, int(port), **options))
                continue
            # The authority that has signed it, where the page has one for itself.
            command = command.replace("--ca cert.pem", "--ca ca.pem")
            done = subprocess.run(
                ["bash", "-c", f"{{ {command}; }} 2>&1"],
                capture_output=True,
                text=True,
                timeout=60,
                **options,  # type: ignore[call-overload]
            )
            assert done.stdout == printed, command
