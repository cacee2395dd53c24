"""Both sides in processes of their own."""

from __future__ import annotations

import pytest

from benchmarks.adapters import ADAPTERS
from benchmarks.processes import Pair, WorkerFailed
from benchmarks.works import WORKS


@pytest.mark.parametrize("name", ADAPTERS)
def test_each_work_is_done_across_two_processes(name: str) -> None:
    with Pair(name) as pair:
        assert "trio" in pair.versions
        for work in WORKS:
            assert pair.measure(work, 5) > 0


def test_a_process_that_fails_is_reported(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(WorkerFailed, match="status 1"):
        Pair("nobody")
    assert "expected one of floor, roam_trio, got 'nobody'" in capfd.readouterr().err
