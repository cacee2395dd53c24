"""`gateway`: routes of a command line, and clients that pass through."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
import trio
import trustme

from roam_trio import Refused, Session, connect
from roam_trio.cli.exits import UsageError
from roam_trio.cli.gateway_options import Allowed, routes_of
from roam_trio.endpoints.gateway.figures import ROUTES, Routes
from roam_trio.endpoints.registry.service import RegisteredService
from roam_trio.endpoints.statistics import Statistics
from tests.cli.live import invoke, live
from tests.cli.shop import Shop, handlers


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield
    root.handlers[:] = before
    root.setLevel(level)


def beside(client: Callable[[], Awaitable[None]]) -> threading.Thread:
    """Run a client beside the verb, and end the verb by a signal afterwards."""

    def run() -> None:
        try:
            trio.run(client)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def for_server(files: dict[str, Path]) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(files["here"])
    context.load_verify_locations(files["ca"])
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def for_client(files: dict[str, Path]) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.load_verify_locations(files["ca"])
    context.load_cert_chain(files["user"])
    return context


async def header(session: Session, name: str = "shop") -> str | None:
    metadata = {"k": name}
    async with session.open(Shop, name, metadata_for_calls=metadata) as shop:
        return await shop.header("k")


# ------------------------------------------------------------ options


def test_routes_are_read_from_their_options() -> None:
    allowed = Allowed.of(["bank=ada", "bank=CN=eve,O=Bank", "=ops"])
    bank, shop, rest, other = routes_of(
        [
            "bank=srv+tcp://_bank._tcp.example",
            "shop=tcp://a:1,tcp://b:2",
            "unix:///run/x?mode=600",
            "=tcp://c:3",
        ],
        allowed,
    )
    assert (bank.name, bank.target) == ("bank", "srv+tcp://_bank._tcp.example")
    assert bank.allow == {"ada", "CN=eve,O=Bank"}
    assert (shop.target, shop.allow) == (("tcp://a:1", "tcp://b:2"), None)
    assert (rest.name, rest.target) == ("", "unix:///run/x?mode=600")
    assert rest.allow == {"ops"}
    assert (other.name, other.target) == ("", "tcp://c:3")


def test_servers_are_found_in_a_registry() -> None:
    (route,) = routes_of(["bank=redis://user:hidden@valkey:6379/1"], Allowed({}))
    assert isinstance(route.target, RegisteredService)
    with pytest.raises(UsageError, match="by which its servers are registered") as told:
        routes_of(["redis://user:hidden@valkey"], Allowed({}))
    assert "hidden" not in str(told.value)
    with pytest.raises(UsageError, match=r"--route: .*redis"):
        routes_of(["bank=redis://valkey:x"], Allowed({}))


def test_registry_needs_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(url: str) -> None:
        raise ImportError("the package for redis:// is missing")

    monkeypatch.setattr("roam_trio.endpoints.registry.redis.RedisRegistry", missing)
    with pytest.raises(UsageError, match="the package for redis"):
        routes_of(["bank=redis://valkey"], Allowed({}))


@pytest.mark.parametrize("option", ["bank=", "bank=,", ""])
def test_route_without_a_url_is_told(option: str) -> None:
    with pytest.raises(UsageError, match="expected SERVICE=URL"):
        routes_of([option], Allowed({}))


HERE = ("--listen", "tcp://127.0.0.1:0")
BANK = ("--route", "bank=tcp://127.0.0.1:1")


@pytest.mark.parametrize(
    ("args", "problem"),
    [
        ((*HERE,), "Missing option '--route'"),
        ((*BANK,), "Missing option '--listen'"),
        ((*HERE, "--route", "bank=x"), "--route: expected a URL"),
        ((*HERE, *BANK, *BANK), "--route: routes: expected one with each name"),
        ((*HERE, "--route", "health=tcp://a:1"), "another name than 'health'"),
        ((*HERE, *BANK, "--allow", "bank"), "expected SERVICE=CLIENT"),
        (
            (*HERE, *BANK, "--allow", "shop=ada"),
            "--allow: expected one of 'bank', got 'shop'",
        ),
        ((*HERE, *BANK, "--allow", "bank=ada"), "expected --client-ca"),
        ((*HERE, *BANK, "--trust", "ada"), "expected --client-ca"),
        (
            (*HERE, "--route", "routes=tcp://a:1", "--statistics"),
            "another name than 'routes'",
        ),
        ((*HERE, *BANK, "--ca", "missing"), "--ca missing: No such file"),
        ((*HERE, *BANK, "--client-key", "x"), "--client-key goes with --client-cert"),
        ((*HERE, *BANK, "--client-cert", "x"), "--client-cert x: No such file"),
        ((*HERE, *BANK, "--max-sessions", "0"), "'--max-sessions'"),
        (("--listen", "tls://:0", *BANK), "expected --cert"),
    ],
)
def test_wrong_options_are_told(args: tuple[str, ...], problem: str) -> None:
    result = invoke("gateway", *args)
    assert (result.exit_code, result.stdout) == (2, "")
    assert problem in result.stderr


# ------------------------------------------------------------ clients


def test_clients_pass_through_to_the_servers_of_each_route(tmp_path: Path) -> None:
    at, found = f"unix://{tmp_path}/gateway", list[str | None]()

    async def client() -> None:
        async with connect(at, wait_for=10) as session:
            found.append(await header(session))
            found.append(await header(session, "till"))
            async with session.open(Routes, ROUTES) as routes:
                found.extend(each.phase for each in await routes.snapshot())
            async with session.open(Statistics) as statistics:
                found.append(str((await statistics.snapshot()).sessions))

    user = f"uid:{os.getuid()}"
    with live(handlers()) as one, live({"till": handlers()["shop"]}) as rest:
        thread = beside(client)
        result = invoke(
            *("gateway", "--listen", at, "--route", f"shop={one}", "--route", rest),
            *("--allow", f"shop={user}", "--trust", user, "--balance", "round-robin"),
            *("--statistics", "--allow", f"statistics={user}", "--json"),
        )
        thread.join()
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {"url": at}
    assert "SIGTERM: shutting down within 10 s" in result.stderr
    assert found == ["shop", "till", "ready", "ready", "1"]


def test_web_socket_and_certificates_at_one_side_and_tls_at_the_other(
    tmp_path: Path,
) -> None:
    ca, files = trustme.CA(), dict[str, Path]()
    for name, blob in {
        "ca": ca.cert_pem,
        "here": ca.issue_cert("127.0.0.1").private_key_and_cert_chain_pem,
        "user": ca.issue_cert("ada@bank.example").private_key_and_cert_chain_pem,
    }.items():
        files[name] = tmp_path / f"{name}.pem"
        blob.write_to_path(str(files[name]))
    behind = for_server(files)
    url = f"wss://127.0.0.1:{free_port()}"
    found: list[str | None] = []

    async def client() -> None:
        with_name = for_client(files)
        async with connect(url, ssl_context=with_name, wait_for=10) as session:
            found.append(await header(session))
            with pytest.raises(Refused, match="may not use 'vault'"):
                await header(session, "vault")

    with live(handlers(), "tls://127.0.0.1:0", ssl_context=behind) as server:
        thread = beside(client)
        result = invoke(
            *("gateway", "--listen", url, "--route", f"shop={server}"),
            *("--route", f"vault={server}", "--allow", "vault=eve@bank.example"),
            *("--allow", "shop=ada@bank.example", "--log-level", "error"),
            *("--cert", files["here"], "--client-ca", files["ca"]),
            *("--ca", files["ca"], "--client-cert", files["user"]),
        )
        thread.join()
    assert (result.exit_code, found) == (0, ["shop"])
