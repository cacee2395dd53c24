"""Whoever runs into a limit is told which one it was.

Most of them are tested where what they bound is; here, that none is forgotten.
"""

from __future__ import annotations

import logging
from pathlib import Path

import attrs
import pytest
import trio
import trio.testing

from roam_trio import Limits
from tests.session.running import WithPeer

ONLY_WAITED_FOR = {
    "futile_messages_per_second",
    "log_records_per_second",
    "max_unsent_bytes",
    "server_log_records_per_second",
    "unacknowledged_bytes",
    "unacknowledged_frames",
}
"""Limits without errors: senders wait, or log records are counted."""

TESTS = Path(__file__).parent.parent


@pytest.mark.parametrize("field", [field.name for field in attrs.fields(Limits)])
def test_a_test_shows_that_the_limit_is_named(field: str) -> None:
    if field in ONLY_WAITED_FOR:
        return
    named = f"limit: {field}"
    assert any(
        named in path.read_text(encoding="utf-8") for path in TESTS.rglob("test_*.py")
    ), f"no test expects {named!r}"


async def test_the_time_that_an_end_takes(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "roam_trio.session")
    async with WithPeer(limits=Limits(close_seconds=3)) as (session, _):
        await session.shutdown()
        assert trio.current_time() == pytest.approx(3)
    assert "longer than 3 s (limit: close_seconds)" in caplog.text
