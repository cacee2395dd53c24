"""What is shown: a log, bars on a terminal, and output that nobody takes."""

from __future__ import annotations

import io
import os

import pytest
from rich.console import Console

from roam_trio.demo.display import Bars, Log, Output, display_on, show
from roam_trio.demo.errors import OutputFailed


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def shown() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def log(shown: io.StringIO, clock: Clock) -> Log:
    return Log(Console(file=shown, width=20), clock)


def test_log_says_when_a_step_begins_and_how_long_it_took(
    log: Log, clock: Clock, shown: io.StringIO
) -> None:
    with log:
        log.begin("counting [red] words in all of the texts")
        clock.now += 1.234
        log.advance(5)
        log.finish()
    assert shown.getvalue() == (
        "counting [red] words in all of the texts\n"
        "counting [red] words in all of the texts: done in 1.23 s\n"
    )


def test_log_says_how_far_a_long_step_is_now_and_then(
    log: Log, clock: Clock, shown: io.StringIO
) -> None:
    with log:
        log.begin("counting", 4000)
        for _ in range(4):
            clock.now += 1
            log.advance(1000)
        log.finish()
    assert shown.getvalue().splitlines() == [
        "counting",
        "counting: 2,000 of 4,000",
        "counting: 4,000 of 4,000",
        "counting: done in 4.00 s",
    ]


def test_log_does_without_a_total(log: Log, clock: Clock, shown: io.StringIO) -> None:
    with log:
        log.begin("counting")
        clock.now += 10
        log.advance(1500)
    assert shown.getvalue().splitlines() == ["counting", "counting: 1,500"]


def test_bars_are_for_terminals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    assert isinstance(display_on(Console(file=Terminal())), Bars)
    # Colours may be forced on a file; it does not become a terminal by that.
    forced = Console(file=io.StringIO(), force_terminal=True)
    assert isinstance(display_on(forced), Log)
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(display_on(Console(file=Terminal())), Log)


def test_bar_is_full_when_its_step_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    output = Console(file=terminal, width=100, color_system=None, force_terminal=True)
    with Bars(output) as bars:
        bars.begin("the first", 10)
        bars.advance(10)
        bars.finish()
        bars.begin("of unknown [length]")
        bars.advance(3)
        bars.finish()
        bars.begin("cut off", 4)
        bars.advance(1)
    last = terminal.getvalue().splitlines()[-4:-1]
    assert "the first" in last[0]
    assert "100%" in last[0]
    assert "of unknown [length]" in last[1]
    assert "100%" in last[1]
    assert "cut off" in last[2]
    assert "25%" in last[2]
    assert terminal.getvalue().endswith("\x1b[?25h")  # the cursor is back


def test_output_that_nobody_reads_is_an_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w", buffering=1) as file:
        output = Output(file=file)
        with pytest.raises(OutputFailed, match="standard output: nobody reads it"):
            show(output, "a line\n")
        # The rest goes nowhere, without further ado.
        show(output, "another line\n")
