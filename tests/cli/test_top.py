"""`top`: the figures of a server as JSON lines, and as tables for people."""

from __future__ import annotations

import io
import json

import pytest

from roam_trio.cli.figures import Screen, screen_of
from roam_trio.cli.output import rendered
from roam_trio.endpoints.statistics import (
    CallFigures,
    ChannelFigures,
    ServerFigures,
    SessionFigures,
)
from tests.cli.live import invoke, live
from tests.cli.shop import handlers


def test_each_update_is_a_line_of_json() -> None:
    with live(handlers(), statistics=True) as url:
        result = invoke("top", url, "-n", 2, "--interval", 0.05)
    assert (result.exit_code, result.stderr) == (0, "")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert len(lines) == 2
    for line in lines:
        assert line["sessions"] == 1
        (call,) = line["busiest"][0]["oldest_calls"]
        assert (call["method"], call["direction"]) == ("Statistics.snapshot", "in")


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize("no_color", ["", "1"])
def test_update_is_shown_as_tables_for_people(no_color: str) -> None:
    with live(handlers(), statistics=True) as url:
        result = invoke("top", url, "-n", 1, NO_COLOR=no_color, TERM="xterm")
    assert result.exit_code == 0
    assert f"{url}: 1 sessions" in result.stdout
    assert "Statistics.snapshot" in result.stdout


class ATerminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_updates_follow_one_another_on_a_terminal_without_a_cursor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = ATerminal()
    monkeypatch.setattr("sys.stdout", seen)
    monkeypatch.setenv("TERM", "dumb")
    with Screen("tcp://x:1") as screen:
        for sessions in (1, 2):
            screen.show(ServerFigures(sessions, []))
            assert f"tcp://x:1: {sessions} sessions\n" in seen.getvalue()
    assert seen.getvalue().count("sessions\n") == 2
    assert "\x1b[?25l" not in seen.getvalue()  # no cursor to hide


def test_server_that_does_not_tell_is_code_3() -> None:
    with live(handlers()) as url:
        result = invoke("top", url, "-n", 1)
    assert (result.exit_code, result.stdout) == (3, "")
    assert "start it with --statistics" in result.stderr


def test_server_that_is_not_there_is_code_3() -> None:
    assert invoke("top", "tcp://127.0.0.1:1", "-n", 1).exit_code == 3


def test_screen_has_the_oldest_calls_first_and_does_no_harm(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    evil = "\x1b[31m\u202e[b]"
    sessions = [
        SessionFigures(
            evil,
            1,
            20,
            2,
            9999,
            10_000,
            2**60,
            [CallFigures(f"{evil}{age}", "in", float(age)) for age in range(20)],
            [ChannelFigures("out", 3, 0), ChannelFigures("proxied", None, 0)],
        )
    ]
    text = rendered(screen_of(evil, ServerFigures(1, sessions)))
    assert all(line.isprintable() for line in text.splitlines())
    lines = text.splitlines()
    assert lines[0].startswith("\\x1b[31m\\u202e[b]: 1 sessions")
    assert "9999 B" in lines[2]
    assert "9 KiB" in lines[2]
    assert "1048576 TiB" in lines[2]
    calls = [line for line in lines if " in " in line]
    assert len(calls) == 12
    assert "19.0 s" in calls[0]
    assert any(line.startswith("proxied  ") for line in lines)
