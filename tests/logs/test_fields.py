"""The loggers and the fields of records are those of docs/how-to/logs.md."""

from __future__ import annotations

import ast
import json
import logging
import re
import sys
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
import structlog
import trio
from pythonjsonlogger.json import JsonFormatter

from examples.logs import json_formatter, structlog_formatter
from roam_trio import Limits, Peer
from roam_trio.log_budget import log_budget_of_session
from roam_trio.logs import FIELDS, Log, about

from .test_call_sites import METHODS, MODULES, PACKAGE

PAGE = (PACKAGE.parent / "docs" / "how-to" / "logs.md").read_text(encoding="utf-8")
LEVELS = {"exception": "ERROR", "failure": "ERROR"}

log = Log("roam_trio.tests")


def loggers() -> dict[str, set[str]]:
    """The loggers of the source, with the levels at which they log."""
    found: dict[str, set[str]] = {}
    for path in MODULES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for name in names_of_loggers(tree):
            found.setdefault(name, set()).update(levels(tree))
    return found


def names_of_loggers(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="Log"), args=[ast.Constant(value=name)]):
                assert isinstance(name, str)
                yield name


def levels(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id="logger"), attr=method):
                if method in METHODS:
                    yield LEVELS.get(method, method.upper())


def table() -> dict[str, set[str]]:
    """The loggers of the page."""
    rows = re.findall(r"^\| `(roam_trio[.\w]*)` \| ([A-Z, ]*)\|", PAGE, re.MULTILINE)
    return {name: set(levels.replace(" ", "").split(",")) for name, levels in rows}


def test_the_table_has_every_logger_with_its_levels() -> None:
    told = table()
    assert told.pop("roam_trio") == {""}
    assert told == loggers()


def test_the_page_has_every_field() -> None:
    told = set(re.findall(r"^\| `(roam_\w+)` \|", PAGE, re.MULTILINE))
    assert told - {"roam_trio"} == set(FIELDS)


def statements() -> Iterator[tuple[str, str, set[str | None]]]:
    """Each log statement: where, its text, and what it is told to be about."""
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(
                    func=ast.Attribute(value=ast.Name(id="logger"), attr=method)
                ) if method in METHODS:
                    where = f"{path.relative_to(PACKAGE)}:{node.lineno}"
                    yield where, ast.unparse(node), {each.arg for each in node.keywords}


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ("connection %d", "connection"),
        ("self._method,", "method"),
        ("method.descriptor,", "method"),
        ("told(failure)", "error_id"),
        ("number, exc_info", "error_id"),
    ],
)
def test_a_statement_that_knows_a_field_gives_it(said: str, field: str) -> None:
    knowing = [each for each in statements() if said in each[1]]
    missing = [where for where, _, given in knowing if field not in given]
    assert knowing
    assert missing == []


def fields(record: logging.LogRecord) -> tuple[object, ...]:
    return tuple(getattr(record, name) for name in FIELDS)


def test_every_record_has_the_fields(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "roam_trio.tests")
    log.debug("a")
    log.info("b", method="Bank.balance")
    log.warning("c", connection=3)
    log.error("d", error_id="0123abcd")
    log.failure(ValueError("x"), "e", method="Bank.balance", connection=0)
    with about(Peer("tcp", "192.0.2.7:4711\x1b[2J")):
        try:
            raise ValueError("y")
        except ValueError:
            log.exception("f", method="Ba\nnk" + "x" * 10**6)
    *first, last = map(fields, caplog.records)
    assert first == [
        (None, None, None, None),
        ("Bank.balance", None, None, None),
        (None, None, 3, None),
        (None, None, None, "0123abcd"),
        ("Bank.balance", None, 0, None),
    ]
    method, peer, *rest = last
    assert isinstance(method, str)
    assert method.startswith("Ba\\nnkxxx")
    assert len(method) < 1100
    assert (peer, *rest) == ("192.0.2.7:4711\\x1b[2J", None, None)


async def test_a_record_of_records_that_were_left_out_has_the_fields_of_the_last(
    caplog: pytest.LogCaptureFixture, autojump_clock: trio.testing.MockClock
) -> None:
    with log_budget_of_session(Limits(log_records=1, log_records_per_second=1.0)):
        for number in range(3):
            log.warning("it is late", connection=number)
        await trio.sleep(5)
    assert [
        (each.getMessage(), each.__dict__["roam_connection"]) for each in caplog.records
    ] == [
        ("it is late", 0),
        ("2 more like this were not logged (limit: log_records): it is late", 2),
    ]


# ---------------------------------------------------------------- formatters


def formatted(formatter: logging.Formatter, text: str = "x") -> dict[str, Any]:
    """A record of a `ValueError` as a formatter writes it."""
    stream = StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    logger = logging.getLogger("roam_trio.tests")
    logger.addHandler(handler)
    try:
        with about(Peer("tcp", "192.0.2.7:4711")):
            log.failure(
                ValueError(text),
                "it failed",
                method="Bank.balance",
                error_id="0123abcd",
            )
    finally:
        logger.removeHandler(handler)
    [line] = stream.getvalue().splitlines()
    found: dict[str, Any] = json.loads(line)
    return found


ABOUT = {
    "roam_method": "Bank.balance",
    "roam_peer": "192.0.2.7:4711",
    "roam_connection": None,
    "roam_error_id": "0123abcd",
}


def test_a_formatter_of_json_writes_the_fields() -> None:
    found = formatted(
        JsonFormatter()
    )  # it takes whatever a record has beside the usual
    assert found.items() >= ABOUT.items()
    assert found["message"] == "it failed (192.0.2.7:4711)"
    assert found["exc_info"].endswith("ValueError: x")


def test_structlog_writes_the_fields() -> None:
    found = formatted(structlog_formatter())
    assert found.items() >= ABOUT.items()
    assert found["event"] == "it failed (192.0.2.7:4711)"


@pytest.mark.parametrize(
    ("formatter", "field"),
    [(json_formatter(), "exc_info"), (structlog_formatter(), "exception")],
    ids=["json", "structlog"],
)
def test_formatters_of_the_page_write_the_traceback_that_is_cut(
    formatter: logging.Formatter, field: str
) -> None:
    traceback = formatted(formatter, "of a peer\n" + "x" * 10**5)[field]
    assert traceback.startswith("ValueError: of a peer\\nxxx")
    assert len(traceback) < 1100


@pytest.mark.parametrize(
    ("formatter", "field"),
    [(json_formatter(), "exc_info"), (structlog_formatter(), "exception")],
    ids=["json", "structlog"],
)
def test_formatters_of_the_page_write_tracebacks_of_other_packages(
    formatter: logging.Formatter, field: str
) -> None:
    try:
        raise ValueError("x")
    except ValueError:
        raised = sys.exc_info()
    record = logging.LogRecord("other", logging.ERROR, "", 0, "it failed", (), raised)
    traceback = json.loads(formatter.format(record))[field]
    assert traceback.startswith("Traceback (most recent call last):")
    assert traceback.endswith("ValueError: x")


def test_structlog_renders_a_traceback_without_frames() -> None:
    found = formatted(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.ExtraAdder()],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    assert found.items() >= ABOUT.items()
    assert "ValueError: x" in found["exception"]
