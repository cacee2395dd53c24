"""Every verb against a live server in another process: piped, and in a terminal."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator

import pytest

from tests.cli.live import SHOP
from tests.cli.terminals import Terminal, piped, served, start

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name != "posix", reason="needs pseudo-terminals"),
]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with served("--reflection", "--statistics") as at:
        yield at


VERBS = {
    "top": (("-n", 1), '{"sessions": ', " sessions"),
    "health": ((), '"state": "serving"', "serving\n"),
    "list": ((), '"name": "shop"', "shop     18       Sells things."),
    "describe": (("shop.find",), '"name": "find"', "find(name: str) -> Fallible[User"),
    "template": (("shop.find",), '{"name": ""}', '{\n  "name": ""\n}'),
    "call": (("shop.find", '["Ada"]'), '{"name": "Ada"', '{\n  "name": "Ada"'),
    "ping": (("-n", 1), '{"ping": 1, "milliseconds": ', "ping 1: "),
    "bench": (("shop.slept", "--count", 10), '{"calls": 10', "10 calls in "),
}
"""Arguments of each verb, and what it prints to a pipe and to a terminal."""


@pytest.mark.parametrize("verb", VERBS)
def test_verb_prints_json_to_a_pipe(url: str, verb: str) -> None:
    args, expected, _ = VERBS[verb]
    out, err = piped(verb, url, *args, *SHOP)
    assert expected in out
    assert err == ""
    assert all(json.loads(line) is not ... for line in out.splitlines())


@pytest.mark.parametrize("verb", VERBS)
def test_verb_prints_for_people_in_a_terminal(url: str, verb: str) -> None:
    args, _, expected = VERBS[verb]
    terminal = Terminal(verb, url, *args, *SHOP, NO_COLOR="1")
    assert terminal.end() == 0
    assert expected in terminal.shown
    assert not re.search(r"\x1b\[[\d;]*m", terminal.shown)


def test_tables_have_colour_unless_the_user_wants_none(url: str) -> None:
    terminal = Terminal("list", url, *SHOP)
    assert terminal.end() == 0
    assert "\x1b[1mservice" in terminal.shown


def test_diff_is_a_table_in_a_terminal_and_json_in_a_pipe() -> None:
    classes = ("tests.cli.test_diff:Old", "tests.cli.test_diff:New")
    out, _ = piped("diff", *classes, code=1)
    assert len(json.loads(out)) == 2
    terminal = Terminal("diff", *classes, NO_COLOR="1")
    assert terminal.end() == 1
    assert "Counter.reset" in terminal.shown


def test_serve_says_where_it_listens_and_ends_by_control_c() -> None:
    listen = ("tests.cli.shop:handlers", "--listen", "tcp://127.0.0.1:0")
    terminal = Terminal("serve", *listen, "--log-level", "error")
    terminal.until("listening at tcp://127.0.0.1:")
    terminal.type("\x03")
    assert terminal.end() == 0
    assert "SIGINT: shutting down within 10 s" in terminal.shown


def test_items_are_typed_and_seen_in_a_terminal(url: str) -> None:
    terminal = Terminal("call", url, "shop.double", *SHOP)
    terminal.type("21\n")
    terminal.until("42\n")
    terminal.type("\x04")  # the end of standard input
    assert terminal.end() == 0
    assert terminal.shown.endswith("42\n1\n")


def test_errors_are_one_line_in_a_terminal(url: str) -> None:
    terminal = Terminal("call", url, "shop.fnd", *SHOP)
    assert terminal.end() == 2
    assert terminal.shown == (
        "roam-trio call: fnd: there is no such method; did you mean find?\n"
    )


# ---------------------------------------------------------------- signals and pipes


def ended(url: str) -> list[str]:
    """Return the methods that were cancelled at the server."""
    return list(json.loads(piped("call", url, "shop.slept", *SHOP)[0]))


def test_control_c_cancels_the_call_at_the_server() -> None:
    with served() as url:
        terminal = Terminal("call", url, "shop.count", "[4000000000]", *SHOP)
        terminal.until("1000\n")
        terminal.type("\x03")
        assert terminal.end() == 130
        assert "Traceback" not in terminal.shown
        assert ended(url) == ["count"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_cancels_the_call_at_the_server(number: signal.Signals) -> None:
    with served() as url:
        with start("call", url, "shop.count", "[4000000000]", *SHOP) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            assert process.stdout.readline() == b"0\n"
            process.send_signal(number)
            assert process.stderr.read() == b""
            process.stdout.read()
        assert process.returncode == 128 + number
        assert ended(url) == ["count"]


def test_handler_that_does_not_stop_does_not_hold_up_control_c(url: str) -> None:
    with start("call", url, "shop.stubborn", *SHOP) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"true\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130


def test_output_without_a_reader_ends_the_call_quietly() -> None:
    with served() as url:
        with start("call", url, "shop.count", "[4000000000]", *SHOP) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            assert process.stdout.readline() == b"0\n"
            process.stdout.close()
            assert process.stderr.read() == b""
        assert process.returncode == 0
        assert ended(url) == ["count"]


def test_call_ends_while_standard_input_is_open(url: str) -> None:
    with start("call", url, "shop.first", *SHOP) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"7\n")
        process.stdin.flush()
        assert process.stdout.read() == b"7\n"
        assert process.wait(30) == 0


# ---------------------------------------------------------------- a million items


def most_memory(*args: object, numbers: int = 0) -> int:
    """Run a verb, and return its largest memory, in bytes.

    Args:
        args: the verb and its arguments.
        numbers: how many numbers it gets on standard input.
    """
    with start(*args, stdout=subprocess.DEVNULL) as process:
        assert process.stdin is not None
        for number in range(0, numbers, 1000):
            block = "".join(f"{each}\n" for each in range(number, number + 1000))
            process.stdin.write(block.encode())
        process.stdin.close()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_maxrss * 1024


def test_a_million_items_to_receive_take_no_more_memory_than_a_thousand(
    url: str,
) -> None:
    few = most_memory("call", url, "shop.count", "[1000]", *SHOP)
    many = most_memory("call", url, "shop.count", "[1000000]", *SHOP)
    assert many <= 1.1 * few


def test_a_million_items_to_send_take_no_more_memory_than_a_thousand(
    url: str,
) -> None:
    few = most_memory("call", url, "shop.total", *SHOP, numbers=1000)
    many = most_memory("call", url, "shop.total", *SHOP, numbers=1_000_000)
    assert many <= 1.1 * few
