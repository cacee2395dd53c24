"""`serve`: it listens, serves, and shuts down on a signal."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
import trio
import trustme

from roam_trio import CallCancelled, Overloaded, Peer, Refused, connect
from roam_trio.cli.log_format import LogFormat, begin_log
from roam_trio.cli.peer_options import PeerOptions
from roam_trio.cli.verbs.ping import show_pings
from roam_trio.logs import Log
from tests.cli.live import invoke
from tests.cli.shop import Shop, handlers

SERVED = "tests.cli.shop:handlers"
HERE = "tests.cli.test_serve"
made = handlers()
"""A mapping, beside the function that makes one."""


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield
    root.handlers[:] = before
    root.setLevel(level)


def in_thread(client: Callable[[], Awaitable[None]]) -> threading.Thread:
    """Run a client beside the verb, and end the verb by a signal afterwards."""

    def run() -> None:
        try:
            trio.run(client)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


@pytest.mark.parametrize("specification", [SERVED, "tests.cli.test_serve:made"])
def test_handlers_of_a_module_are_served_at_every_url(
    tmp_path: Path, specification: str
) -> None:
    urls = [f"unix://{tmp_path}/{name}" for name in "ab"]
    found: list[str | None] = []

    async def client() -> None:
        for url in urls:
            async with (
                connect(url, wait_for=10) as session,
                session.open(Shop, "shop", metadata_for_calls={"k": url}) as shop,
            ):
                found.append(await shop.header("k"))

    thread = in_thread(client)
    listen = [each for url in urls for each in ("--listen", url)]
    result = invoke("serve", specification, *listen)
    thread.join()
    assert result.exit_code == 0
    assert [json.loads(line)["url"] for line in result.stdout.splitlines()] == urls
    assert result.stderr.endswith("SIGTERM: shutting down within 10 s\n")
    assert found == urls


def test_no_more_clients_are_served_than_max_sessions(tmp_path: Path) -> None:
    url, refused = f"unix://{tmp_path}/a", list[str]()

    async def client() -> None:
        async with connect(url, wait_for=10):
            try:
                async with connect(url):
                    pass
            except Overloaded as error:
                refused.append(str(error))

    thread = in_thread(client)
    result = invoke("serve", SERVED, "--listen", url, "--max-sessions", 1)
    thread.join()
    assert result.exit_code == 0
    assert len(refused) == 1


async def only_ada(peer: Peer) -> None:
    """A decision on clients."""
    if peer.metadata.get("name") != "ada":
        raise Refused("denied", "you are not Ada")


def decide(peer: Peer) -> None:
    """What decides without waiting, which is no decision of `serve`."""


class Decision:
    """A class whose instances decide; it does not decide itself."""

    async def __call__(self, peer: Peer) -> None:
        await only_ada(peer)


def test_function_of_a_module_decides_on_each_client(tmp_path: Path) -> None:
    url, refused = f"unix://{tmp_path}/a", list[str]()

    async def client() -> None:
        async with connect(url, wait_for=10, metadata={"name": "ada"}):
            pass
        try:
            async with connect(url):
                pass
        except Refused as error:
            refused.append(error.text)

    thread = in_thread(client)
    decision = f"{HERE}:only_ada"
    result = invoke("serve", SERVED, "--listen", url, "--on-session", decision)
    thread.join()
    assert result.exit_code == 0
    assert refused == ["you are not Ada"]


@pytest.mark.usefixtures("terminal")
def test_calls_may_finish_within_the_grace(tmp_path: Path) -> None:
    url, ended = f"unix://{tmp_path}/a", list[str]()

    async def client() -> None:
        async with (
            connect(url, wait_for=10) as session,
            session.open(Shop, "shop") as shop,
            trio.open_nursery() as nursery,
        ):

            async def sleep() -> None:
                try:
                    await shop.sleep()
                except CallCancelled as error:
                    ended.append(type(error).__name__)

            nursery.start_soon(sleep)
            await shop.slept()  # so the call before it has begun
            os.kill(os.getpid(), signal.SIGINT)

    # The signal that ends the verb is sent from within the block.
    thread = threading.Thread(target=lambda: trio.run(client))
    thread.start()
    result = invoke("serve", SERVED, "--listen", url, "--grace", 0.05)
    thread.join()
    assert (result.exit_code, ended) == (0, ["Unavailable"])
    assert result.stdout == f"listening at {url}\n"
    assert "SIGINT: shutting down within 0.05 s" in result.stderr


def test_server_over_tls_is_called_with_the_options_of_tls(tmp_path: Path) -> None:
    ca, files = trustme.CA(), {}
    server, user = ca.issue_cert("shop.example"), ca.issue_cert("ada@example.org")
    for name, blob in {
        "ca": ca.cert_pem,
        "cert": server.private_key_and_cert_chain_pem,
        "user": user.private_key_and_cert_chain_pem,
    }.items():
        files[name] = tmp_path / f"{name}.pem"
        blob.write_to_path(str(files[name]))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"tls://127.0.0.1:{port}"
    results: list[int] = []

    async def client() -> None:
        trusting = PeerOptions(
            ca=files["ca"], cert=files["user"], server_name="shop.example"
        )
        careless = PeerOptions(cert=files["user"], insecure=True)
        unnamed = PeerOptions(ca=files["ca"], cert=files["user"])
        with trio.fail_after(10):
            while True:
                try:
                    stream = await trio.open_tcp_stream("127.0.0.1", port)
                    await stream.aclose()
                    break
                except OSError:
                    await trio.sleep(0.01)
        for options in (trusting, careless):
            results.append(await show_pings(url, options, count=1))
        with pytest.raises(OSError, match="not valid"):
            await show_pings(url, unnamed, count=1)

    thread = in_thread(client)
    tls = ("--cert", files["cert"], "--client-ca", files["ca"])
    result = invoke("serve", SERVED, "--listen", url, *tls, "--log-level", "error")
    thread.join()
    assert (result.exit_code, results) == (0, [0, 0])


def test_certificate_without_tls_is_told(tmp_path: Path) -> None:
    file = tmp_path / "pem"
    trustme.CA().issue_cert(
        "shop.example"
    ).private_key_and_cert_chain_pem.write_to_path(str(file))
    result = invoke("serve", SERVED, "--listen", "tcp://127.0.0.1:0", "--cert", file)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "--cert is for tls:// and wss://" in result.stderr


@pytest.mark.parametrize(
    ("args", "code", "problem"),
    [
        ((SERVED, "--listen", "x"), 2, "expected a URL"),
        ((SERVED, "--listen", "tls://:0"), 2, "tls://:0: expected --cert"),
        ((SERVED, "--listen", "tcp://:0", "--grace", "nan"), 2, "'--grace'"),
        ((SERVED, "--listen", "tcp://:0", "--key", "x"), 2, "--key and --client-ca go"),
        ((SERVED, "--listen", "tcp://192.0.2.1:1"), 3, "Cannot assign"),
        (("tests.cli.shop:Shop", "--listen", "tcp://:0"), 2, "tests.cli.shop:Shop: "),
        (
            (SERVED, "--listen", "tcp://:0", "--log-level", "x"),
            2,
            "x: there is no",
        ),
        ((SERVED,), 2, "Missing option '--listen'"),
        (
            (SERVED, "--listen", "tcp://:0", "--on-session", f"{HERE}:decide"),
            2,
            f"{HERE}:decide: expected an async function that gets the Peer",
        ),
        (
            (SERVED, "--listen", "tcp://:0", "--on-session", f"{HERE}:Decision"),
            2,
            f"{HERE}:Decision: expected an async function that gets the Peer",
        ),
        (
            (SERVED, "--listen", "tcp://:0", "--on-session", f"{HERE}:nothing"),
            2,
            f"{HERE}:nothing: ",
        ),
    ],
)
def test_wrong_options_are_told(args: tuple[str, ...], code: int, problem: str) -> None:
    result = invoke("serve", *args)
    assert (result.exit_code, result.stdout) == (code, "")
    assert problem in result.stderr


def test_workers_are_refused_on_windows_with_a_word(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.platform", "win32")
    result = invoke("serve", SERVED, "--listen", "tcp://:0", "--workers", "2")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "--workers needs a system on which processes pass sockets" in result.stderr


def test_log_lines_can_be_json(capsys: pytest.CaptureFixture[str]) -> None:
    begin_log(LogFormat.JSON, "warning")
    log = logging.getLogger("of.a.test")
    log.info("not shown")
    log.warning("shown")
    assert json.loads(capsys.readouterr().err).keys() == {
        "time",
        "level",
        "logger",
        "message",
    }
    Log("roam_trio.of.a.test").warning("shown", connection=3, error_id=None)
    found = json.loads(capsys.readouterr().err)
    assert found["roam_connection"] == 3
    assert not found.keys() & {"roam_method", "roam_peer", "roam_error_id"}
    try:
        raise ValueError("a reason\x1b")
    except ValueError:
        log.exception("it has %s", "failed\u202e")
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert line.strip().isprintable()
    found = json.loads(line)
    assert (found["level"], found["logger"]) == ("error", "of.a.test")
    assert found["message"] == "it has failed\u202e"
    assert found["traceback"].endswith("ValueError: a reason\x1b")
    assert "T" in found["time"]


def test_tracebacks_of_json_are_those_of_text(
    capsys: pytest.CaptureFixture[str],
) -> None:
    begin_log(LogFormat.JSON, "warning")
    error = ValueError("of a peer\n" + "x" * 10**5)
    Log("roam_trio.of.a.test").error("it failed", exc_info=error)
    found = json.loads(capsys.readouterr().err)
    assert found["traceback"].startswith("ValueError: of a peer\\nxxx")
    assert len(found["traceback"]) < 1100


def test_log_lines_are_text_by_default(capsys: pytest.CaptureFixture[str]) -> None:
    begin_log(LogFormat.TEXT, "info")
    logging.getLogger("of.a.test").info("it works")
    assert capsys.readouterr().err.endswith("INFO of.a.test: it works\n")
