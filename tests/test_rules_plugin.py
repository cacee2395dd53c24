"""The rules plugin and the skip guard of conftest, run on suites made for them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.rules_plugin import State, parse_rules

HERE = Path(__file__).parent

RULES = """
[conn."Links"]
"link" = "required"
"link.order" = "required"

[conn."Sessions"]
"session.keepalive" = "open: keepalive"
"transport.shm" = "out of scope: shared memory"
"""


@pytest.fixture
def suite(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makefile(".toml", rules=RULES)
    pytester.makeini(
        "[pytest]\nrules_file = rules.toml\naddopts = -p tests.rules_plugin"
    )
    return pytester


def test_table_names_the_tests_of_each_rule(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        test_links="""
        import pytest

        @pytest.mark.rule("link", "link.order")
        @pytest.mark.parametrize("size", [1, 2])
        def test_both(size): raise AssertionError("must not run")
        """
    )
    result = suite.runpytest("--rules")
    result.stdout.fnmatch_lines(
        [
            "conn: Links",
            "  verified      link               test_links.py::test_both",
            "  verified      link.order         test_links.py::test_both",
            "conn: Sessions",
            "  open          session.keepalive  keepalive",
            "  out of scope  transport.shm      shared memory",
            "4 rules: 2 verified, 0 no test, 1 open (keepalive 1), "
            "1 out of scope (shared memory 1)",
        ]
    )
    assert result.ret == pytest.ExitCode.OK


def test_table_shortens_long_lists_unless_verbose(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        test_a="""
        import pytest
        pytestmark = pytest.mark.rule("link")
        def test_1(): pass
        def test_2(): pass
        class TestMore:
            def test_3(self): pass
        """
    )
    short = suite.runpytest("--rules").stdout
    short.fnmatch_lines("* link * test_a.py::test_1, test_a.py::test_2, 1 more")
    long = suite.runpytest("--rules", "-v").stdout
    long.fnmatch_lines("* link * test_a.py::test_2, test_a.py::TestMore::test_3")


def test_open_rule_shows_its_area_and_its_tests(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        test_a="""
        import pytest
        @pytest.mark.rule("session.keepalive")
        def test_pong(): pass
        """
    )
    result = suite.runpytest("--rules")
    result.stdout.fnmatch_lines("*open * keepalive, test_a.py::test_pong")


def test_deselected_tests_still_verify(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        """
        import pytest
        @pytest.mark.rule("link", "link.order")
        def test_slow(): pass
        def test_quick(): pass
        """
    )
    assert suite.runpytest("--rules-strict", "-k", "quick").ret == pytest.ExitCode.OK


def test_tests_are_found_where_they_would_run_in_several_processes(
    suite: pytest.Pytester,
) -> None:
    suite.makepyfile(
        """
        import pytest
        @pytest.mark.rule("link", "link.order")
        def test_a(): pass
        """
    )
    result = suite.runpytest("--rules-strict", "-n", "2")
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines("*verified * link *")


@pytest.mark.parametrize("mark", ["skip", "xfail"])
def test_skipped_and_failing_tests_verify_nothing(
    suite: pytest.Pytester, mark: str
) -> None:
    suite.makepyfile(
        f"""
        import pytest
        @pytest.mark.rule("link")
        @pytest.mark.{mark}
        def test_a(): pass
        """
    )
    suite.runpytest("--rules").stdout.fnmatch_lines("*no test       link")


def test_missing_required_rule_fails_only_when_strict(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        """
        import pytest
        @pytest.mark.rule("link")
        def test_a(): pass
        """
    )
    assert suite.runpytest("--rules").ret == pytest.ExitCode.OK
    strict = suite.runpytest("--rules-strict")
    strict.stdout.fnmatch_lines("4 rules: 1 verified, 1 no test, *")
    assert strict.ret == pytest.ExitCode.TESTS_FAILED


def test_table_of_an_empty_suite(suite: pytest.Pytester) -> None:
    assert suite.runpytest("--rules").ret == pytest.ExitCode.OK
    assert suite.runpytest("--rules-strict").ret == pytest.ExitCode.TESTS_FAILED


def test_table_is_refused_when_a_file_cannot_be_imported(
    suite: pytest.Pytester,
) -> None:
    suite.makepyfile("import a_module_that_is_not_there")
    result = suite.runpytest("--rules")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.no_fnmatch_line("4 rules:*")


def test_unknown_rule_stops_the_collection_and_names_the_nearest(
    suite: pytest.Pytester,
) -> None:
    suite.makepyfile(
        test_a="""
        import pytest
        @pytest.mark.rule("link.oder")
        @pytest.mark.parametrize("size", [1, 2])
        def test_typo(size): pass
        @pytest.mark.rule("zzz")
        def test_nonsense(): pass
        """
    )
    result = suite.runpytest()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        [
            "*test_a.py::test_typo[[]1]: there is no rule 'link.oder'; "
            "the nearest is 'link.order'",
            "*test_a.py::test_nonsense: there is no rule 'zzz'; the nearest is *",
        ]
    )


@pytest.mark.parametrize("arguments", ["", "1", "id='link'", "['link']"])
def test_marker_without_ids_stops_the_collection(
    suite: pytest.Pytester, arguments: str
) -> None:
    suite.makepyfile(
        f"""
        import pytest
        @pytest.mark.rule({arguments})
        def test_a(): pass
        """
    )
    result = suite.runpytest()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines("*::test_a: a rule marker takes the ids of rules*")


def test_without_the_options_tests_run_as_ever(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        """
        import pytest
        @pytest.mark.rule("link")
        def test_a(): pass
        """
    )
    result = suite.runpytest("--strict-markers")
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("4 rules:*")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('[c."A"]\n"link" = "requird"', "rule 'link' has the state 'requird'"),
        ('[c."A"]\n"link" = "open"', "rule 'link' has the state 'open'"),
        ('[c."A"]\n"link" = "required: x"', "rule 'link' has the state 'required: x'"),
        ('[c."A"]\n"x" = "required"\n[c."B"]\n"x" = "required"', "'x' is listed twice"),
        ("[c", "Expected"),
    ],
)
def test_bad_rules_file_is_refused(
    suite: pytest.Pytester, text: str, complaint: str
) -> None:
    suite.makefile(".toml", rules=text)
    result = suite.runpytest()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(f"*rules.toml: *{complaint}*")


def test_rules_file_has_to_be_named(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest("-p", "tests.rules_plugin")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines("*rules_file has to name one TOML file*")


def test_every_rule_of_the_protocol_is_listed() -> None:
    rules = parse_rules((HERE / "rules.toml").read_text(encoding="utf-8")).values()
    assert Counter(rule.document for rule in rules) == {
        "intro": 1,
        "conn": 52,
        "rpc": 68,
        "sig": 13,
        "stable": 18,
        "zerocopy": 48,
    }
    assert {rule.area for rule in rules if rule.state is State.OUT_OF_SCOPE} == {
        "shared memory"
    }


@pytest.mark.parametrize(
    ("no_skips", "outcome"), [("0", {"skipped": 1}), ("1", {"failed": 1})]
)
def test_skip_fails_where_skips_are_forbidden(
    suite: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
    no_skips: str,
    outcome: dict[str, int],
) -> None:
    monkeypatch.setenv("ROAM_TRIO_NO_SKIPS", no_skips)
    suite.makeconftest((HERE / "conftest.py").read_text(encoding="utf-8"))
    suite.makepyfile(
        """
        import pytest
        def test_a(): pytest.skip("no such thing here")
        @pytest.mark.xfail
        def test_b(): raise AssertionError
        """
    )
    result = suite.runpytest("-rfs")
    result.assert_outcomes(xfailed=1, **outcome)
    result.stdout.fnmatch_lines("*no such thing here*")


def test_skipped_file_fails_where_skips_are_forbidden(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROAM_TRIO_NO_SKIPS", "1")
    suite.makeconftest((HERE / "conftest.py").read_text(encoding="utf-8"))
    suite.makepyfile("import pytest; pytest.importorskip('not_there_at_all')")
    result = suite.runpytest()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines("*not_there_at_all*forbids skips*")
