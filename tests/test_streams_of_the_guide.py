"""The functions of the guide's chapter on streams do what it says."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path

import pytest

from roam_trio import Rx, open_call
from roam_trio.testing import connected_pair

GUIDE = Path(__file__).resolve().parent.parent / "docs" / "guide.md"


async def test_streams_of_the_guide_carry_what_they_are_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    guide = types.ModuleType("code_of_guide_for_streams")
    monkeypatch.setitem(sys.modules, guide.__name__, guide)
    for block in re.findall(r"```python\n(.*?)```", GUIDE.read_text("utf-8"), re.S):
        exec(compile(block, "guide.md", "exec"), guide.__dict__)
    numbers = list(range(300))
    async with connected_pair(guide.Calculator, guide.CalculatorImpl()) as calculator:
        assert await guide.first_numbers(calculator, 5) == [0, 1, 2, 3, 4]
        assert await guide.sum_of(calculator, numbers) == sum(numbers)
        assert await guide.sum_of_many(calculator, numbers) == sum(numbers)
        assert await guide.sum_of_both(calculator, numbers, [1, 2]) == sum(numbers) + 3
        assert await guide.add_up(calculator, numbers) == sum(numbers)
        assert await guide.count_up(calculator, 3) == [0, 1, 2]
        async with open_call(calculator.count, 1000) as call:
            rx: Rx[int] = call.rx
            batches = await guide.read_in_batches(rx)
        assert [number for batch in batches for number in batch] == list(range(1000))
        assert all(0 < len(batch) <= 100 for batch in batches)
