"""docs/security.md has every setting with its default, and names tests that exist."""

from __future__ import annotations

import ast
import inspect
import math
import re
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import attrs
import pytest

from roam_trio import Limits, connect, serve
from roam_trio.endpoints.machine import default_memory
from roam_trio.session import SessionKeepaliveConfig
from roam_trio.session.turns import MOST_AT_ONCE, TURN_SECONDS
from roam_trio.wire.entries import _MOST_ENTRIES

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "security.md"

OPTIONS = {"serve": serve, "connect": connect}

NOT_OF_SAFETY = {
    "announce",
    "handler",
    "limits",
    "metadata",
    "metadata_for_calls",
    "observer",
    "service",
    "sockets",
    "task_status",
    "url",
    "wait_for",
}
"""Options that bound nothing, and refuse nobody; `Limits` has a table of its own."""

TIMES_WITHOUT_A_UNIT = {"cancel_grace", "connect_timeout", "longest_call", "warn_after"}
"""Numbers of seconds whose names do not say so."""

FIGURES = [
    "| {max_payload} for each session, as far as the bytes have come",
    "| {metadata_bytes} and {metadata_entries} entries in a message;",
    "| {call_metadata_bytes}, as large as it is when decoded, in a session;",
    "| {payload_seconds} for each MiB of the payload that has begun,",
    "| {session_tasks} tasks for a session;",
    "| {lingering_tasks} such handlers of an identity,",
    "| {session_bytes}, as budgets count it;",
    "| {unread_bytes} on a connection, within the budget",
    "| {early_items} messages on a connection, and {early_bytes} in a session |",
    "| the server holds {max_unsent_bytes} of calls, responses and items,",
    "| {connections} in a session; further ones are rejected",
    "| {pending_opens} undecided ones;",
    "| a place among `max_sessions` for {handshake_seconds},",
    "| {futile_messages} of each kind at once, then {futile_messages_per_second};",
    "| {close_seconds} after the session has ended,",
    "and are logged after {warn_after} |",
    "| the proxy holds {proxied_items} messages and {proxied_bytes} for each",
    "| a place among {lost_clients} lost clients for {resume_seconds},",
    "| {unacknowledged_frames} messages and {unacknowledged_bytes} are kept,",
    "| {log_records} of one kind for a session at once and {log_records_per_second}, "
    "and {server_log_records} and {server_log_records_per_second} for all sessions",
]
"""What the page says about limits outside of the tables of settings."""

TESTS = re.compile(r"`([\w/]+\.py)::(test_\w+)`")

Row = tuple[str, ...]


def rows() -> list[Row]:
    """The rows of all tables, without their heads."""
    found: list[Row] = []
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    for before, line in pairwise(lines):
        if line.startswith("| ") and before.startswith("| "):
            cells = tuple(cell.strip() for cell in line.strip("|").split(" | "))
            if not cells[0].startswith("---"):
                found.append(cells)
    return found


def settings(column: str) -> dict[str, str]:
    """The defaults on the page, by the names of settings such as `Limits.channels`."""
    named = re.compile(rf"`{column}\.(\w+)`$")
    return {match[1]: cells[1] for cells in rows() if (match := named.match(cells[0]))}


def shown(name: str, default: Any) -> str:
    """A default as the page has it."""
    if isinstance(default, SessionKeepaliveConfig):
        ping, answer = default.ping_interval, default.pong_timeout
        return f"ping after {ping:g} s, answer within {answer:g} s"
    is_number = isinstance(default, int | float) and not isinstance(default, bool)
    return shown_number(name, default) if is_number else f"`{default!r}`"


def shown_number(name: str, number: float) -> str:
    if number == math.inf:
        return "none"
    if name.endswith("_bytes") or name == "max_payload":
        return in_bytes(int(number))
    return f"{number:,g}{unit_of(name)}"


def unit_of(name: str) -> str:
    if name.endswith("per_second"):
        return " a second"
    is_time = name.endswith("seconds") or name in TIMES_WITHOUT_A_UNIT
    return " s" if is_time else ""


def in_bytes(number: int) -> str:
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if number % size == 0:
            return f"{number // size} {unit}"
    return f"{number} bytes"


def test_every_limit_is_on_the_page_with_its_default() -> None:
    expected = {
        field.name: shown_number(field.name, field.default)
        for field in attrs.fields(Limits)
    }
    assert settings("Limits") == expected


@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_of_safety_is_on_the_page_with_its_default(name: str) -> None:
    expected = {
        option: shown(option, parameter.default)
        for option, parameter in inspect.signature(OPTIONS[name]).parameters.items()
        if option not in NOT_OF_SAFETY
    }
    assert settings(name) == expected


@pytest.mark.parametrize("figures", FIGURES)
def test_figures_in_the_text_are_those_of_the_defaults(figures: str) -> None:
    defaults = {
        field.name: shown_number(field.name, field.default)
        for field in attrs.fields(Limits)
    }
    defaults["metadata_entries"] = f"{_MOST_ENTRIES:,}"
    assert figures.format(**defaults) in PAGE.read_text(encoding="utf-8")


def test_turns_are_as_long_as_the_page_says() -> None:
    expected = (
        f"other tasks run after {TURN_SECONDS * 1000:g} ms with the messages of one "
        f"read, or {MOST_AT_ONCE} messages if that takes longer"
    )
    assert expected in PAGE.read_text(encoding="utf-8")


def test_the_memory_of_a_server_is_what_the_page_says() -> None:
    [row] = [cells for cells in rows() if cells[0] == "`serve.memory`"]
    assert "a quarter of the memory of the machine" in row[2]
    assert default_memory() >= 64 << 20
    assert "at least 64 MiB" in row[2]


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0][:40])
def test_each_row_names_tests_that_exist(row: Row) -> None:
    named = TESTS.findall(row[-1])
    assert named, f"no test in the last column of {row[0]!r}"
    assert row[-1].count("`") == 4 * len(named) // 2, f"not only tests: {row[-1]}"
    for path, test in named:
        assert test in names_in(path), f"{path} has no {test}"


def test_tests_named_in_the_text_exist() -> None:
    for path, test in TESTS.findall(PAGE.read_text(encoding="utf-8")):
        assert test in names_in(path), f"{path} has no {test}"


@cache
def names_in(path: str) -> set[str]:
    """The names of the tests of a module, also of those in classes."""
    file = ROOT / "tests" / path
    assert file.exists(), f"no tests/{path}"
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
