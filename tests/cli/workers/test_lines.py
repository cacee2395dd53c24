"""One log of what several workers write."""

from __future__ import annotations

import json

from roam_trio.cli.log_format import LogFormat
from roam_trio.cli.workers.lines import Lines


def test_lines_are_whole_and_have_the_number_of_their_worker() -> None:
    out: list[str] = []
    one, two = (Lines(number, LogFormat.TEXT, out.append) for number in (1, 2))
    one.feed(b"the first h")
    two.feed(b"another\nand ")
    one.feed(b"alf\n\n")
    two.feed(bytearray(b"one\n\xff"))
    two.end()
    one.end()
    assert out == [
        "[2] another\n",
        "[1] the first half\n",
        "[1] \n",
        "[2] and one\n",
        "[2] \\xff\n",
    ]


def test_a_line_without_an_end_is_cut() -> None:
    out: list[str] = []
    lines = Lines(1, LogFormat.TEXT, out.append)
    for _ in range(3):
        lines.feed(b"x" * 50_000)
    assert [len(each) for each in out] == [len("[1] \n") + 65_536] * 2
    lines.end()
    assert sum(each.count("x") for each in out) == 150_000


def test_records_in_json_tell_their_worker_and_other_lines_become_records() -> None:
    out: list[str] = []
    lines = Lines(3, LogFormat.JSON, out.append)
    lines.feed(b'{"message": "it works", "level": "warning"}\nprinted\n[1]\n')
    first, second, third = map(json.loads, out)
    assert first == {"message": "it works", "level": "warning", "worker": 3}
    assert (second["message"], second["worker"]) == ("printed", 3)
    assert second.keys() == {"time", "level", "logger", "message", "worker"}
    assert third["message"] == "[1]"
