"""Programs that tell clients where servers are, or stand between them, on loopback."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from dns import asyncresolver, exception

SERVICE = "_bank._tcp.test"

PATIENCE = 20.0
"""Seconds after which a program that does not start has failed."""


def program(name: str) -> str:
    """Return the path of a program, or skip the test if it is not installed."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
    found = shutil.which(name, path=path)
    if found is None:
        pytest.skip(f"{name} is not installed: apt-get install {name}")
    return found


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


class Engine:
    """A program that runs with a file of settings."""

    def __init__(self, *command: str) -> None:
        self._command = command
        self._process: trio.Process | None = None

    async def start(self) -> None:
        self._process = await trio.lowlevel.open_process(
            self._command, stdin=subprocess.DEVNULL
        )

    async def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            with trio.CancelScope(shield=True), trio.move_on_after(5) as scope:
                await self._process.wait()
            if scope.cancelled_caught:
                self._process.kill()
            self._process = None

    def check(self) -> None:
        """Raise an error if it has ended."""
        assert self._process is not None
        code = self._process.poll()
        assert code is None, f"{self._command[0]} has ended with {code}, see above"


class NameServer:
    """A dnsmasq that has the SRV records of a service.

    Args:
        directory: gets its settings.
    """

    def __init__(self, directory: Path) -> None:
        self._file = directory / "dnsmasq.conf"
        self._port = free_port()
        self._engine = Engine(program("dnsmasq"), "-k", f"--conf-file={self._file}")

    def resolver(self) -> asyncresolver.Resolver:
        """Return a resolver that asks this server."""
        made = asyncresolver.Resolver(configure=False)
        made.nameservers = ["127.0.0.1"]
        made.port = self._port
        made.timeout = 0.2
        made.lifetime = 2.0
        return made

    async def publish(self, ports: Iterable[int]) -> None:
        """Have a record for each of these ports, and return when they are answered."""
        user = pwd.getpwuid(os.getuid()).pw_name
        lines = [
            f"port={self._port}",
            "listen-address=127.0.0.1",
            "bind-interfaces",
            "no-resolv",
            "no-hosts",
            "pid-file=",
            f"user={user}",
            "local-ttl=1",
            "host-record=bank.test,127.0.0.1",
            *(f"srv-host={SERVICE},bank.test,{port}" for port in ports),
        ]
        self._file.write_text("\n".join(lines) + "\n", encoding="ascii")
        await self._engine.stop()  # it reads such records only when it starts
        await self._engine.start()
        with trio.fail_after(PATIENCE):
            while not await self._answers():
                self._engine.check()

    async def _answers(self) -> bool:
        try:
            await self.resolver().resolve(SERVICE, "SRV")
        except (exception.DNSException, OSError):
            await trio.sleep(0.02)
            return False
        return True

    async def stop(self) -> None:
        await self._engine.stop()


@asynccontextmanager
async def name_server(
    directory: Path, ports: Sequence[int]
) -> AsyncIterator[NameServer]:
    """Have a dnsmasq with a record for each of some ports."""
    server = NameServer(directory)
    try:
        await server.publish(ports)
        yield server
    finally:
        await server.stop()


class Balancer:
    """An HAProxy that sends each source to one server, while that is there.

    It listens at many addresses of the loopback interface, and takes the address that
    a client has dialed for its source, as if each client had a machine of its own.

    Args:
        directory: gets its settings.
        ports: the ports of the servers.
        places: the number of addresses.
        idle_milliseconds: time after which it ends a connection without traffic.
        is_sticky: False if each link goes to the next server.
    """

    def __init__(
        self,
        directory: Path,
        ports: Sequence[int],
        places: int,
        *,
        idle_milliseconds: int = 60_000,
        is_sticky: bool = True,
    ) -> None:
        port = free_port()
        self.addresses = [f"127.0.0.{number}:{port}" for number in range(1, places + 1)]
        self._commands = free_port()
        self._servers = len(ports)
        file = directory / "haproxy.cfg"
        lines = [
            "global",
            f"    stats socket ipv4@127.0.0.1:{self._commands} level admin",
            "defaults",
            "    mode tcp",
            "    timeout connect 1s",
            f"    timeout client {idle_milliseconds}",
            f"    timeout server {idle_milliseconds}",
            "    option redispatch 1",
            "listen bank",
            *(f"    bind {each}" for each in self.addresses),
            "    tcp-request connection set-src dst",
            "    balance roundrobin",
            "    stick-table type ip size 1k expire 1m",
            *(["    stick on src"] if is_sticky else []),
            *(
                f"    server s{number} 127.0.0.1:{port} check inter 100ms fall 1 rise 1"
                for number, port in enumerate(ports)
            ),
        ]
        file.write_text("\n".join(lines) + "\n", encoding="ascii")
        self._engine = Engine(program("haproxy"), "-q", "-db", "-f", str(file))

    async def start(self) -> None:
        await self._engine.start()
        with trio.fail_after(PATIENCE):
            while True:
                try:
                    await self.tell("show info")
                except OSError:
                    self._engine.check()
                    await trio.sleep(0.02)
                else:
                    return

    async def tell(self, command: str) -> str:
        """Give a command, and return the answer."""
        async with await trio.open_tcp_stream("127.0.0.1", self._commands) as stream:
            await stream.send_all(command.encode("ascii") + b"\n")
            answer = b"".join([part async for part in stream])
            return answer.decode("ascii")

    async def cut_links(self) -> None:
        """End all connections with servers."""
        for number in range(self._servers):
            await self.tell(f"shutdown sessions server bank/s{number}")

    async def stop(self) -> None:
        await self._engine.stop()


@asynccontextmanager
async def balancer(
    directory: Path, ports: Sequence[int], places: int, **options: int
) -> AsyncIterator[Balancer]:
    """Have an HAProxy before servers; see `Balancer`."""
    made = Balancer(directory, ports, places, **options)
    try:
        await made.start()
        yield made
    finally:
        await made.stop()
