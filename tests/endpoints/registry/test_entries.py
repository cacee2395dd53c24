"""What stands in a registry is checked as what comes from a peer."""

from __future__ import annotations

import json

import pytest

from roam_trio import Address
from roam_trio.endpoints.registry.advertising import advertised
from roam_trio.endpoints.registry.entries import (
    MOST_ENTRIES,
    addresses_of,
    text_of,
)


def test_an_entry_is_read_as_it_was_written() -> None:
    address = Address("tcp://a:1", priority=2, weight=3)
    text = text_of(address, "me")
    assert json.loads(text) == {
        "url": "tcp://a:1",
        "id": "me",
        "priority": 2,
        "weight": 3,
    }
    assert addresses_of([text]) == ([address], 0)


def test_servers_with_one_url_are_one_address_in_an_order_of_its_own() -> None:
    a, b, c = Address("tcp://a:1", 1), Address("tcp://b:1"), Address("tcp://c:1")
    later = Address("tcp://b:1", 5)
    texts = [text_of(each, str(n)) for n, each in enumerate([a, later, b, c, b])]
    assert addresses_of(texts) == ([b, c, a], 0)
    assert addresses_of(reversed(texts)) == ([b, c, a], 0)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tcp://a:1",
        "[]",
        "{}",
        '{"url": 1}',
        '{"url": ""}',
        '{"url": "tcp://a:1\\n"}',
        '{"url": "tcp://a:1\\u001b[31m"}',
        '{"url": "tcp://\\u00e4:1"}',
        '{"url": "stdio:"}',
        '{"url": "FD://3"}',
        '{"url": "tcp://a:1", "priority": -1}',
        '{"url": "tcp://a:1", "weight": 0}',
        '{"url": "tcp://a:1", "weight": 65536}',
        '{"url": "tcp://' + "a" * 2048 + '"}',
        '{"url": "tcp://a:1"' + " " * 4096 + "}",
        '{"url": "\ud800"}',
        "\ufffd",
    ],
)
def test_what_no_server_writes_is_left_out_and_counted(text: str) -> None:
    good = text_of(Address("tcp://a:1"), "")
    assert addresses_of([text, good]) == ([Address("tcp://a:1")], 1)


def test_only_so_many_entries_are_read() -> None:
    texts = [text_of(Address(f"tcp://a:{n}"), "") for n in range(MOST_ENTRIES + 1)]
    found, bad = addresses_of(texts)
    assert (len(found), bad) == (MOST_ENTRIES, 0)


@pytest.mark.parametrize(
    ("urls", "advertise", "announced"),
    [
        (["tcp://127.0.0.1:7", "memory://a"], (), ["tcp://127.0.0.1:7", "memory://a"]),
        (["unix:///run/a"], "", ["unix:///run/a"]),
        (["tcp://0.0.0.0:7", "ws://[::]:8/x"], "h", ["tcp://h:7", "ws://h:8/x"]),
        (["tls://:7", "unix:///a"], "fe80::1", ["tls://[fe80::1]:7", "unix:///a"]),
        (["tcp://:7"], "tcp://b:8", ["tcp://b:8"]),
        (["tcp://:7"], ["tcp://b:8", "ws://b:9"], ["tcp://b:8", "ws://b:9"]),
    ],
)
def test_urls_are_announced_as_clients_reach_them(
    urls: list[str], advertise: str | list[str], announced: list[str]
) -> None:
    assert advertised(urls, advertise) == announced


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("tcp://:7", "every address of the machine"),
        ("tcp://0.0.0.0:7", "every address of the machine"),
        ("tls://[::]:7", "every address of the machine"),
        ("tcp://a:0", "port 0 stands for any"),
        ("fd://3", "only its process can use it"),
        ("stdio:", "only its process can use it"),
    ],
)
def test_a_url_that_is_of_no_use_elsewhere_is_refused(url: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        advertised([url], ())
    with pytest.raises(ValueError, match="say how clients reach this server"):
        advertised(["tcp://b:8"], [url])
