"""`call` against a live server: values, items both ways, errors and exit codes."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from roam_trio import Peer, Refused, dispatcher
from roam_trio.cli.input import Input
from tests.cli.live import SHOP, invoke, live
from tests.cli.shop import Shop, ShopImpl, handlers


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with live(handlers()) as at:
        yield at


def test_result_is_printed_in_json(url: str) -> None:
    result = invoke("call", url, "shop.find", '{"name": "Ada"}', *SHOP)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == '{"name": "Ada", "age": 36, "photo": "/wA="}\n'


def test_integers_are_exact(url: str) -> None:
    given = '{"user": {"name": "x", "age": 1}, "count": 4294967295}'
    result = invoke("call", url, "shop.put", given, *SHOP)
    assert result.stdout == f"{2**100 + 4294967296}\n"


def test_arguments_can_be_given_in_order(url: str) -> None:
    result = invoke("call", url, "shop.find", '["Bea"]', *SHOP)
    assert json.loads(result.stdout)["name"] == "Bea"


def test_arguments_can_come_from_standard_input(url: str) -> None:
    given = '{\n"name":\n"Cay"}\n'
    result = invoke("call", url, "shop.find", "-", *SHOP, stdin=given)
    assert json.loads(result.stdout)["name"] == "Cay"


def test_result_without_a_value_is_null(url: str) -> None:
    result = invoke("call", url, "shop.header", '["x"]', *SHOP)
    assert (result.exit_code, result.stdout) == (0, "null\n")


def test_headers_go_with_the_call(url: str) -> None:
    given = ("shop.header", '["user"]', "-H", "user=Ada=1", "--header", "x=y")
    result = invoke("call", url, *given, *SHOP)
    assert result.stdout == '"Ada=1"\n'


def test_headers_go_with_the_handshake() -> None:
    async def welcome(peer: Peer) -> None:
        if peer.metadata.get("token") != "secret":
            raise Refused("denied", "unknown token")

    with live(handlers(), on_session=welcome) as at:
        refused = invoke("call", at, "shop.slept", *SHOP)
        assert refused.exit_code == 3
        assert "unknown token" in refused.stderr
        accepted = invoke("call", at, "shop.slept", *SHOP, "-H", "token=secret")
        assert (accepted.exit_code, accepted.stdout) == (0, "[]\n")


def test_method_alone_is_called_on_the_root_connection() -> None:
    with live(dispatcher(Shop, ShopImpl())) as at:
        result = invoke("call", at, "header", '["k"]', *SHOP, "-H", "k=v")
        assert (result.exit_code, result.stdout) == (0, '"v"\n')
        several = invoke("call", at, "header", "[]", *SHOP, "--service", f"x={SHOP[1]}")
        assert several.exit_code == 2
        assert several.stderr == (
            "roam-trio call: header: expected the name of a service before it, as in "
            "SERVICE.header; there are: shop, x\n"
        )


# ---------------------------------------------------------------- items


def test_items_are_printed_as_lines(url: str) -> None:
    result = invoke("call", url, "shop.count", '{"upto": 1000}', *SHOP)
    assert (result.exit_code, result.stderr) == (0, "")
    assert [int(line) for line in result.stdout.splitlines()] == list(range(1000))


def test_items_are_read_as_lines(url: str) -> None:
    lines = "".join(f"{number}\n" for number in range(30_000)) + "\n\n7"
    result = invoke("call", url, "shop.total", *SHOP, stdin=lines)
    assert (result.exit_code, result.stdout) == (0, f"{sum(range(30_000)) + 7}\n")


def test_items_go_both_ways_and_the_result_follows(url: str) -> None:
    result = invoke("call", url, "shop.double", *SHOP, stdin="1\n2\n3\n")
    assert result.stdout == "2\n4\n6\n3\n"
    without = invoke("call", url, "shop.double", "--items-only", *SHOP, stdin="1\n")
    assert without.stdout == "2\n"


def test_arguments_and_items_can_both_come_from_standard_input(url: str) -> None:
    lines = "\n{}\n1\n2\n"
    result = invoke("call", url, "shop.double", "-", *SHOP, stdin=lines)
    assert result.stdout == "2\n4\n2\n"


def test_several_channels_have_their_names_in_each_line(url: str) -> None:
    lines = '{"numbers": 2, "names": "x"}\n{"numbers": 3}\n{"names": "y"}\n'
    result = invoke("call", url, "shop.sort", *SHOP, stdin=lines)
    assert (result.exit_code, result.stderr) == (0, "")
    *items, last = map(json.loads, result.stdout.splitlines())
    assert sorted(items, key=str) == [{"even_numbers": 2}, {"odd_numbers": 3}]
    assert last == ["x", "y"]


def test_items_before_an_error_are_printed(url: str) -> None:
    result = invoke("call", url, "shop.broken", *SHOP)
    assert (result.exit_code, result.stdout) == (1, "1\n2\n3\n")
    assert result.stderr == 'roam-trio call: the method has failed: "sold out"\n'


def test_items_before_a_lost_connection_are_printed() -> None:
    with live(handlers()) as at:
        result = invoke("call", at, "shop.abandon", *SHOP)
    assert (result.exit_code, result.stdout) == (3, "1\n2\n")
    assert result.stderr.count("\n") == 1


def test_arguments_are_missing_from_an_empty_standard_input(url: str) -> None:
    result = invoke("call", url, "shop.total", "-", *SHOP, stdin="\n\n")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "standard input: expected JSON: Expecting value" in result.stderr


def test_call_ends_though_standard_input_has_more(url: str) -> None:
    lines = "".join(f"{number}\n" for number in range(30_000))
    result = invoke("call", url, "shop.first", *SHOP, stdin=lines)
    assert (result.exit_code, result.stdout) == (0, "0\n")


OBJECT = "line 1: expected an object with items for numbers, names"


@pytest.mark.parametrize(
    ("method", "lines", "problem"),
    [
        ("total", "1\n\nx\n", "line 3: expected JSON: Expecting value, at character 1"),
        ("total", "1\n-1\n2\n", "line 2: $: expected u32 (0 to 4294967295), got -1"),
        ("total", b"\xff\n", "line 1: expected JSON: it is no text in UTF-8"),
        ("total", "1\n-1e400\n", "line 2: expected JSON: -1e400 is too large for f64"),
        ("total", "NaN\n", "line 1: expected JSON: JSON has no number NaN"),
        ("total", "[" * 100_000, "line 1: expected JSON: it is nested too deeply"),
        ("sort", "1\n", OBJECT),
        ("sort", '{"x": 1}', OBJECT),
        ("sort", '{"names": 1}', "line 1: $: expected str, got 1"),
    ],
)
def test_wrong_line_is_told_by_its_number(
    url: str, method: str, lines: str | bytes, problem: str
) -> None:
    result = invoke("call", url, f"shop.{method}", *SHOP, stdin=lines)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"roam-trio call: standard input, {problem}")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("arguments", ["{}", "-"])
def test_endless_line_is_refused(
    url: str, arguments: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("roam_trio.cli.input.MOST_LINE", 100_000)
    lines = "1\n" + "2" * 200_000
    result = invoke("call", url, "shop.total", *SHOP, stdin=lines)
    assert result.exit_code == 2
    assert result.stderr == (
        "roam-trio call: standard input, line 2: it has more than 100000 bytes\n"
    )


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("method", "given", "problem"),
    [
        ("find", '["nobody"]', 'the method has failed: "unknown"'),
        ("fail", "{}", "the handler has failed: Shop.fail: the handler failed"),
    ],
)
def test_failure_of_the_method_is_code_1(
    url: str, method: str, given: str, problem: str
) -> None:
    result = invoke("call", url, f"shop.{method}", given, *SHOP)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"roam-trio call: {problem}")


USER = '{"user": {"name": "x", "age": %s}}'


@pytest.mark.parametrize(
    ("method", "given", "problem"),
    [
        ("put", "{", "the arguments: expected JSON: Expecting property name"),
        (
            "put",
            f"[{'9' * 5000}]",
            "the arguments: expected JSON: Exceeds the limit (4300 digits) for integer "
            "string conversion: value has 5000 digits\n",
        ),
        (
            "put",
            '{"user": {"name": "x", "age": 1, "photo": "a#="}}',
            "$.user.photo: expected text in base64, got 'a#='",
        ),
        ("put", "3", "the arguments: expected an object with the arguments by name"),
        (
            "put",
            USER % 300,
            "$.user.age: argument 'user': expected u8 (0 to 255), got ",
        ),
        ("put", USER % '"3"', "$.user.age: argument 'user': expected u8 (0 to 255), "),
        ("put", '{"user": {"name": "x"}}', "$.user: expected age as well"),
        ("put", "{}", "Shop.put(*, user: User, count: u32 = 3) -> u128: missing a "),
        ("put", '{"usr": 1}', "put: expected no argument 'usr'; its arguments are ("),
        ("find", "[1, 2]", "expected at most 1 arguments (name), got 2"),
        ("count", '{"upto": 1, "out": 2}', "out: it is a channel, whose items are no"),
        ("fnd", "{}", "fnd: there is no such method; did you mean find?"),
    ],
)
def test_mistake_of_the_user_is_code_2(
    url: str, method: str, given: str, problem: str
) -> None:
    result = invoke("call", url, f"shop.{method}", given, *SHOP)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"roam-trio call: {problem}")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("-H", "user"), "-H user: expected KEY=VALUE, as in -H user=Ada"),
        (("--key", "x"), "--key goes with --cert, which is not given"),
        (("--ca", "/nowhere"), "--ca /nowhere: No such file or directory"),
        (("--cert", "/nowhere"), "--cert /nowhere: No such file or directory"),
        (
            ("--ca", __file__),
            f"--ca {__file__}: expected certificates or a key in",
        ),
        (("--insecure",), "the options of TLS are for tls:// and wss://, not for tcp"),
        (("--timeout", "-1"), None),
        (("--timeout", "nan"), None),
    ],
)
def test_wrong_option_is_code_2(
    url: str, options: tuple[str, ...], problem: str | None
) -> None:
    result = invoke("call", url, "shop.slept", *SHOP, *options)
    assert (result.exit_code, result.stdout) == (2, "")
    if problem is None:
        assert f"Invalid value for '{options[0]}'" in result.stderr
    else:
        assert result.stderr.startswith(f"roam-trio call: {problem}")


@pytest.mark.parametrize(
    "args",
    [
        ("call", "ws://127.0.0.1:1", "shop.slept", *SHOP),
        ("serve", "tests.cli.shop:handlers", "--listen", "ws://127.0.0.1:0"),
    ],
)
def test_package_that_a_url_needs_is_told(
    args: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    result = invoke(*args)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "pip install '.[websocket]'" in result.stderr


@pytest.mark.parametrize(
    ("service", "problem"),
    [
        (
            "shop",
            "shop: expected a module and a name in it, as in",
        ),
        ("tests.cli.nowhere:X", "tests.cli.nowhere: there is no such module"),
        ("tests.cli.shop:X", "tests.cli.shop:X: module 'tests.cli.shop' has no attr"),
        ("tests.cli.shop:ShopImpl", "tests.cli.shop:ShopImpl: expected a class decor"),
    ],
)
def test_wrong_class_is_code_2(url: str, service: str, problem: str) -> None:
    result = invoke("call", url, "shop.slept", "--service", service)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"roam-trio call: {problem}")


def test_refusal_is_code_3(url: str) -> None:
    result = invoke("call", url, "shop.refuse", *SHOP)
    assert (result.exit_code, result.stdout) == (3, "")
    assert "(denied): not today" in result.stderr


def test_deadline_is_code_3(url: str) -> None:
    result = invoke("call", url, "shop.sleep", *SHOP, "--timeout", "0.1")
    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr == "roam-trio call: the time is over (--timeout)\n"


@pytest.mark.parametrize(
    ("at", "code"), [("tcp://127.0.0.1:1", 3), ("tcp://127.0.0.1", 2), ("x", 2)]
)
def test_server_that_is_not_there_is_code_3_and_a_wrong_url_code_2(
    at: str, code: int
) -> None:
    result = invoke("call", at, "shop.slept", *SHOP)
    assert (result.exit_code, result.stdout) == (code, "")
    assert result.stderr.count("\n") == 1


def test_service_that_is_not_offered_is_code_3(url: str) -> None:
    result = invoke("call", url, "x.slept", "--service", f"x={SHOP[1]}")
    assert (result.exit_code, result.stdout) == (3, "")
    assert "'x' is not one of the services: shop" in result.stderr


def test_text_of_the_peer_is_escaped(url: str) -> None:
    result = invoke("call", url, "shop.hostile", *SHOP)
    assert result.stdout == '"\\u001b[31mred\\u202e\\u009b\\udb40\\udd00é\\ud7ff"\n'
    assert json.loads(result.stdout) == "\x1b[31mred\u202e\x9b\U000e0100é\ud7ff"


def test_bug_of_this_program_is_not_hidden(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Input, "some", None)
    result = invoke("call", url, "shop.total", *SHOP)
    assert isinstance(result.exception, ExceptionGroup)


def test_module_is_found_in_the_current_directory(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "near_by.py").write_text("from tests.cli.shop import Shop\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [each for each in sys.path if each])
    result = invoke("call", url, "shop.slept", "--service", "near_by:Shop")
    assert (result.exit_code, result.stderr) == (0, "")
