"""A pytest plugin that knows which tests verify which rules of the roam protocol.

A test names the rules it verifies with `@pytest.mark.rule("id", ...)`. The ini option
`rules_file` names a TOML file that lists every rule, by document and section, with what
is owed to it. An id the file does not have stops the collection.

`pytest --rules` prints the table of rules and their tests instead of running tests
(`-v` names every test); `pytest --rules-strict` also fails when a required rule has
none.
"""

from __future__ import annotations

import difflib
import tomllib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby
from pathlib import Path, PurePosixPath

import pytest

TESTS_NAMED = 2  # tests that a line of the table names unless -v is given


class State(StrEnum):
    """What is owed to a rule."""

    REQUIRED = "required"
    OPEN = "open"
    OUT_OF_SCOPE = "out of scope"


@dataclass(frozen=True)
class Rule:
    """One rule; `area` is what an open or out-of-scope rule belongs to."""

    id: str
    document: str
    section: str
    state: State
    area: str


def parse_rules(text: str) -> dict[str, Rule]:
    """Read a rules file; raise ValueError naming the rule that is wrong."""
    rules: dict[str, Rule] = {}
    for document, sections in tomllib.loads(text).items():
        for section, states in sections.items():
            for rule_id, state in states.items():
                if rule_id in rules:
                    raise ValueError(f"rule {rule_id!r} is listed twice")
                rules[rule_id] = Rule(
                    rule_id, document, section, *parse_state(rule_id, state)
                )
    return rules


def parse_state(rule_id: str, text: str) -> tuple[State, str]:
    """Read "required", "open: AREA" or "out of scope: WHY"."""
    name, _, area = text.partition(": ")
    if name not in list(State) or bool(area) == (name == State.REQUIRED):
        raise ValueError(
            f"rule {rule_id!r} has the state {text!r}: expected 'required', "
            "'open: AREA' or 'out of scope: WHY'"
        )
    return State(name), area


def marked_ids(item: pytest.Item) -> Iterator[object]:
    """Yield what the rule markers of a test hold; only rule ids belong there."""
    for marker in item.iter_markers("rule"):
        yield from marker.args
        if marker.kwargs or not marker.args:
            yield None


def can_verify(item: pytest.Item) -> bool:
    """Tell whether a test can pass: one marked as skipped or failing cannot."""
    return not any(item.get_closest_marker(name) for name in ("skip", "xfail"))


def short_name(item: pytest.Item) -> str:
    """Name a test without its folder and parameters: `test_links.py::test_order`."""
    path, _, name = item.nodeid.partition("::")
    return f"{PurePosixPath(path).name}::{name.partition('[')[0]}"


def explain_unknown(item: pytest.Item, marked: object, known: Collection[str]) -> str:
    """Say which marker is wrong and which id was probably meant."""
    if not isinstance(marked, str):
        return f"{item.nodeid}: a rule marker takes the ids of rules, as strings"
    nearest = difflib.get_close_matches(marked, known, n=1, cutoff=0)
    return f"{item.nodeid}: there is no rule {marked!r}; the nearest is {nearest[0]!r}"


def verdict(rule: Rule, tests: Collection[str]) -> str:
    """Sum up one rule in a word or three."""
    if rule.state is State.REQUIRED:
        return "verified" if tests else "no test"
    return rule.state


def describe(rule: Rule, tests: Sequence[str], verbose: bool) -> str:
    """Say what stands behind the verdict: the area, the tests, or both."""
    named = tests if verbose else tests[:TESTS_NAMED]
    parts = [rule.area, *named] if rule.area else [*named]
    if len(named) < len(tests):
        parts.append(f"{len(tests) - len(named)} more")
    return ", ".join(parts)


