"""A trace over three processes is one tree."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
PATIENCE = 60.0
"""Seconds a process may take to do what takes well under one."""


class Process:
    """A process of `traced`."""

    def __init__(self, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-W",
                "error",
                "-m",
                "tests.contrib.otel.traced",
                *arguments,
            ],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def read_url(self) -> str:
        """Return where it listens."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def spans(self) -> list[dict[str, Any]]:
        """Let it end, and return the spans that it has printed."""
        printed, errors = self._process.communicate(timeout=PATIENCE)
        assert (self._process.returncode, errors) == (0, "")
        return list(documents(printed))

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()


@contextmanager
def running(*arguments: str) -> Iterator[Process]:
    process = Process(*arguments)
    try:
        yield process
    finally:
        process.kill()


def documents(text: str) -> Iterator[dict[str, Any]]:
    """The documents of JSON in a text, one after the other."""
    decoder, rest = json.JSONDecoder(), text.strip()
    while rest:
        found, end = decoder.raw_decode(rest)
        yield found
        rest = rest[end:].strip()


Tree = tuple[str, list[Any]]


def tree_of(spans: list[dict[str, Any]], parent: str | None = None) -> list[Tree]:
    """The spans below one, each with those below it, in the order of their starts."""
    found = [span for span in spans if span["parent_id"] == parent]
    found.sort(key=lambda span: span["start_time"])
    return [
        (name_of(span), tree_of(spans, span["context"]["span_id"])) for span in found
    ]


def name_of(span: dict[str, Any]) -> str:
    kind, code = (
        span["kind"].partition(".")[2],
        span["attributes"].get("rpc.status_code"),
    )
    return " ".join(filter(None, (kind, span["name"], code)))


def test_a_trace_over_a_client_a_gateway_and_a_server_is_one_tree() -> None:
    with (
        running("server") as server,
        running("gateway", server.read_url()) as gateway,
        running("client", gateway.read_url()) as client,
    ):
        by_client = client.spans()
        assert gateway.spans() == []  # it passes the context on, and makes no spans
        spans = [*by_client, *server.spans()]
    assert len({span["context"]["trace_id"] for span in spans}) == 1
    assert tree_of(spans) == [
        (
            "INTERNAL a day",
            [
                (
                    "CLIENT Shop/price ok",
                    [
                        ("SERVER Shop/price unavailable", []),
                        ("SERVER Shop/price ok", []),
                    ],
                ),
                (
                    "CLIENT Shop/weigh ok",
                    [("SERVER Shop/weigh ok", [("INTERNAL write it down", [])])],
                ),
            ],
        )
    ]
    [price] = [span for span in by_client if span["name"] == "Shop/price"]
    assert [event["name"] for event in price["events"]] == ["retry"]
    # The stream outlasts the result, and so do both spans.
    within = {span["name"]: span for span in spans if "SERVER" in span["kind"]}
    written = next(span for span in spans if span["name"] == "write it down")
    assert within["Shop/weigh"]["end_time"] > written["end_time"]
