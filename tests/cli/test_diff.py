"""`diff` of classes, saved descriptions and live servers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Protocol

import pytest

from roam_trio import SchemaError, describe, dispatcher, service, u8, u16
from tests.cli.live import SHOP, invoke, live
from tests.cli.shop import Shop, ShopImpl, handlers


@service(name="Counter")
class Old(Protocol):
    async def add(self, number: u8) -> u8: ...


@service(name="Counter")
class New(Protocol):
    async def add(self, number: u8) -> u16: ...
    async def reset(self) -> None: ...


@service(name="Counter")
class Same(Protocol):
    async def add(self, number: u8) -> u8:
        """Add a number."""
        ...


OLD, NEW, SAME = (f"tests.cli.test_diff:{name}" for name in ("Old", "New", "Same"))


def test_changes_that_break_are_code_1() -> None:
    result = invoke("diff", OLD, NEW)
    assert (result.exit_code, result.stderr) == (1, "")
    first, second = json.loads(result.stdout)
    assert (first["where"], first["breaks"]) == ("Counter.add -> return", "old clients")
    assert (second["where"], second["kind"]) == ("Counter.reset", "method added")


def test_no_change_is_code_0() -> None:
    result = invoke("diff", OLD, SAME)
    assert (result.exit_code, result.stdout) == (0, "[]\n")


@pytest.mark.usefixtures("terminal")
def test_changes_are_a_table_for_people() -> None:
    shown = invoke("diff", OLD, NEW, NO_COLOR="1", COLUMNS="200").stdout
    assert shown.split()[:4] == ["where", "breaks", "untranslated", "change"]
    assert "Counter.reset" in shown
    assert invoke("diff", OLD, SAME).stdout == "no differences\n"


def test_peers_that_do_not_translate_can_be_judged(tmp_path: Path) -> None:
    saved = tmp_path / "old.json"
    text = describe(Old).schema.to_json()
    saved.write_text(text.replace('"Counter"', '"Counters"'))
    assert invoke("diff", saved, OLD).exit_code == 0
    assert invoke("diff", saved, OLD, "--untranslated").exit_code == 1


def test_saved_description_is_compared_with_a_live_server(tmp_path: Path) -> None:
    saved = tmp_path / "shop.json"
    with live(handlers()) as url:
        saved.write_bytes(invoke("describe", url, "shop", *SHOP).stdout_bytes)
        assert invoke("diff", saved, url, *SHOP).stdout == "[]\n"
        assert invoke("diff", url, url, *SHOP).exit_code == 0
        assert invoke("diff", url, OLD, *SHOP).exit_code == 1


def test_one_service_of_several_is_chosen_by_its_class_or_by_name() -> None:
    counter = f"c={OLD}"
    both = (*SHOP, "--service", counter)
    with live({**handlers(), "c": dispatcher(Shop, ShopImpl())}) as url:
        assert invoke("diff", SHOP[1], url, *both).stdout == "[]\n"
        assert invoke("diff", SAME, url, *both).stdout == "[]\n"
        assert invoke("diff", SAME, url, *both, "--name", "c").stdout == "[]\n"
        unknown = invoke("diff", SAME, url, *both, "--name", "d")
        assert unknown.exit_code == 2
        assert "d: there is no such service" in unknown.stderr
        unclear = invoke("diff", "examples.adder:Adder", url, *both)
        assert unclear.exit_code == 2
        assert "--name: expected the name of one of the services" in unclear.stderr


@pytest.mark.parametrize(
    ("content", "problem"),
    [(None, "No such file or directory"), ("{}", "expected a schema in JSON")],
)
def test_wrong_file_is_code_2(
    tmp_path: Path, content: str | None, problem: str
) -> None:
    saved = tmp_path / "old.json"
    if content is not None:
        saved.write_text(content)
    result = invoke("diff", saved, OLD)
    assert (result.exit_code, result.stdout) == (2, "")
    assert problem in result.stderr


def test_description_that_cannot_be_compared_is_code_2(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def too_many(*schemas: object) -> None:
        raise SchemaError("too many types")

    monkeypatch.setattr("roam_trio.cli.verbs.diff.compare", too_many)
    result = invoke("diff", OLD, NEW)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "roam-trio diff: too many types\n"