def count_line(rules: Mapping[str, Rule], tests: Mapping[str, Sequence[str]]) -> str:
    """Count the rules by verdict, and those without a duty by area as well."""
    verdicts = Counter(verdict(rule, tests[rule.id]) for rule in rules.values())
    counted = [f"{verdicts[name]} {name}" for name in ("verified", "no test")]
    for state in (State.OPEN, State.OUT_OF_SCOPE):
        areas = Counter(rule.area for rule in rules.values() if rule.state is state)
        by_area = ", ".join(f"{area} {count}" for area, count in areas.most_common())
        counted.append(f"{areas.total()} {state}" + f" ({by_area})" * bool(areas))
    return f"{len(rules)} rules: {', '.join(counted)}"


COLOURS = {"verified": "green", "no test": "red", "open": "yellow"}


class RuleTable:
    """Checks the markers at collection, and prints the table if asked to."""

    def __init__(self, rules: dict[str, Rule], printed: bool, strict: bool) -> None:
        self.rules = rules
        self.tests: dict[str, list[str]] = {rule_id: [] for rule_id in rules}
        self.printed = printed
        self.strict = strict

    # First, so that tests that `-m` or `-k` deselect still count.
    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        mistakes: list[str] = []
        for item in items:
            for marked in marked_ids(item):
                if not isinstance(marked, str) or marked not in self.rules:
                    mistakes.append(explain_unknown(item, marked, self.rules))
                elif can_verify(item) and short_name(item) not in self.tests[marked]:
                    self.tests[marked].append(short_name(item))
        if mistakes:
            raise pytest.UsageError("\n".join(dict.fromkeys(mistakes)))

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        if not self.printed:
            return None
        if session.testsfailed:
            raise session.Interrupted(
                "the table needs every test file to be importable"
            )
        return True

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        nothing_failed = (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
        if self.printed and session.exitstatus in nothing_failed:
            missing = self.strict and any(
                verdict(rule, self.tests[rule.id]) == "no test"
                for rule in self.rules.values()
            )
            session.exitstatus = pytest.ExitCode(int(missing))

    def pytest_terminal_summary(
        self, terminalreporter: pytest.TerminalReporter, exitstatus: int
    ) -> None:
        if self.printed and exitstatus in (0, 1):
            self.write_table(terminalreporter)

    def write_table(self, reporter: pytest.TerminalReporter) -> None:
        verbose = reporter.config.get_verbosity() > 0
        width = max(map(len, self.rules), default=0)
        by_section = groupby(self.rules.values(), lambda r: (r.document, r.section))
        for (document, section), rules in by_section:
            reporter.write_line(f"\n{document}: {section}", bold=True)
            for rule in rules:
                tests = self.tests[rule.id]
                word = verdict(rule, tests)
                reporter.write_line(
                    f"  {word:12}  {rule.id:{width}}  "
                    f"{describe(rule, tests, verbose)}".rstrip(),
                    **{COLOURS.get(word, "light"): True},
                )
        reporter.write_line(f"\n{count_line(self.rules, self.tests)}", bold=True)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini("rules_file", "the TOML file that lists the rules", type="paths")
    group = parser.getgroup("rules", "the rules of the protocol")
    group.addoption(
        "--rules",
        action="store_true",
        help="print which tests verify which rule, and run none",
    )
    group.addoption(
        "--rules-strict",
        action="store_true",
        help="as --rules, and fail when a required rule has no test",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "rule(id, ...): the ids of the protocol's rules that a test verifies"
    )
    strict = bool(config.getoption("rules_strict"))
    printed = strict or bool(config.getoption("rules"))
    if printed and hasattr(config.option, "dist"):
        config.option.dist = "no"  # pytest-xdist collects in processes of its own
    table = RuleTable(read_rules(config.getini("rules_file")), printed, strict)
    config.pluginmanager.register(table, "rule-table")


def read_rules(paths: Sequence[Path]) -> dict[str, Rule]:
    """Read the one rules file of the ini option."""
    if len(paths) != 1:
        raise pytest.UsageError("the ini option rules_file has to name one TOML file")
    try:
        return parse_rules(paths[0].read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise pytest.UsageError(f"{paths[0]}: {error}") from error
