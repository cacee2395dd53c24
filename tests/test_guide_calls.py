"""What the guide shows of deadlines, cancellation and failures does what it says."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from roam_trio import DeadlineExceeded, HandlerFailed, Limits, Unavailable
from roam_trio.testing import connected_pair

GUIDE = Path(__file__).parent.parent / "docs/guide.md"


@pytest.fixture
def guide(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The snippets of the guide, as one module."""
    module = types.ModuleType("code_of_guide")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    text = GUIDE.read_text("utf-8")
    for block in re.findall(r"```python\n(.*?)```", text, re.S):
        exec(compile(block, "guide.md", "exec"), module.__dict__)
    return module


async def test_call_in_time_has_its_result_and_a_late_one_none(
    guide: Any, autojump_clock: MockClock
) -> None:
    class Slow(guide.CalculatorImpl):  # type: ignore[misc, name-defined]
        seconds = 1.0
        left = 0.0

        async def divide(self, left: int, right: int) -> int:
            self.left = trio.current_effective_deadline() - trio.current_time()
            await trio.sleep(self.seconds)
            return left // right

    slow = Slow()
    async with connected_pair(guide.Calculator, slow) as calculator:
        assert await guide.divide_in_time(calculator) == 3
        assert slow.left == pytest.approx(2)
        slow.seconds = 3.0
        assert await guide.divide_in_time(calculator) is None


async def test_handler_knows_how_much_time_is_left(guide: Any) -> None:
    async with connected_pair(guide.Calculator, guide.Hurried()) as calculator:
        assert await calculator.whoami() == "at ease"
        with trio.fail_after(2):
            assert await calculator.whoami() == "in a hurry"


async def test_impatient_call_ends_with_its_handler(
    guide: Any, autojump_clock: MockClock
) -> None:
    ended: list[str] = []

    class Noting(guide.CalculatorImpl):  # type: ignore[misc, name-defined]
        async def sum(self, numbers: Any) -> int:
            try:
                return int(await super().sum(numbers))
            finally:
                ended.append("sum")

    async with connected_pair(guide.Calculator, Noting()) as calculator:
        await guide.impatient(calculator)
        assert ended == ["sum"]


async def test_longest_call_raises_deadline_exceeded(
    guide: Any, autojump_clock: MockClock
) -> None:
    limits = Limits(longest_call=3)
    handler = guide.CalculatorImpl()
    async with connected_pair(guide.Calculator, handler, limits=limits) as calculator:
        _tx, rx = guide.channel[int]()
        with pytest.raises(DeadlineExceeded):
            await calculator.sum(rx)


async def test_failures_are_told_apart(
    guide: Any, autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    raised: list[Exception] = []

    class Failing(guide.CalculatorImpl):  # type: ignore[misc, name-defined]
        async def root(self, square: float) -> float:
            if raised:
                raise raised[-1]
            return float(await super().root(square))

    async with connected_pair(guide.Calculator, Failing()) as calculator:
        assert await guide.root_or_nothing(calculator, 9.0) == 3.0
        bug = ZeroDivisionError("oops")
        raised.append(bug)
        assert await guide.root_or_nothing(calculator, 9.0) is None
        assert "a bug of the server" in capsys.readouterr().out
        with pytest.raises(HandlerFailed) as caught:
            await calculator.root(9.0)
        assert caught.value.__cause__ is bug
        raised.append(Unavailable(was_begun=False))
        assert await guide.root_or_nothing(calculator, 9.0) is None
        assert "has not begun" in capsys.readouterr().out
        raised.append(Unavailable(was_begun=True))
        with pytest.raises(Unavailable):
            await guide.root_or_nothing(calculator, 9.0)
