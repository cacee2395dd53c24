"""Verbs against a server that describes its services and tells its health."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial

import pytest
import trio

from roam_trio import Handler, dispatcher, serve
from roam_trio.cli.output import Output
from roam_trio.cli.peer_options import PeerOptions
from roam_trio.cli.verbs.health import show_health
from tests.cli.live import SHOP, invoke, live
from tests.cli.shop import Shop, ShopImpl, handlers
from tests.cli.test_diff import SAME


class Untold:
    """A handler that does not say what it is."""

    def __init__(self, inner: Handler) -> None:
        self.handle = inner.handle


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    untold = Untold(dispatcher(Shop, ShopImpl()))
    with live({**handlers(), "untold": untold}, reflection=True) as at:
        yield at


def test_services_of_the_server_are_listed(url: str) -> None:
    result = invoke("list", url)
    assert (result.exit_code, result.stderr) == (0, "")
    shop, untold = json.loads(result.stdout)
    assert (shop["name"], shop["methods"][0]) == ("shop", "put")
    assert untold == {"name": "untold", "methods": None, "doc": None}


@pytest.mark.usefixtures("terminal")
def test_undescribed_services_are_shown_to_people(url: str) -> None:
    lines = invoke("list", url, NO_COLOR="1").stdout.splitlines()
    assert lines[-1].split() == ["untold", "?"]


def test_methods_are_called_without_their_classes(url: str) -> None:
    given = ("shop.put", '{"user": {"name": "x", "age": 1}}')
    result = invoke("call", url, *given)
    assert (result.exit_code, result.stdout) == (0, f"{2**100 + 4}\n")
    wrong = invoke("call", url, "shop.put", '{"user": {"name": "x", "age": 300}}')
    assert wrong.exit_code == 2
    assert "$.user.age" in wrong.stderr


def test_classes_of_the_user_are_used_if_they_are_named(url: str) -> None:
    result = invoke("call", url, "untold.slept", "--service", f"untold={SHOP[1]}")
    assert (result.exit_code, result.stdout) == (0, "[]\n")


def test_server_is_compared_without_its_classes(url: str) -> None:
    assert invoke("diff", SHOP[1], url).exit_code == 0
    assert invoke("diff", SAME, url).exit_code == 1


def test_service_on_the_root_connection_is_called_with_and_without_its_name() -> None:
    with live(dispatcher(Shop, ShopImpl()), reflection=True) as at:
        (found,) = json.loads(invoke("list", at).stdout)
        assert found["name"] == "shop"
        for method in ("shop.header", "header"):
            result = invoke("call", at, method, '["k"]', "-H", "k=v")
            assert (result.exit_code, result.stdout) == (0, '"v"\n')
            described = json.loads(invoke("describe", at, method).stdout)
            assert described["name"] == "header"
        health = invoke("health", at, "shop")
        assert json.loads(health.stdout) == {"service": "shop", "state": "serving"}
        unknown = invoke("describe", at, "heater")
        assert unknown.exit_code == 2
        assert "there is no such service; there are: shop" in unknown.stderr


# ---------------------------------------------------------------- health


def test_health_of_a_server_and_of_a_service_is_told(url: str) -> None:
    whole = invoke("health", url)
    assert (whole.exit_code, whole.stderr) == (0, "")
    assert json.loads(whole.stdout) == {"service": "", "state": "serving"}
    one = invoke("health", url, "shop")
    assert json.loads(one.stdout) == {"service": "shop", "state": "serving"}


@pytest.mark.usefixtures("terminal")
def test_health_is_a_word_for_people(url: str) -> None:
    assert invoke("health", url).stdout == "serving\n"


def test_health_of_an_unknown_service_is_code_2(url: str) -> None:
    result = invoke("health", url, "x")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "roam-trio health: x: there is no such service\n"


def test_server_that_does_not_tell_its_health_is_code_3() -> None:
    with live(handlers()) as at:
        result = invoke("health", at)
    assert (result.exit_code, result.stdout) == (3, "")
    assert "start it with reflection" in result.stderr


async def test_watch_ends_when_the_server_drains(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown, lines = trio.open_memory_channel[bytes](9)

    async def write(output: Output, data: bytes) -> None:
        await shown.send(data)

    monkeypatch.setattr(Output, "write", write)
    run = partial(serve, "memory://watched", handlers(), reflection=True)
    server = await nursery.start(run)

    async def watch() -> None:
        code = await show_health(server.url, PeerOptions(), "shop", watch=True)
        await shown.send(b"%d" % code)

    nursery.start_soon(watch)
    state = json.loads(await lines.receive())
    assert state == {"service": "shop", "state": "serving"}
    await server.shutdown(grace=5)
    state = json.loads(await lines.receive())
    assert state == {"service": "shop", "state": "draining"}
    assert await lines.receive() == b"1"
