"""Type checkers accept what is right, and refuse exactly what is wrong."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from .checkers import MISSING, ROOT, Errors, mypy_errors, pyright_errors

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}"),
]

HERE = Path(__file__).parent
SILENCER = re.compile(r"  # type: ignore\[[a-z-]+\]$", re.MULTILINE)


@pytest.mark.rule("service-macro.is-source-of-truth")
@pytest.mark.parametrize("errors_of", [mypy_errors, pyright_errors])
def test_checkers_refuse_the_wrong_lines_and_no_other(
    errors_of: Callable[[Path], Errors], tmp_path: Path
) -> None:
    source = (HERE / "wrong.py").read_text()
    wrong = {
        number
        for number, line in enumerate(source.splitlines(), start=1)
        if SILENCER.search(line)
    }
    assert len(wrong) > 20
    (tmp_path / "right.py").write_text((HERE / "right.py").read_text())
    copy = tmp_path / "wrong.py"
    copy.write_text(SILENCER.sub("", source).replace("from .right", "from right"))
    errors = errors_of(copy)
    assert {line: errors.get(line, "accepted") for line in wrong | set(errors)} == {
        line: errors.get(line, "refused") for line in wrong
    }


@pytest.mark.parametrize("errors_of", [mypy_errors, pyright_errors])
def test_checkers_accept_links_conduits_and_handlers_written_by_hand(
    errors_of: Callable[[Path], Errors], tmp_path: Path
) -> None:
    page = (ROOT / "docs" / "lowlevel.md").read_text(encoding="utf-8")
    code = tmp_path / "by_hand.py"
    code.write_text("".join(re.findall(r"```python\n(.*?)```", page, re.DOTALL)))
    assert errors_of(code) == {}


@pytest.mark.rule("service-macro.is-source-of-truth")
@pytest.mark.parametrize("errors_of", [mypy_errors, pyright_errors])
def test_checkers_accept_what_is_right(
    errors_of: Callable[[Path], Errors], tmp_path: Path
) -> None:
    copy = tmp_path / "right.py"
    copy.write_text((HERE / "right.py").read_text())
    assert errors_of(copy) == {}
