"""What a module logs is legible, bounded, and harms nobody."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator

import pytest
import trio
import trio.testing

from roam_trio.failures import text_of
from roam_trio.legible import legible_str
from roam_trio.limits import Limits
from roam_trio.log_budget import log_budget_of_server, log_budget_of_session
from roam_trio.logs import Log

NAME = "roam_trio.tests"
LIMITS = Limits(
    log_records=3,
    log_records_per_second=0.5,
    server_log_records=5,
    server_log_records_per_second=1.0,
)

log = Log(NAME)


class RaisingHandler(logging.Handler):
    """Raises instead of logging."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error

    def emit(self, record: logging.LogRecord) -> None:
        raise self.error


@pytest.fixture
def raising(request: pytest.FixtureRequest) -> Iterator[None]:
    handler = RaisingHandler(request.param)
    logging.getLogger(NAME).addHandler(handler)
    yield
    logging.getLogger(NAME).removeHandler(handler)


class Panic(BaseException):
    """As that of a Rust extension."""


@pytest.mark.parametrize("raising", [OSError("full"), Panic("no")], indirect=True)
def test_a_handler_that_raises_harms_nobody(
    raising: None, capsys: pytest.CaptureFixture[str]
) -> None:
    log.warning("it is late")
    log.error("it is broken", exc_info=ValueError("x"))
    assert capsys.readouterr().err.count("roam_trio could not log: ") == 2


@pytest.mark.parametrize("raising", [KeyboardInterrupt(), SystemExit()], indirect=True)
def test_who_wants_to_end_the_program_in_a_handler_does(raising: None) -> None:
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        log.warning("it is late")


class Nameless:
    def __str__(self) -> str:
        raise RuntimeError("never")


def test_an_object_without_a_text_is_logged_as_such(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log.warning("got %s", Nameless())
    assert caplog.messages == ["got <Nameless, whose str() fails>"]


def test_a_text_stays_on_its_line_and_is_cut(caplog: pytest.LogCaptureFixture) -> None:
    log.warning("refused: %s", "\x1b[2J\n2030-01-01 CRITICAL " + "x" * 10**6)
    [message] = caplog.messages
    assert message.startswith("refused: \\x1b[2J\\n2030-01-01 CRITICAL xxx")
    assert message.endswith(" characters)")
    assert len(message) < 1100


def test_a_record_tells_where_it_was_logged(caplog: pytest.LogCaptureFixture) -> None:
    log.warning("it is late")
    log.error("it is broken", exc_info=ValueError("x"))
    for record in caplog.records:
        assert record.filename == "test_log.py"
        assert record.funcName == "test_a_record_tells_where_it_was_logged"


def test_a_record_keeps_no_frames(caplog: pytest.LogCaptureFixture) -> None:
    try:
        raise ValueError("x")
    except ValueError:
        log.exception("it is broken")
    [record] = caplog.records
    assert record.exc_info is not None
    assert record.exc_info[2] is None
    assert "Traceback (most recent call last):" in (record.exc_text or "")


def flood(records: int) -> None:
    for number in range(records):
        log.warning("call %d failed", number)


async def test_a_flood_becomes_a_few_records_and_a_number(
    caplog: pytest.LogCaptureFixture, autojump_clock: trio.testing.MockClock
) -> None:
    with log_budget_of_session(LIMITS):
        flood(216)
        assert caplog.messages == [f"call {number} failed" for number in range(3)]
        caplog.clear()
        await trio.sleep(3)
        await trio.sleep(2)
        log.warning("call %d failed", 216)
    told, after = caplog.messages
    assert told.startswith("213 more like this were not logged")
    assert after == "call 216 failed"


async def test_what_was_left_out_is_told_although_nothing_follows(
    caplog: pytest.LogCaptureFixture, autojump_clock: trio.testing.MockClock
) -> None:
    with log_budget_of_session(LIMITS):
        flood(216)
        caplog.clear()
        await trio.sleep(3)
        [message] = caplog.messages
        assert message == (
            "213 more like this were not logged (limit: log_records): call 215 failed"
        )
        await trio.sleep(100)
    assert len(caplog.messages) == 1


async def test_what_was_left_out_is_told_at_the_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with log_budget_of_session(LIMITS):
        flood(216)
        caplog.clear()
    [message] = caplog.messages
    assert message.startswith("213 more like this were not logged")


async def test_a_flood_of_one_kind_hides_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with log_budget_of_session(LIMITS):
        flood(10)
        log.warning("something else")
        assert "something else" in caplog.messages


async def test_many_sessions_share_the_budget_of_their_server(
    caplog: pytest.LogCaptureFixture, autojump_clock: trio.testing.MockClock
) -> None:
    with log_budget_of_server(LIMITS):
        for _ in range(20):
            with log_budget_of_session(LIMITS):
                flood(10)
        assert len(caplog.messages) == 5
    assert len(caplog.messages) == 6
    assert " (limit: server_log_records): " in caplog.messages[-1]
    told = [re.match(r"(\d+) more like this", each) for each in caplog.messages]
    assert sum(int(each[1]) if each else 1 for each in told) == 200


async def test_a_steady_flood_is_logged_at_the_rate_of_the_limit(
    caplog: pytest.LogCaptureFixture, autojump_clock: trio.testing.MockClock
) -> None:
    with log_budget_of_session(LIMITS):
        for _ in range(1000):
            flood(1)
            await trio.sleep(0.1)
    # 3 at once, one every two seconds for 100 seconds, and the rest at the end.
    assert 50 <= len(caplog.messages) <= 55


class Ends:
    """Ends the program when it is to have a text."""

    def __str__(self) -> str:
        raise KeyboardInterrupt


class EndsAsError(Exception):
    __str__ = Ends.__str__


def test_who_wants_to_end_the_program_in_a_text_does() -> None:
    with pytest.raises(KeyboardInterrupt):
        legible_str(Ends())
    with pytest.raises(KeyboardInterrupt):
        text_of(EndsAsError())


def test_who_wants_no_failures_of_logging_hears_of_none(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(logging, "raiseExceptions", False)
    handler = RaisingHandler(OSError("full"))
    logging.getLogger(NAME).addHandler(handler)
    try:
        log.warning("it is late")
    finally:
        logging.getLogger(NAME).removeHandler(handler)
    assert capsys.readouterr().err == ""
