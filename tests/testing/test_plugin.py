"""The plugin for pytest, in runs of pytest of its own."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
import trio

import roam_trio_pytest
from examples.adder import Adder, AdderImpl
from roam_trio.testing.fixtures import connecting

ROOT = Path(__file__).parent.parent.parent
EXAMPLE = ROOT / "examples" / "testing" / "test_library.py"

SERVICE = """
import sys
from typing import Protocol

import pytest
from roam_trio import service, u32
from roam_trio.testing import ConnectService


@service
class Adder(Protocol):
    async def add(self, left: u32, right: u32) -> u32: ...


class AdderImpl:
    async def add(self, left: int, right: int) -> int:
        return left + right
"""

ADDS = """
async def test_adds(connect_service: ConnectService) -> None:
    adder = await connect_service(Adder, AdderImpl())
    another = await connect_service(Adder, AdderImpl(), strict=False)
    assert await adder.add(3, 5) == await another.add(5, 3) == 8
"""

FAILS = """
async def test_fails(connect_service: ConnectService) -> None:
    adder = await connect_service(Adder, AdderImpl())
    assert await adder.add(3, 5) == 9
"""

UNUSED = """
import sys


def test_imports_nothing() -> None:
    assert "roam_trio_pytest" in sys.modules
    assert {"roam_trio", "trio"}.isdisjoint(sys.modules)
"""


@pytest.fixture(autouse=True)
def _only_this_plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def run(
    pytester: pytest.Pytester, *options: str, settings: str = ""
) -> pytest.RunResult:
    pytester.makepyprojecttoml(
        "[tool.pytest.ini_options]\nfilterwarnings = ['error']\n" + settings
    )
    return pytester.runpytest_subprocess("-p", "roam_trio_pytest", *options)


def test_pytest_finds_the_plugin_by_its_entry_point() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    name = roam_trio_pytest.__name__
    assert project["project"]["entry-points"]["pytest11"] == {name: name}
    assert project["tool"]["setuptools"]["py-modules"] == [name]


def test_fixture_connects_for_the_length_of_a_test(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_by_plugin=SERVICE + ADDS + FAILS,
        test_example=EXAMPLE.read_text(encoding="utf-8"),
        test_by_import=(
            SERVICE + "from roam_trio_pytest import connect_service\n" + ADDS
        ),
    )
    pytester.makeconftest('pytest_plugins = ["roam_trio_pytest"]')
    result = run(pytester, "-p", "pytest_trio.plugin", settings="trio_mode = true")
    result.assert_outcomes(passed=5, failed=1)
    result.stdout.fnmatch_lines(["*assert 8 == 9*"])


def test_plugin_imports_nothing_until_a_test_uses_it(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_unused=UNUSED,
        test_used="def test_needs_trio(connect_service): ...\n",
    )
    result = run(pytester)
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*connect_service needs pytest-trio*"])


async def test_clients_are_connected_until_the_nursery_is_cancelled() -> None:
    async with trio.open_nursery() as nursery:
        adder = await connecting(nursery)(Adder, AdderImpl())
        assert await adder.add(3, 5) == 8
        nursery.cancel_scope.cancel()
